"""GFT beside AdamW, convert and split: what they do to a model, and what they refuse."""

from __future__ import annotations

import copy
import io
import math
import re

import pytest

from popflip.errors import ConfigError

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'popflip[torch]'")

from torch import nn  # noqa: E402
from torch_fixtures import one_thread, seeded  # noqa: E402, F401

from popflip.torch import GFT, GFTLinear, MarginLoss, Sign, account, convert, split  # noqa: E402


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))


def voted(layer: GFTLinear, gft: GFT, votes: list[list[float]]) -> None:
    """One step of ``gft`` with these votes."""
    layer.port.leaf.grad = torch.tensor(votes)
    gft.step()


def layer_of(weights: list[list[int]], precision: str = "ternary") -> GFTLinear:
    layer = GFTLinear(len(weights[0]), len(weights), precision, bias=False)
    layer.weight.data.copy_(torch.tensor(weights))
    return layer


# A step by hand -------------------------------------------------------------------------------------------------------


def test_the_largest_flip_and_the_others_fade():
    layer = layer_of([[0, 1, -1, 0, 1]])
    gft = GFT([layer.weight], k0=2, steps=1, flip_prob=1, shift=1)
    voted(layer, gft, [[4.0, -5.0, 3.0, -2.0, 9.0]])  # the last cannot move
    assert layer.weight.tolist() == [[1, 0, -1, 0, 1]]
    assert gft.counters(layer.weight).tolist() == [[0, 0, 1.5, -1, 4.5]]
    assert gft.flips == [2]


def test_a_binary_weight_changes_its_sign():
    layer = layer_of([[1, 1, -1, -1]], "binary")
    voted(layer, GFT([layer.weight], k0=4, steps=1, flip_prob=1), [[-1.0, 1.0, 2.0, -2.0]])
    assert layer.weight.tolist() == [[-1, 1, 1, -1]]


def test_ties_go_in_scan_order():
    layer = layer_of([[0, 0], [0, 0]])
    voted(layer, GFT([layer.weight], k0=3, steps=1, flip_prob=1), [[1.0, 1.0], [1.0, 1.0]])
    assert layer.weight.tolist() == [[1, 1], [1, 0]]


def test_counters_keep_votes_and_saturate():
    layer = layer_of([[1, 1]])
    gft = GFT([layer.weight], k0=1, steps=1, shift=31, mmax=5)
    for _ in range(3):
        voted(layer, gft, [[2.0, 1.0]])
    torch.testing.assert_close(gft.counters(layer.weight), torch.tensor([[5.0, 3.0]]))


def test_bounded_counters_collect_nothing_beyond_the_end():
    layer = layer_of([[1, -1, 0]])
    gft = GFT([layer.weight], k0=1, steps=1, shift=31, bounded=True)
    gft.param_groups[0]["step"] = 1  # the schedule is over: nothing flips
    voted(layer, gft, [[2.0, -2.0, 2.0]])
    voted(layer, gft, [[-1.0, 1.0, 1.0]])
    torch.testing.assert_close(gft.counters(layer.weight), torch.tensor([[-1.0, 1.0, 3.0]]))


def test_the_probability_of_a_flip():
    layer = layer_of([[0] * 10_000])
    voted(layer, GFT([layer.weight], k0=8000, steps=1, flip_prob=0.25), [[1.0] * 10_000])
    assert 1900 < int(layer.weight.sum()) < 2100
    assert int(layer.weight[0, 8000:].sum()) == 0


def test_the_schedule_falls_to_zero():
    layer = layer_of([[0] * 100])
    gft = GFT([layer.weight], k0=0.04, steps=4, flip_prob=1)
    flips = []
    for _ in range(6):
        layer.weight.data.zero_()
        before = gft.flips[0]
        voted(layer, gft, [[1.0] * 100])
        flips.append(gft.flips[0] - before)
    assert flips == [4, 3, 2, 1, 0, 0]


def test_a_step_without_votes_goes_on_from_memory():
    layer = layer_of([[0, 0]])
    gft = GFT([layer.weight], k0=1, steps=1000, flip_prob=1)
    voted(layer, gft, [[2.0, 1.0]])
    gft.step()
    assert layer.weight.tolist() == [[1, 1]]


def test_a_closure_is_called():
    layer = layer_of([[0, 0]])
    gft = GFT([layer.weight], k0=2, steps=1, flip_prob=1)

    def closure():
        loss = layer(torch.ones(1, 2)).sum()
        loss.backward()
        return loss

    assert float(gft.step(closure).detach()) == 0
    assert layer.weight.tolist() == [[-1, -1]]


# Whole models ---------------------------------------------------------------------------------------------------------


def test_a_hybrid_model_learns_beside_adamw():
    """Each optimiser moves its own parameters, and the loss falls to a fraction."""
    model = mlp()
    assert convert(model, "2") == ["2"]
    weights, rest = split(model)
    gft, adamw = GFT(weights, k0=0.01, steps=150, shift=8), torch.optim.AdamW(rest, lr=1e-2)
    x = torch.randn(256, 8)
    y = (x[:, 0] > 0).long() + 2 * (x[:, 1] * x[:, 2] > 0).long()
    before, losses = model[2].weight.clone(), []
    for _ in range(150):
        loss = nn.functional.cross_entropy(model(x), y)
        gft.zero_grad()
        adamw.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        gft.step()
        adamw.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 4
    assert int((model[2].weight != before).sum()) > 10
    assert sorted(model[2].weight.unique().tolist()) == [-1, 0, 1]


def test_clipping_gradients_leaves_votes_alone():
    model = nn.Sequential(GFTLinear(4, 4), nn.Linear(4, 1))
    gft = GFT([model[0].weight])
    model(torch.randn(9, 4)).sum().mul(1000).backward()
    before = model[0].port.leaf.grad.clone()
    floats = [p.grad for p in model.parameters() if p.grad is not None]
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    assert len(floats) == 3
    assert float(norm) > 1
    assert model[0].port.leaf.grad.tolist() == before.tolist()
    assert gft.flips == [0]


@pytest.mark.parametrize("integer", [False, True])
def test_a_saved_run_goes_on_to_the_same_end(integer):
    """Weights, counters, schedule and the chip's masks; the other masks come from PyTorch's generator."""
    x, g = torch.randint(0, 2, (6, 40)).float(), torch.randint(-1, 2, (6, 9)).float()

    def steps(layer, gft, count):
        for _ in range(count):
            layer(x).backward(g)
            gft.step()

    def options(seed):
        return {"k0": 9, "steps": 20, "mmax": 7, "integer": integer, "seed": seed}

    layer = GFTLinear(40, 9, bias=False, scale=1)
    gft = GFT([layer.weight], **options(3))
    steps(layer, gft, 3)
    other = copy.deepcopy(layer)
    again = GFT([other.weight], **options(4))
    file = io.BytesIO()
    torch.save(gft.state_dict(), file)
    file.seek(0)
    again.load_state_dict(torch.load(file, weights_only=True))
    ends = []
    for each, optimiser in ((layer, gft), (other, again)):
        torch.manual_seed(1)
        steps(each, optimiser, 5)
        ends.append((each.weight.tolist(), optimiser.counters(each.weight).tolist(), optimiser.flips, optimiser.rng))
        assert optimiser.counters(each.weight).dtype == (torch.int16 if integer else torch.float32)
    assert ends[0] == ends[1]
    assert gft.signature == again.signature
    assert (gft.signature != 0) == integer


def test_whole_votes_in_a_hybrid_model():
    """The masks are the chip's, the votes int8, and counters have 32 bits."""
    model = mlp()
    convert(model, ["0", "2"])
    weights, rest = split(model)
    gft = GFT(weights, k0=0.01, steps=60, votes="int8", integer=True)
    x = torch.randn(256, 8)
    y = (x[:, 0] > 0).long()
    losses = []
    for _ in range(60):
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        gft.step()
        losses.append(float(loss.detach()))
    assert gft.counters(weights[0]).dtype == torch.int32
    assert int(gft.counters(weights[0]).abs().max()) > 32_767
    assert losses[-1] < losses[0]
    assert len(rest) == 4


def test_an_account_of_a_model():
    model = mlp()
    convert(model, "2")
    model[0].bias.requires_grad_(False)
    gft = GFT([model[2].weight], k0=10, steps=1, flip_prob=1)
    model(torch.randn(9, 8)).sum().backward()
    gft.step()
    found = account(model, gft, steps=1, tokens=9)
    assert (found.float_parameters, found.ternary_weights) == (8 * 32 + 32 + 32 * 4 + 4, 32 * 32)
    assert (found.steps, found.flips, found.tokens) == (1, gft.flips[0], 9)
    assert account(nn.Linear(3, 2), None, 5).updates == 40
    binary = account(nn.Sequential(GFTLinear(3, 2, "binary"), GFTLinear(2, 2, bias=False)), None, 5)
    assert (binary.float_parameters, binary.ternary_weights, binary.binary_weights) == (2, 4, 6)


# Sign and MarginLoss --------------------------------------------------------------------------------------------------


def test_sign_by_hand():
    v = torch.tensor([-3.0, -2.0, 0.0, 1.0, 2.0, 2.5], requires_grad=True)
    y = Sign(window=2, dclip=3)(v)
    assert y.tolist() == [-1, -1, -1, 1, 1, 1]
    y.backward(torch.tensor([1.0, 5.0, -5.0, 2.0, -1.0, 1.0]))
    assert v.grad.tolist() == [0, 3, -3, 2, -1, 0]


def test_margin_loss_by_hand():
    """The gradient is the chip's error, its sign reversed; rivals of equal score: the lowest class."""
    v = torch.tensor([[5.0, 5.0, 5.0], [9.0, 2.0, 1.0], [4.0, 1.0, 1.0]], requires_grad=True)
    loss = MarginLoss(3)(v, torch.tensor([1, 0, 0]))
    assert float(loss.detach()) == 4 + 0 + 1  # margin + 1 − lead
    loss.backward()
    assert v.grad.tolist() == [[1, -1, 0], [0, 0, 0], [-1, 1, 0]]


@pytest.mark.parametrize("value", [-1, math.nan, True, "1"])
def test_a_window_that_cannot_be_used(value):
    with pytest.raises(ConfigError, match=r"^window: .* is not a number of 0 or more$"):
        Sign(window=value)
    with pytest.raises(ConfigError, match=r"^dclip: .* is not a number of 0 or more$"):
        Sign(dclip=value)


@pytest.mark.parametrize("value", [math.inf, math.nan, True, "1"])
def test_a_margin_that_cannot_be_used(value):
    with pytest.raises(ConfigError, match=r"^margin: .* is not a finite number$"):
        MarginLoss(value)


# convert, split -------------------------------------------------------------------------------------------------------


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2)
        self.mlp = nn.ModuleDict({"fc": nn.Linear(8, 16, bias=False), "proj": nn.Linear(16, 8)})


def test_convert_replaces_by_name():
    model = nn.ModuleList([Block(), Block()])
    bias = model[0].mlp["proj"].bias
    assert convert(model, "*.mlp.fc") == ["0.mlp.fc", "1.mlp.fc"]
    assert convert(model, "0.mlp.proj", "binary", gain=0.5) == ["0.mlp.proj"]
    fc, proj = model[0].mlp["fc"], model[0].mlp["proj"]
    assert (fc.precision, fc.bias, fc.scale) == ("ternary", None, math.sqrt(2 / 8))
    assert (proj.precision, proj.scale) == ("binary", 0.5 * math.sqrt(1 / 16))
    assert proj.bias is bias
    assert type(model[1].mlp["proj"]) is nn.Linear


def test_split_sorts_every_parameter_once():
    model = nn.Sequential(nn.Linear(3, 3), GFTLinear(3, 3), nn.Sequential(GFTLinear(3, 2, bias="synapse")))
    model.append(model[0])  # a module used twice
    weights, rest = split(model)
    assert [id(each) for each in weights] == [id(model[1].weight), id(model[2][0].weight)]
    assert [id(each) for each in rest] == [id(model[0].weight), id(model[0].bias), id(model[1].bias)]


def test_nothing_to_convert():
    with pytest.raises(ConfigError, match=r"^where: no nn.Linear has a name like x.\*, y; there are: 0, 2, 4$"):
        convert(mlp(), ["x.*", "y"])
    with pytest.raises(ConfigError, match=r"^where: no nn.Linear has a name like \*; there are: none$"):
        convert(nn.Sequential(nn.ReLU()), "*")


def test_tied_weights_are_not_converted():
    model = nn.ModuleDict({"embedding": nn.Embedding(9, 4), "head": nn.Linear(4, 9), "other": nn.Linear(4, 4)})
    model["head"].weight = model["embedding"].weight
    message = r"^where: head shares its weight with embedding; ternary weights cannot be tied$"
    with pytest.raises(ConfigError, match=message):
        convert(model, "*")
    assert type(model["other"]) is nn.Linear


def test_a_linear_that_its_owner_reads_is_not_converted():
    special = "NonDynamicallyQuantizableLinear"
    message = rf"^where: 0.attention.out_proj is a {special}, whose weight its owner reads; leave it out$"
    with pytest.raises(ConfigError, match=message):
        convert(nn.ModuleList([Block()]), "*")


def test_a_ternary_weight_tied_afterwards_is_found():
    model = nn.ModuleDict({"head": GFTLinear(4, 9), "embedding": nn.Embedding(9, 4)})
    model["embedding"].weight = model["head"].weight
    with pytest.raises(
        ConfigError, match=r"^embedding.weight: is the weight of a GFTLinear too, and ternary weights cannot be tied$"
    ):
        split(model)


# Refused by GFT -------------------------------------------------------------------------------------------------------


def test_other_parameters_are_refused():
    message = (
        "params: a parameter of shape (32, 8) is not the weight of a GFTLinear; give it to another optimiser "
        "(popflip.torch.split sorts them)"
    )
    with pytest.raises(ConfigError, match="^" + re.escape(message) + "$"):
        GFT(mlp().parameters())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k0": 0}, "k0: 0 is not a share between 0 and 1 or a count of 1 or more"),
        ({"k0": 1.5}, "k0: 1.5 is not a whole number; below 1 it is a share"),
        ({"k0": math.nan}, "k0: nan is not a share between 0 and 1 or a count of 1 or more"),
        ({"k0": math.inf}, "k0: inf is not a share between 0 and 1 or a count of 1 or more"),
        ({"k0": True}, "k0: True is not a share between 0 and 1 or a count of 1 or more"),
        ({"steps": 0}, "steps: 0 is outside 1 … 2147483647"),
        ({"steps": 10.0}, "steps: 10.0 is not a whole number"),
        ({"flip_prob": 0}, "flip_prob: 0 is not above 0 and at most 1"),
        ({"flip_prob": 1.1}, "flip_prob: 1.1 is not above 0 and at most 1"),
        (
            {"flip_prob": 0.3, "integer": True},
            "flip_prob: 0.3 is not a multiple of 1/256, which the chip's masks need",
        ),
        ({"shift": -1}, "shift: -1 is outside 0 … 31"),
        ({"shift": 4.0}, "shift: 4.0 is not a whole number"),
        ({"mmax": 0}, "mmax: 0 is not a number above 0"),
        ({"mmax": 0.5, "integer": True}, "mmax: 0.5 is not a whole number"),
        ({"mmax": 32_768, "integer": True}, "mmax: 32768 is outside 1 … 32767"),
        ({"votes": "int2"}, "votes: 'int2' is not one of float, int8, int4, sign"),
        ({"integer": 1}, "integer: 1 is not True or False"),
        ({"bounded": None}, "bounded: None is not True or False"),
        ({"seed": -1}, "seed: -1 is outside 0 … 4294967295"),
    ],
)
def test_a_parameter_that_cannot_be_used(arguments, message):
    with pytest.raises(ConfigError, match="^" + re.escape(message) + "$"):
        GFT([GFTLinear(2, 2).weight], **arguments)


def test_groups_share_the_generator():
    one, other = GFTLinear(2, 2), GFTLinear(2, 2)
    with pytest.raises(
        ConfigError, match=r"^integer: differs between groups; the chip's masks come from one generator$"
    ):
        GFT([{"params": [one.weight], "integer": True}, {"params": [other.weight]}])
