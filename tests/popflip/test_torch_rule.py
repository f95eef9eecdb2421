"""PyTorch's select, flip and counters, and whole runs, against the golden model; equal to the last bit."""

from __future__ import annotations

import json

import numpy as np
import pytest
from digits import TRAIN, digits, sample_order
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from paths import DATA
from search import counter_arrays, mmaxes, precisions, search, weight_arrays, widths

from popflip.golden.common.prng import Xorshift32
from popflip.golden.config import Config
from popflip.golden.gft.accumulate import accumulate as golden_accumulate
from popflip.golden.gft.flip import decay as golden_decay
from popflip.golden.gft.flip import flip as golden_flip
from popflip.golden.gft.select import select as golden_select
from popflip.golden.trainer import Trainer

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'popflip[torch]'")

from torch_fixtures import one_thread  # noqa: E402, F401

from popflip.torch import GFT, GFTLinear, MarginLoss, chip_network, chip_optimiser, chip_state  # noqa: E402
from popflip.torch.counters import accumulate, bound_, decay  # noqa: E402
from popflip.torch.optimiser import selected  # noqa: E402
from popflip.torch.selection import select  # noqa: E402

VECTORS = {name: run for name, run in json.loads((DATA / "vectors.json").read_text()).items() if name.startswith("gft")}


def tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array.copy())


# Stages ---------------------------------------------------------------------------------------------------------------


@st.composite
def layers(draw):
    mmax, precision = draw(mmaxes), draw(precisions)
    shape = draw(st.integers(1, 4)), draw(widths)
    return draw(counter_arrays(mmax, shape)), draw(weight_arrays(precision, shape)), mmax, precision


@search
@given(layers(), st.integers(0, 260), st.sampled_from((torch.int16, torch.int32, torch.float32)))
def test_select_equals_golden(layer, k, kind):
    m, w, _, _ = layer
    mask = select(tensor(m).to(kind), tensor(w), k)
    assert mask.dtype == torch.bool
    assert mask.tolist() == golden_select(m, w, k).mask.tolist()


@pytest.mark.parametrize("k", [1, 69, 70, 71, 2000, 4480, 5000])
def test_select_equals_golden_on_both_sides_of_a_64th(k):
    """The two ways to find the least counter that is selected; most counters have ties."""
    rng = np.random.default_rng(k)
    m, w = rng.integers(-20, 21, (64, 70)).astype(np.int16), rng.integers(-1, 2, (64, 70)).astype(np.int8)
    assert select(tensor(m), tensor(w), k).tolist() == golden_select(m, w, k).mask.tolist()


@search
@given(st.data())
def test_accumulate_equals_golden(data):
    mmax = data.draw(mmaxes)
    samples, rows, synapses = data.draw(st.tuples(st.integers(0, 140), st.integers(1, 4), st.integers(1, 9)))
    m = data.draw(counter_arrays(mmax, (rows, synapses)))
    largest = data.draw(st.sampled_from((1, 3, 32_767)))
    delta = data.draw(arrays(np.int32, (samples, rows), elements=st.integers(-largest, largest)))
    a = data.draw(arrays(np.int8, (samples, synapses), elements=st.integers(-1, 1)))
    result = accumulate(tensor(m), tensor(delta), tensor(a).int(), mmax)
    assert result.dtype == torch.int16
    assert result.tolist() == golden_accumulate(m, delta, a, mmax).tolist()


def test_counters_without_limit_sum_exactly():
    rng = np.random.default_rng(3)
    delta, a = rng.integers(-127, 128, (1500, 3)), rng.integers(-127, 128, (1500, 5))
    delta[:, 0], a[:, 0] = 127, 127  # 24 million, which float32 does not hold exactly
    m = torch.zeros((3, 5), dtype=torch.int32)
    result = accumulate(m, tensor(delta).int(), tensor(a).int(), None)
    assert result.tolist() == (delta.T @ a).tolist()
    assert result[0, 0] == 1500 * 127**2


def test_votes_that_do_not_fit_are_refused():
    many = torch.full((100, 1), 2**15, dtype=torch.int32)
    with pytest.raises(
        OverflowError, match=r"^votes of 100 samples may reach 107374182400, which does not fit 32 bits$"
    ):
        accumulate(torch.zeros((1, 1), dtype=torch.int32), many, many, None)


@search
@given(layers(), st.one_of(st.none(), st.integers(0, 31)))
def test_decay_equals_golden(layer, shift):
    m = layer[0]
    assert decay(tensor(m), shift).tolist() == golden_decay(m, shift).tolist()
    if shift is not None:
        assert decay(tensor(m).int(), shift).tolist() == [[v - (v >> shift) for v in row] for row in m.tolist()]


def test_floats_decay_by_a_share():
    m = torch.tensor([-16.0, 1.0, 0.5])
    assert decay(m, 4).tolist() == [-15.0, 0.9375, 0.46875]
    assert decay(m, 0).tolist() == [0, 0, 0]
    assert decay(m, None).tolist() == [0, 0, 0]


def test_votes_beyond_the_end_are_dropped():
    w = torch.tensor([-1, -1, -1, 0, 0, 1, 1, 1], dtype=torch.int8)
    for kind in (torch.float32, torch.int16):
        m = torch.tensor([-5, 0, 5, -5, 5, -5, 0, 5]).to(kind)
        bound_(m, w)
        assert m.tolist() == [0, 0, 5, -5, 5, -5, 0, 0]


@pytest.mark.parametrize(
    ("k0", "weights", "expected"), [(0.001, 10_000, 10), (0.001, 3, 1), (26, 10, 26), (1, 10, 1), (1.0, 10, 1)]
)
def test_k0_is_a_share_or_a_count(k0, weights, expected):
    assert selected(k0, weights, 0, 7) == expected


def test_the_schedule_is_goldens_and_ends():
    config = Config((1, 2), k0=(11,))
    assert [selected(11, 100, n, 7) for n in range(9)] == [*(config.schedule(n, 7)[0] for n in range(7)), 0, 0]


# Steps ----------------------------------------------------------------------------------------------------------------


@search
@given(layers(), st.integers(0, 300), st.sampled_from((1, 77, 96, 128, 255, 256)), st.integers(0, 2**32 - 1))
def test_a_step_flips_as_golden(layer, k, n, seed):
    """From equal counters: weights, counters, random state, signature and count of flips."""
    m, w, mmax, precision = layer
    config = Config((1, 2), precision, k0=(1,), flip_p256=n, shift=3, seed=seed)
    linear = GFTLinear(w.shape[1], w.shape[0], precision, bias=False)
    linear.weight.data.copy_(tensor(w))
    gft = GFT([linear.weight], k0=max(1, k), steps=1, flip_prob=n / 256, shift=3, mmax=mmax, integer=True, seed=seed)
    gft.counters(linear.weight).copy_(tensor(m))
    before = gft.rng
    gft.step()

    prng = Xorshift32(before)
    expected = golden_flip(w, m, golden_select(m, w, max(1, k)).mask, config, prng, 0)
    assert linear.weight.tolist() == expected.weights.tolist()
    assert gft.counters(linear.weight).tolist() == expected.counters.tolist()
    assert (gft.rng, gft.flips) == (prng.state, [expected.flips])


# Runs -----------------------------------------------------------------------------------------------------------------


def train(config: Config, x: np.ndarray, y: np.ndarray, order: np.ndarray, batches: range, split: int, run=None):
    """Train through PyTorch, each batch in ``split`` backward passes. Returns network and optimiser, as ``run``."""
    if run is None:
        network = chip_network(config)
        run = network, chip_optimiser(network, config, TRAIN)
    network, gft = run
    loss = MarginLoss(config.margin)
    for batch in batches:
        samples = order[batch * config.batch : (batch + 1) * config.batch]
        for part in np.array_split(samples, split):
            loss(network(torch.from_numpy(x[part]).float()), torch.from_numpy(y[part])).backward()
        gft.step()
    return run


@pytest.mark.parametrize("name", VECTORS)
def test_a_run_on_digits_ends_as_the_published_one(name):
    parameters = dict(VECTORS[name]["config"])
    assert parameters.pop("dataset") == "digits"
    x, y = digits(tuple(parameters.pop("thresholds")))
    config = Config(**parameters)
    order, run, done = sample_order(config.seed, config.epochs), None, 0
    for count, expected in VECTORS[name]["after_batches"].items():
        run = train(config, x, y, order, range(done, int(count)), 1, run)
        network, gft = run
        state, done = chip_state(gft), int(count)
        assert state.sha256() == expected["state_sha256"]
        assert (f"{state.rng:08x}", f"{gft.signature:08x}") == (expected["rng"], expected["signature"])
        assert gft.flips == expected["flips"]
        predictions = network(torch.from_numpy(x[TRAIN:]).float()).argmax(1).numpy()
        assert float(np.mean(predictions == y[TRAIN:])) == expected["test_accuracy"]


@search
@given(st.data())
def test_a_run_of_any_network_equals_golden(data):
    """Small networks on random bits: counters saturate, samples tie, windows close."""
    hidden = data.draw(st.lists(st.integers(1, 40), max_size=2))
    shape = (data.draw(st.sampled_from((1, 5, 31, 32, 40))), *hidden, data.draw(st.integers(2, 5)))
    depth = len(shape) - 1
    config = Config(
        shape,
        data.draw(precisions),
        batch=data.draw(st.integers(1, 40)),
        k0=tuple(data.draw(st.integers(1, 60)) for _ in range(depth)),
        margin=data.draw(st.integers(-2, 12)),
        window=tuple(data.draw(st.integers(0, 9)) for _ in hidden),
        dclip=data.draw(st.integers(1, 4)),
        shift=data.draw(st.one_of(st.none(), st.integers(0, 6))),
        mmax=data.draw(st.sampled_from((1, 3, 127, 32_767))),
        flip_p256=data.draw(st.sampled_from((1, 100, 128, 256))),
        seed=data.draw(st.integers(0, 2**32 - 1)),
    )
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    x = rng.integers(0, 2, (3 * config.batch, shape[0])).astype(np.uint8)
    y = rng.integers(0, shape[-1], len(x))
    trainer = Trainer(config)
    network = chip_network(config)
    gft = chip_optimiser(network, config, len(x))
    assert chip_state(gft).sha256() == trainer.state.sha256()
    total = config.batches(len(x))
    for batch in range(3):
        part = slice(batch * config.batch, (batch + 1) * config.batch)
        trainer.train(x[part], y[part])
        trainer.end_batch(config.schedule(batch, total))
        MarginLoss(config.margin)(network(torch.from_numpy(x[part]).float()), torch.from_numpy(y[part])).backward()
        gft.step()
    state = chip_state(gft)
    assert (state.sha256(), state.rng) == (trainer.state.sha256(), trainer.state.rng)
    assert (gft.signature, gft.flips) == (trainer.signature, trainer.flips)


def test_several_backward_passes_make_a_batch():
    x, y = digits((8,))
    config = Config((64, 16, 10), batch=256, k0=(20, 5), window=(4,), mmax=15)
    order = sample_order(1, 2)
    whole, parts = (train(config, x, y, order, range(4), split) for split in (1, 3))
    assert chip_state(whole[1]).sha256() == chip_state(parts[1]).sha256()
