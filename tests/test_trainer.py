"""Whole batches of the trainer, against the brute-force stages in the order of the definition."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from test_accumulate import brute_accumulate
from test_backward import brute_backward
from test_error import brute_output_error
from test_flip import brute_flip
from test_forward import brute_forward, brute_predict
from test_select import brute_select
from test_signature import brute_bytes, brute_crc32
from test_weights import brute_initial

from popflip.golden.config import Config, Precision
from popflip.golden.trainer import Trainer
from popflip.hw.config import ChipConfig
from popflip.hw.trainer import Trainer as HardwareTrainer


class BruteTrainer:
    """The learning rule in plain Python numbers, one sample at a time."""

    def __init__(self, config: Config):
        self.config = config
        self.weights, self.rng = brute_initial(config.layers, config.precision, config.seed)
        self.counters = [[[0] * len(row) for row in layer] for layer in self.weights]
        self.errors = self.correct = 0
        self.flips = [0] * config.depth
        self.record_bytes: list[int] = []

    def train(self, x: list[int], t: int) -> None:
        v = brute_forward(self.weights, x)
        self.correct += brute_predict(v[-1]) == t
        teaches, rival = brute_output_error(v[-1], t, self.config.margin)
        if not teaches:
            return
        self.errors += 1
        delta = [(c == t) - (c == rival) for c in range(self.config.classes)]
        deltas = brute_backward(self.weights, v, delta, self.config.window, self.config.dclip)
        inputs = [x] + [[1 if v_o > 0 else -1 for v_o in sums] for sums in v[:-1]]
        for layer, (d, a) in enumerate(zip(deltas, inputs, strict=True)):
            self.counters[layer] = brute_accumulate(self.counters[layer], [d], [[*a, 1]], self.config.mmax)

    def end_batch(self, k: tuple[int, ...]) -> None:
        word_base = 0
        for layer in range(self.config.depth):
            w, m = self.weights[layer], self.counters[layer]
            _, _, selected = brute_select(m, w, k[layer])
            w, m, records, self.rng = brute_flip(w, m, selected, self.config, self.rng, word_base)
            self.weights[layer], self.counters[layer] = w, m
            self.flips[layer] += sum(mask.bit_count() for _, mask in records)
            self.record_bytes += brute_bytes(records)
            word_base += len(w) * -(-len(w[0]) // 32)


CONFIGS = {
    "one layer": Config((9, 4), k0=(6,), margin=3, batch=8),
    "two classes": Config((33, 2), precision=Precision.BINARY, k0=(5,), margin=5, flip_p256=77, batch=8),
    "binary": Config((12, 7, 3), precision=Precision.BINARY, k0=(9, 4), window=(3,), margin=4, batch=8),
    "memory-less": Config((31, 5, 3), k0=(20, 4), window=(4,), margin=6, shift=None, flip_p256=256, batch=8),
    "small counters": Config((12, 6, 6, 3), k0=(9, 9, 9), window=(4, 2), dclip=3, mmax=3, shift=2, margin=4, batch=16),
    "decay 0": Config((32, 3, 3), k0=(9, 2), window=(9,), shift=0, mmax=32_767, margin=9, flip_p256=1, batch=8),
    "eight layers": Config((5, 3, 1, 4, 2, 6, 3, 2, 3), k0=(4,) * 8, window=(9,) * 7, dclip=2, margin=4, batch=8),
}


@pytest.mark.parametrize("precision", Precision)
@pytest.mark.parametrize("name", CONFIGS)
def test_equals_the_definition(name, precision):
    config = dataclasses.replace(CONFIGS[name], precision=precision)
    rng = np.random.default_rng(21)
    trainer, brute = Trainer(config), BruteTrainer(config)
    for batch in range(6):
        x = rng.integers(0, 2, (config.batch, config.inputs)).astype(np.uint8)
        y = rng.integers(0, config.classes, config.batch)
        trainer.train(x, y)
        for x_s, t in zip(x.tolist(), y.tolist(), strict=True):
            brute.train(x_s, t)
        assert [m.tolist() for m in trainer.state.counters] == brute.counters
        trainer.end_batch(config.schedule(batch, 6))
        brute.end_batch(config.schedule(batch, 6))
        assert [w.tolist() for w in trainer.state.weights] == brute.weights
        assert [m.tolist() for m in trainer.state.counters] == brute.counters
        assert trainer.state.rng == brute.rng
        assert (trainer.errors, trainer.correct, trainer.flips) == (brute.errors, brute.correct, brute.flips)
        assert trainer.signature == brute_crc32(brute.record_bytes)
    assert (trainer.samples, trainer.batches) == (6 * config.batch, 6)
    assert trainer.infer(x).tolist() == [brute_predict(brute_forward(brute.weights, x_s)[-1]) for x_s in x.tolist()]


def result(trainer: Trainer) -> tuple:
    return trainer.state.sha256(), trainer.state.rng, trainer.signature, trainer.errors, trainer.correct, trainer.flips


@pytest.fixture
def stream():
    rng = np.random.default_rng(22)
    return rng.integers(0, 2, (2500, 12)).astype(np.uint8), rng.integers(0, 3, 2500)


def test_how_samples_are_handed_over_changes_nothing(stream):
    x, y = stream
    whole, parts = Trainer(CONFIGS["small counters"]), Trainer(CONFIGS["small counters"])
    whole.train(x, y)
    for start, end in ((0, 0), (0, 1), (1, 70), (70, 2400), (2400, 2500)):
        parts.train(x[start:end], y[start:end])
    whole.end_batch((9, 9, 9))
    parts.end_batch((9, 9, 9))
    assert result(parts) == result(whole)


def test_reset_starts_again(stream):
    x, y = stream
    trainer = Trainer(CONFIGS["binary"])
    trainer.train(x, y)
    trainer.end_batch((9, 4))
    first = result(trainer)
    trainer.reset()
    assert result(trainer) == result(Trainer(CONFIGS["binary"])) != first
    trainer.train(x, y)
    trainer.end_batch((9, 4))
    assert result(trainer) == first


def test_a_resumed_run_ends_like_an_unbroken_one(stream):
    x, y = stream
    trainer, resumed = Trainer(CONFIGS["binary"]), Trainer(CONFIGS["binary"])
    trainer.train(x, y)
    trainer.end_batch((9, 4))
    resumed.state = trainer.state.copy()
    resumed.signature = trainer.signature
    resumed.errors, resumed.correct, resumed.flips = trainer.errors, trainer.correct, list(trainer.flips)
    for each in (trainer, resumed):
        each.train(x[:500], y[:500])
        each.end_batch((9, 4))
    assert result(resumed) == result(trainer)


def test_inference_changes_nothing(stream):
    trainer = Trainer(CONFIGS["binary"])
    before = result(trainer)
    assert trainer.infer(stream[0]).shape == (2500,)
    assert trainer.infer(stream[0][:0]).tolist() == []
    assert result(trainer) == before


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((2, 11), np.uint8), np.zeros(2, int), "inputs: shape (2, 11), expected (samples, 12)"),
        (np.zeros(12, np.uint8), np.zeros(1, int), "inputs: shape (12,), expected (samples, 12)"),
        (np.zeros((2, 12), np.uint8), np.zeros(3, int), "classes: shape (3,), expected (2,) (one per sample)"),
        (np.zeros((2, 12), np.uint8), np.array([0, 3]), "classes: 0 … 3 is outside 0 … 2"),
        (np.zeros((2, 12), np.uint8), np.array([-1, 2]), "classes: -1 … 2 is outside 0 … 2"),
    ],
)
def test_samples_that_do_not_fit_are_refused(x, y, message):
    trainer = Trainer(CONFIGS["binary"])
    with pytest.raises(ValueError) as error:
        trainer.train(x, y)
    assert str(error.value) == message
    assert trainer.samples == 0


def test_k_for_every_layer():
    with pytest.raises(ValueError, match=r"k: 1 given, expected 2 \(one per layer\)"):
        Trainer(CONFIGS["binary"]).end_batch((9,))


# The chip's trainer ---------------------------------------------------------------------------------------------------

RTL = {
    "ternary, two hidden layers": (
        Config(
            layers=(20, 9, 7, 4), k0=(30, 11, 9), window=(5, 4), margin=6, dclip=2, shift=3, batch=8, epochs=1, seed=3
        ),
        {"array_rows": 2, "array_synapses": 8},
        False,
    ),
    "binary, batches that end by themselves": (
        Config(
            layers=(40, 33, 5),
            precision=Precision.BINARY,
            k0=(90, 20),
            window=(7,),
            margin=9,
            shift=None,
            mmax=5,
            flip_p256=77,
            batch=10,
            epochs=1,
            seed=4,
        ),
        {"array_rows": 4, "array_synapses": 32},
        True,
    ),
    "ternary, banks of counters": (
        Config(layers=(70, 33, 5), k0=(200, 20), window=(7,), margin=9, shift=3, batch=10, epochs=1, seed=6),
        {"array_rows": 8, "array_synapses": 16, "learn_rows": 8},
        True,
    ),
}


def run_rtl(testbench, name: str, **options) -> None:
    config, geometry, ends_by_itself = RTL[name]
    chip = ChipConfig.of(config, **geometry)
    parameters = {
        "config": dataclasses.asdict(config),
        "chip": dataclasses.asdict(chip),
        "ends_by_itself": ends_by_itself,
        "batches": 4,
        "density": 0.4,
        "stall": 0.2,
        "seed": 5,
        "break_golden": None,
    }
    testbench(HardwareTrainer(chip), "popflip.sim.tb_trainer", parameters | options, undefined_collisions=True)


@pytest.mark.parametrize("name", RTL)
def test_the_chip_equals_golden_after_every_batch(testbench, name):
    run_rtl(testbench, name)


def test_a_wrong_bit_is_caught_and_located(testbench):
    with pytest.raises(AssertionError, match="batch 2: layer 1, row 6, word 0, synapse 3: counter is "):
        run_rtl(testbench, "ternary, two hidden layers", batches=2, break_golden=(1, 6, 3))
