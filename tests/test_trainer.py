"""Whole batches of the trainer, against the brute-force stages in the order of the definition."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from brute import (
    brute_accumulate,
    brute_backward,
    brute_bytes,
    brute_crc32,
    brute_forward,
    brute_initial,
    brute_lbe_initial,
    brute_output_error,
    brute_predict,
    brute_predict_score,
    brute_reinforce,
    brute_score,
    brute_triggers,
    brute_winners,
)
from brute_run import BruteBatches, assert_equal_runs
from marks import with_long

from popflip.golden.config import Config, LbeConfig, Precision
from popflip.golden.lbe.engine import LbeEngine
from popflip.golden.trainer import Trainer
from popflip.hw.config import ChipConfig
from popflip.hw.trainer import Trainer as HardwareTrainer


class BruteTrainer(BruteBatches):
    """The learning rule in plain Python numbers, one sample at a time."""

    def __init__(self, config: Config):
        super().__init__(config, brute_initial(config.layers, config.precision, config.seed))

    def predict(self, x: list[int]) -> int:
        return brute_predict(brute_forward(self.weights, x)[-1])

    def train(self, x: list[int], t: int) -> None:
        v = brute_forward(self.weights, x)
        self.correct += brute_predict(v[-1]) == t
        updates, rival = brute_output_error(v[-1], t, self.config.margin)
        if not updates:
            return
        self.errors += 1
        delta = [(c == t) - (c == rival) for c in range(self.config.classes)]
        deltas = brute_backward(self.weights, v, delta, self.config.window, self.config.dclip)
        inputs = [x] + [[1 if v_o > 0 else -1 for v_o in sums] for sums in v[:-1]]
        for layer, (d, a) in enumerate(zip(deltas, inputs, strict=True)):
            self.counters[layer] = brute_accumulate(self.counters[layer], [d], [[*a, 1]], self.config.mmax)


class BruteLbeTrainer:
    """LBE in plain Python numbers."""

    def __init__(self, config: LbeConfig):
        self.config = config
        self.counters, self.classifiers, self.rng = brute_lbe_initial(
            config.layers, config.classes, config.mmax, config.seed
        )
        self.errors = self.correct = 0
        self.flips = [0] * config.depth
        self.record_bytes: list[int] = []

    @property
    def weights(self) -> list[list[list[int]]]:
        return [[[1 if k >= 0 else -1 for k in row] for row in layer] for layer in self.counters]

    def forward(self, x: list[int]) -> list[tuple[list[int], list[int], list[int], list[int]]]:
        """Inputs, sums, activations and scores of each layer."""
        layers, a = [], x
        for w, rho in zip(self.weights, self.classifiers, strict=True):
            z = [sum(w_oi if a_i else -w_oi for w_oi, a_i in zip(row, a, strict=True)) for row in w]
            fired = [int(z_o >= 0) for z_o in z]
            layers.append((a, z, fired, brute_score(fired, rho)))
            a = fired
        return layers

    def predict(self, x: list[int]) -> int:
        return brute_predict_score(self.forward(x)[-1][3])

    def train(self, x: list[int], t: int) -> None:
        config, word_base, triggered = self.config, 0, False
        layers = self.forward(x)
        self.correct += brute_predict_score(layers[-1][3]) == t
        for layer, (a, z, fired, y) in enumerate(layers):
            k, desired = self.counters[layer], self.classifiers[layer][t]
            if brute_triggers(y, t, config.margin[layer]):
                triggered = True
                wrong = [a_o != rho_o for a_o, rho_o in zip(fired, desired, strict=True)]
                rows = brute_winners(z, wrong, config.group[layer], config.near[layer])
                up = [[a_i == desired[o] for a_i in a] for o in rows]
                moved, records, self.rng = brute_reinforce(
                    [k[o] for o in rows], up, rows, config.reinforce_p256, config.mmax, self.rng, word_base
                )
                for o, row in zip(rows, moved, strict=True):
                    k[o] = row
                self.flips[layer] += sum(mask.bit_count() for _, mask in records)
                self.record_bytes += brute_bytes(records)
            word_base += len(k) * -(-len(k[0]) // 32)
        self.errors += triggered


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
    assert_equal_runs(config, BruteTrainer(config), 6)


LBE_CONFIGS = {
    "one layer": LbeConfig((9, 6), 4, group=(3,), margin=(4,), reinforce_p256=77),
    "two classes": LbeConfig((33, 40), 2, group=(32,), margin=(9,), reinforce_p256=2, seed=4),
    "no reinforcement": LbeConfig((31, 7, 5), 3, group=(4, 2), margin=(3, 2), reinforce_p256=0, mmax=1),
    "all reinforced": LbeConfig((12, 33), 3, group=(7,), margin=(40,), reinforce_p256=256, mmax=7),
    "one group": LbeConfig((64, 32, 3), 5, group=(2**31 - 1, 3), margin=(9, 5), reinforce_p256=128, mmax=63),
    "never triggered": LbeConfig((20, 9), 3, group=(1,), margin=(-(2**31),)),
    "always triggered": LbeConfig((20, 9), 3, group=(1,), margin=(2**31 - 1,), reinforce_p256=1),
    "a layer that rests": LbeConfig((20, 9, 70), 3, group=(4, 9), margin=(-99, 60), reinforce_p256=200),
    "nearly wrong": LbeConfig((31, 12, 5), 3, group=(4, 2), margin=(9, 6), near=(6, 3), reinforce_p256=90),
    "eight layers": LbeConfig((5, 3, 1, 4, 2, 6, 3, 2, 33), 3, group=(2,) * 8, margin=(2,) * 8, mmax=3),
}


@pytest.mark.parametrize("name", LBE_CONFIGS)
def test_lbe_equals_the_definition(name):
    config = LBE_CONFIGS[name]
    rng = np.random.default_rng(23)
    trainer, brute = Trainer(config), BruteLbeTrainer(config)
    assert isinstance(trainer.engine, LbeEngine)
    assert [m.tolist() for m in trainer.state.counters] == brute.counters
    samples = 0
    for count in (1, 1, 5, 0, 20):
        x = rng.integers(0, 2, (count, config.inputs)).astype(np.uint8)
        y = rng.integers(0, config.classes, count)
        trainer.train(x, y)
        trainer.end_batch(())
        for x_s, t in zip(x.tolist(), y.tolist(), strict=True):
            brute.train(x_s, t)
        samples += count
        assert [w.tolist() for w in trainer.state.weights] == brute.weights
        assert [m.tolist() for m in trainer.state.counters] == brute.counters
        assert trainer.state.rng == brute.rng
        assert (trainer.errors, trainer.correct, trainer.flips) == (brute.errors, brute.correct, brute.flips)
        assert trainer.signature == brute_crc32(brute.record_bytes)
        assert (trainer.samples, trainer.batches) == (samples, samples)
        assert trainer.infer(x).tolist() == [brute.predict(x_s) for x_s in x.tolist()]
    assert (trainer.errors == 0) == (name == "never triggered")
    assert [rho.astype(int).tolist() for rho in trainer.state.classifiers] == brute.classifiers


def test_lbe_selects_nothing():
    with pytest.raises(ValueError, match=r"k: 1 given, expected 0 \(LBE selects nothing\)"):
        Trainer(LBE_CONFIGS["one layer"]).end_batch((9,))


def result(trainer: Trainer) -> tuple:
    return trainer.state.sha256(), trainer.state.rng, trainer.signature, trainer.errors, trainer.correct, trainer.flips


@pytest.fixture
def stream():
    rng = np.random.default_rng(22)
    return rng.integers(0, 2, (2500, 12)).astype(np.uint8), rng.integers(0, 3, 2500)


LBE = LbeConfig((12, 40, 9), 3, group=(7, 3), margin=(8, 3))


@pytest.mark.parametrize(("config", "k"), [(CONFIGS["small counters"], (9, 9, 9)), (LBE, ())])
def test_the_size_of_train_calls_changes_nothing(stream, config, k):
    x, y = stream
    whole, parts = Trainer(config), Trainer(config)
    whole.train(x, y)
    for start, end in ((0, 0), (0, 1), (1, 70), (70, 2400), (2400, 2500)):
        parts.train(x[start:end], y[start:end])
    whole.end_batch(k)
    parts.end_batch(k)
    assert result(parts) == result(whole)


RULES = pytest.mark.parametrize(("config", "k"), [(CONFIGS["binary"], (9, 4)), (LBE, ())], ids=["gft", "lbe"])


@RULES
def test_reset_returns_to_the_initial_state(stream, config, k):
    x, y = stream
    trainer = Trainer(config)
    trainer.train(x, y)
    trainer.end_batch(k)
    first = result(trainer)
    trainer.reset()
    assert result(trainer) == result(Trainer(config)) != first
    trainer.train(x, y)
    trainer.end_batch(k)
    assert result(trainer) == first


@RULES
def test_a_resumed_run_ends_like_an_uninterrupted_one(stream, config, k):
    x, y = stream
    trainer, resumed = Trainer(config), Trainer(config)
    trainer.train(x, y)
    trainer.end_batch(k)
    resumed.state = trainer.state.copy()
    resumed.signature = trainer.signature
    resumed.errors, resumed.correct, resumed.flips = trainer.errors, trainer.correct, list(trainer.flips)
    for each in (trainer, resumed):
        each.train(x[:500], y[:500])
        each.end_batch(k)
    assert result(resumed) == result(trainer)


@RULES
def test_inference_changes_nothing(stream, config, k):
    trainer = Trainer(config)
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
@pytest.mark.parametrize("config", [CONFIGS["binary"], LBE], ids=["gft", "lbe"])
def test_samples_that_do_not_fit_are_refused(x, y, message, config):
    trainer = Trainer(config)
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
    "binary, compact": (
        Config(
            layers=(33, 20, 5),
            precision=Precision.BINARY,
            k0=(60, 12),
            window=(5,),
            margin=8,
            shift=2,
            mmax=9,
            batch=10,
            epochs=1,
            seed=7,
        ),
        {"array_rows": 4, "array_synapses": 8, "compact": True},
        True,
    ),
    "ternary, compact, three layers": (
        Config(
            layers=(20, 9, 7, 4), k0=(30, 11, 9), window=(5, 4), margin=6, dclip=2, shift=3, batch=8, epochs=1, seed=3
        ),
        {"array_rows": 2, "array_synapses": 4, "compact": True},
        False,
    ),
    "lbe, three layers": (
        LbeConfig((37, 13, 8, 5), 3, group=(4, 3, 9), margin=(5, 4, 3), reinforce_p256=77, mmax=3, seed=5),
        {"array_rows": 4, "array_synapses": 8, "slots": 4},
        False,
    ),
    "lbe, a word a row": (
        LbeConfig((64, 33, 7), 5, group=(32, 1), margin=(9, 7), reinforce_p256=2, seed=6),
        {"array_rows": 2, "array_synapses": 64},
        False,
    ),
    "ternary, banks of counters": (
        Config(layers=(70, 33, 5), k0=(200, 20), window=(7,), margin=9, shift=3, batch=10, epochs=1, seed=6),
        {"array_rows": 8, "array_synapses": 16, "learn_rows": 8},
        True,
    ),
    "ternary, last layer folded": (
        Config(layers=(24, 41, 50, 4), k0=(70, 90, 9), window=(5, 6), margin=8, shift=3, batch=10, epochs=1, seed=8),
        {"array_rows": 16, "array_synapses": 16, "learn_rows": 2},
        True,
    ),
    "ternary, positions": (
        Config(
            layers=("6x5", "c4k3p2", "c5k3", 3),
            k0=(8, 20, 9),
            window=(3, 6),
            margin=6,
            dclip=2,
            shift=3,
            mmax=(40, 60, 9),
            batch=6,
            epochs=1,
            seed=3,
        ),
        {"array_rows": 2, "array_synapses": 8, "slots": 4},
        False,
    ),
    "binary, positions, banks of counters": (
        Config(
            layers=("7x6x2", "c6k3", "c8k3s2p2", 4),
            precision=Precision.BINARY,
            k0=(8, 20, 9),
            window=(3, 6),
            margin=6,
            shift=None,
            mmax=30,
            batch=8,
            epochs=1,
            seed=4,
        ),
        {"array_rows": 8, "array_synapses": 16, "learn_rows": 4},
        True,
    ),
    "binary, last layer folded to one word": (
        Config(
            layers=(70, 33, 3),
            precision=Precision.BINARY,
            k0=(200, 20),
            window=(7,),
            margin=9,
            shift=3,
            batch=10,
            epochs=1,
            seed=9,
        ),
        {"array_rows": 32, "array_synapses": 16, "learn_rows": 4},
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
        "sizes": [1, 1, 5, 20],
        "density": 0.4,
        "stall": 0.2,
        "seed": 5,
        "break_golden": None,
    }
    testbench(HardwareTrainer(chip), "popflip.sim.common.tb_trainer", parameters | options, undefined_collisions=True)


LONG = (
    "ternary, banks of counters",
    "ternary, last layer folded",
    "binary, last layer folded to one word",
    "lbe, a word a row",
    "ternary, compact, three layers",
    "binary, positions, banks of counters",
)


@pytest.mark.parametrize("name", with_long(RTL, *LONG))
def test_the_chip_equals_golden_after_every_batch(testbench, name):
    run_rtl(testbench, name)


@pytest.mark.parametrize("name", ["ternary, two hidden layers", "lbe, three layers"])
def test_a_wrong_bit_is_caught_and_located(testbench, name):
    with pytest.raises(AssertionError, match="batch 2: layer 1, row 6, word 0, synapse 3: counter is "):
        run_rtl(testbench, name, batches=2, sizes=[1, 3], break_golden=(1, 6, 3))
