"""GFTLinear in place of nn.Linear, and its votes, whatever PyTorch does with the model."""

from __future__ import annotations

import copy
import io
import math
import re

import pytest

from popflip.errors import ConfigError

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'popflip[torch]'")

from torch import nn  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402
from torch_fixtures import one_thread, seeded  # noqa: E402, F401

from popflip.torch import GFT, GFTLinear  # noqa: E402
from popflip.torch.votes import Votes, factors, total  # noqa: E402

BIASES = (True, False, "synapse")


def dense(layer: GFTLinear) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Weight and bias of the ``nn.Linear`` that computes the same."""
    w = layer.scale * layer.weight.float()
    if layer.bias_synapse:
        return w[:, :-1], w[:, -1]
    return w, layer.bias


def votes_of(layer: GFTLinear, x: torch.Tensor, g: torch.Tensor, kind: str = "float", run=None) -> torch.Tensor:
    """The votes after a backward pass of gradient ``g``."""
    GFT([layer.weight], votes=kind)
    (layer if run is None else run)(x).backward(g)
    votes = layer.port.take_sum()
    assert votes is not None
    return votes


# Values ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["ternary", "binary"])
@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5)])
def test_it_computes_what_a_dense_layer_does(precision, bias, shape):
    layer = GFTLinear(5, 4, precision, bias=bias)
    if layer.bias is not None:
        nn.init.normal_(layer.bias)
    x = torch.randn(shape, requires_grad=True)
    y = layer(x)
    assert y.shape == (*shape[:-1], 4)
    expected = nn.functional.linear(x, *dense(layer))
    torch.testing.assert_close(y, expected)
    g = torch.randn_like(y)
    (gx,) = torch.autograd.grad(y, x, g)
    torch.testing.assert_close(gx, g @ dense(layer)[0])


def test_the_default_scale_keeps_the_variance():
    assert GFTLinear(8, 4).scale == math.sqrt(2 / 8)
    assert GFTLinear(8, 4, "binary").scale == math.sqrt(1 / 8)
    for precision in ("ternary", "binary"):
        y = GFTLinear(400, 400, precision)(torch.randn(400, 400))
        assert 0.9 < float(y.var()) < 1.1


def test_weights_start_random():
    ternary, binary = GFTLinear(200, 200).weight, GFTLinear(200, 200, "binary").weight
    assert ternary.dtype == binary.dtype == torch.int8
    shares = [float((ternary == value).float().mean()) for value in (-1, 0, 1)]
    assert shares == pytest.approx([0.25, 0.5, 0.25], abs=0.02)
    assert sorted(binary.unique().tolist()) == [-1, 1]
    assert abs(float(binary.float().mean())) < 0.02


# Votes ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", BIASES)
def test_votes_are_minus_the_gradient(bias):
    layer = GFTLinear(5, 4, bias=bias)
    x, g = torch.randn(2, 3, 5), torch.randn(2, 3, 4)
    inputs = torch.cat([x, torch.ones(2, 3, 1)], 2) if bias == "synapse" else x
    expected = -torch.einsum("abo,abi->oi", g, inputs)
    torch.testing.assert_close(votes_of(layer, x, g), expected)


def test_a_bias_learns_by_gradient():
    layer = GFTLinear(5, 4)
    g = torch.randn(3, 4)
    layer(torch.randn(3, 5)).backward(g)
    torch.testing.assert_close(layer.bias.grad, g.sum(0))


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("int8", [1.0, -1.0, 0.0, 2.0], [8, -8, 0, 16]),  # mean magnitude 1
        ("int8", [0.06, -0.07, 3.87, 0.0], [0, -1, 31, 0]),
        ("int4", [1.4, -1.6, 0.0, 1.0], [1, -2, 0, 1]),
        ("sign", [1.4, -1.6, 0.0, 1.0], [1, -1, 0, 1]),
    ],
)
def test_inputs_are_quantised_by_hand(kind, values, expected):
    _, a = factors(torch.zeros(1, 1), torch.tensor([values]), Votes(kind))
    assert a.tolist() == [expected]


@pytest.mark.parametrize(("kind", "most"), [("int8", 127), ("int4", 7)])
def test_quantised_factors_are_clipped(kind, most):
    x = torch.zeros(1, 1000)
    x[0, :2] = torch.tensor([1.0, -1.0])
    delta, a = factors(x, x, Votes(kind))
    assert (a[0, :3].tolist(), delta[0, :3].tolist()) == ([most, -most, 0], [-most, most, 0])


def test_a_sign_of_a_small_gradient_is_no_vote():
    delta, _ = factors(torch.tensor([[0.1, -3.0, 0.9, 0.0]]), torch.zeros(1, 1), Votes.SIGN)
    assert delta.tolist() == [[0, 1, 0, 0]]


@pytest.mark.parametrize("kind", list(Votes))
def test_nothing_votes_for_nothing(kind):
    assert total(torch.zeros(3, 2), torch.zeros(3, 4), kind).tolist() == [[0] * 4] * 2


@pytest.mark.parametrize("kind", ["int8", "int4", "sign"])
def test_a_layer_counts_quantised_votes(kind):
    layer, x, g = GFTLinear(5, 4, bias=False), torch.randn(7, 5), torch.randn(7, 4)
    delta, a = factors(g, x, Votes(kind))
    votes = votes_of(layer, x, g, kind)
    assert votes.tolist() == (delta.T @ a).tolist()
    assert votes.tolist() == votes.round().tolist()


def test_votes_add_up_until_a_step_takes_them():
    layer, x, g = GFTLinear(5, 4, bias=False), torch.randn(7, 5), torch.randn(7, 4)
    gft = GFT([layer.weight], k0=1, steps=1000, shift=31)
    layer(x).backward(g)
    layer(x).backward(g)
    torch.testing.assert_close(layer.port.leaf.grad, -2 * g.T @ x)
    gft.step()
    assert layer.port.leaf.grad is None
    layer(x).backward(g)
    gft.zero_grad()
    assert layer.port.leaf.grad is None


def test_without_an_optimiser_nothing_is_counted():
    layer = GFTLinear(5, 4)
    layer(torch.randn(2, 5)).sum().backward()
    assert (layer.port.leaf.grad, layer.port.samples) == (None, [])
    assert not GFTLinear(5, 4, bias=False)(torch.randn(2, 5)).requires_grad


def test_whole_votes_need_whole_numbers():
    layer = GFTLinear(2, 1, bias=False, scale=1)
    GFT([layer.weight], integer=True)
    expected = (
        "votes: the {} of a layer are not whole numbers; use votes='int8', 'int4' or 'sign', or train a network of "
        "GFTLinear(scale=1) and Sign with MarginLoss"
    )
    with pytest.raises(ConfigError, match="^" + re.escape(expected.format("inputs")) + "$"):
        layer(torch.tensor([[0.5, 1.0]])).sum().backward()
    with pytest.raises(ConfigError, match="^" + re.escape(expected.format("gradients")) + "$"):
        layer(torch.ones(1, 2)).backward(torch.tensor([[0.25]]))


# What PyTorch does with models ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", BIASES)
def test_a_state_dict_carries_all(bias):
    one, other = GFTLinear(5, 4, bias=bias), GFTLinear(5, 4, bias=bias)
    assert list(one.state_dict()) == (["weight", "bias"] if bias is True else ["weight"])
    file = io.BytesIO()
    torch.save(one.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    x = torch.randn(3, 5)
    assert other(x).tolist() == one(x).tolist()


@pytest.mark.parametrize("assign", [False, True])
def test_loading_keeps_the_votes(assign):
    layer = GFTLinear(5, 4, bias=False)
    layer.load_state_dict(GFTLinear(5, 4, bias=False).state_dict(), assign=assign)
    x, g = torch.randn(3, 5), torch.randn(3, 4)
    torch.testing.assert_close(votes_of(layer, x, g), -g.T @ x)


def test_weights_of_other_values_are_not_loaded():
    layer = nn.Sequential(GFTLinear(2, 1, bias=False))
    before = layer[0].weight.tolist()
    with pytest.raises(
        RuntimeError, match="0.weight: holds other values than −1, 0 or +1; train the layer anew".replace("+", r"\+")
    ):
        layer.load_state_dict({"0.weight": torch.tensor([[0.3, -0.7]])})
    binary = GFTLinear(2, 1, "binary", bias=False)
    with pytest.raises(RuntimeError, match=r"weight: holds other values than −1 or \+1; "):
        binary.load_state_dict({"weight": torch.tensor([[0, 1]], dtype=torch.int8)})
    assert layer[0].weight.tolist() == before


def test_moves_and_types():
    layer = GFTLinear(5, 4).to("meta")
    assert layer(torch.empty(3, 5, device="meta")).shape == (3, 4)
    assert layer.port.leaf.device.type == "meta"
    layer = GFTLinear(5, 4).to(torch.bfloat16)
    assert (layer.weight.dtype, layer.bias.dtype) == (torch.int8, torch.bfloat16)
    y = layer(torch.randn(3, 5, dtype=torch.bfloat16))
    assert y.dtype == torch.bfloat16
    votes = votes_of(layer, torch.ones(3, 5, dtype=torch.bfloat16), torch.ones_like(y))
    assert (votes.dtype, votes.tolist()) == (torch.float32, [[-3.0] * 5] * 4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_moving_to_a_gpu_keeps_the_optimiser():
    layer = GFTLinear(5, 4)
    gft = GFT([layer.weight], k0=20, steps=1, flip_prob=1)
    layer.cuda()
    layer(torch.randn(3, 5, device="cuda")).sum().backward()
    gft.step()
    assert gft.flips[0] > 0


def test_a_layer_keeps_its_optimiser_when_it_moves():
    layer = GFTLinear(5, 4, bias=False)
    gft = GFT([layer.weight], k0=20, steps=1, flip_prob=1)
    layer.double()
    layer(torch.ones(1, 5, dtype=torch.float64)).sum().backward()
    gft.step()
    assert (layer.weight <= 0).all()


def test_autocast():
    layer, x = GFTLinear(5, 4), torch.randn(3, 5, requires_grad=True)
    GFT([layer.weight])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(x)
    assert y.dtype == torch.bfloat16
    y.backward(torch.ones_like(y))
    assert (x.grad.dtype, layer.port.leaf.grad.dtype, layer.bias.grad.dtype) == (torch.float32,) * 3
    torch.testing.assert_close(layer.port.take_sum(), -x.detach().sum(0).expand(4, 5), atol=0.05, rtol=0.02)


def test_whole_votes_ignore_autocast():
    layer, x = GFTLinear(400, 2, bias=False, scale=1), torch.ones(1, 400)
    layer.weight.data.fill_(1)
    layer.weight.data[1, 1:] = 0
    GFT([layer.weight], integer=True, mmax=127)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(torch.cat([x[:, :399], torch.zeros(1, 1)], 1))
    assert y.tolist() == [[399.0, 1.0]]  # bfloat16 would round the first to 400


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing_gives_the_same_votes(reentrant):
    layer, x, g = GFTLinear(5, 4), torch.randn(3, 5, requires_grad=True), torch.randn(3, 4)
    plain = votes_of(layer, x, g)
    again = votes_of(layer, x, g, run=lambda x: checkpoint(layer, x, use_reentrant=reentrant))
    assert again.tolist() == plain.tolist()


@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("kind", ["float", "int8"])
def test_compiling_gives_the_same(bias, kind):
    layer, x, g = GFTLinear(5, 4, bias=bias), torch.randn(3, 5, requires_grad=True), torch.randn(3, 4)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    plain = votes_of(layer, x, g, kind)
    torch.testing.assert_close(votes_of(layer, x, g, kind, run=compiled), plain)
    torch.testing.assert_close(compiled(x), layer(x))


def test_compiling_whole_votes_gives_the_same():
    layer, x = GFTLinear(5, 4, bias=False, scale=1), torch.ones(3, 5)
    gft = GFT([layer.weight], integer=True, mmax=127, k0=1, shift=31)
    torch.compile(layer, backend="aot_eager")(x).backward(torch.ones(3, 4))
    gft.step()
    assert gft.counters(layer.weight).unique().tolist() in ([-2], [-2, 0])  # −3 votes; a step rounds −3 >> 31 down


def test_a_copy_has_votes_of_its_own():
    layer, g = GFTLinear(5, 4), torch.ones(1, 4)
    gft = GFT([layer.weight], k0=20, steps=1, flip_prob=1)
    layer(torch.ones(1, 5)).backward(g)
    for other in (copy.deepcopy(layer), pickled(layer)):
        assert other.weight.tolist() == layer.weight.tolist()
        other(torch.ones(1, 5)).backward(g)
        assert other.port.leaf.grad is None  # it has no optimiser yet
        assert votes_of(other, torch.ones(1, 5), g).tolist() == [[-1.0] * 5] * 4
    assert layer.port.leaf.grad.tolist() == [[-1.0] * 5] * 4
    gft.step()
    assert (layer.weight <= 0).all()


def pickled(layer: GFTLinear) -> GFTLinear:
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def test_no_gradient_means_no_votes():
    layer = GFTLinear(5, 4)
    GFT([layer.weight])
    with torch.no_grad():
        assert not layer(torch.randn(2, 5)).requires_grad


# Refused --------------------------------------------------------------------------------------------------------------


def test_weights_cannot_be_tied():
    one, other, embedding = GFTLinear(5, 5), GFTLinear(5, 5), nn.Embedding(5, 5)
    with pytest.raises(
        ConfigError, match=r"^weight: it belongs to another GFTLinear, and ternary weights cannot be tied; copy it$"
    ):
        one.weight = other.weight
    with pytest.raises(
        ConfigError, match=r"^weight: a GFTLinear takes an int8 parameter \(5, 5\), and cannot be tied to other layers$"
    ):
        one.weight = embedding.weight
    one.weight = nn.Parameter(other.weight.detach().clone(), requires_grad=False)
    assert one.weight.port is one.port


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_features": 0}, "in_features: 0 is outside 1 … 2147483647"),
        ({"out_features": 2.0}, "out_features: 2.0 is not a whole number"),
        ({"precision": "int8"}, "precision: 'int8' is not one of binary, ternary"),
        ({"precision": False}, "precision: False is not one of binary, ternary; write bias=False"),
        ({"bias": "float"}, "bias: 'float' is not True, False or 'synapse'"),
        ({"scale": 0}, "scale: 0 is not a number above 0"),
        ({"scale": math.nan}, "scale: nan is not a number above 0"),
        ({"scale": True}, "scale: True is not a number above 0"),
    ],
)
def test_a_parameter_that_cannot_be_used(arguments, message):
    with pytest.raises(ConfigError, match="^" + re.escape(message) + "$"):
        GFTLinear(**{"in_features": 2, "out_features": 3} | arguments)


def test_inputs_of_another_width():
    with pytest.raises(ConfigError, match=r"^x: its last dimension is 4, expected 5 \(in_features\)$"):
        GFTLinear(5, 2)(torch.randn(3, 4))


def test_it_describes_itself():
    assert repr(GFTLinear(8, 2, bias="synapse", scale=1)) == (
        "GFTLinear(in_features=8, out_features=2, precision=ternary, bias=synapse, scale=1)"
    )
