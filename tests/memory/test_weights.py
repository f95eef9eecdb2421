"""The initial state, drawn bit by bit, and the state hash, byte by byte."""

from __future__ import annotations

import hashlib
import struct

import numpy as np
import pytest
from brute import brute_initial, brute_lbe_initial, brute_sha256
from chips import BINARY, chip, run_on_chips

from popflip.golden.config import Config, LbeConfig, Precision
from popflip.golden.memory.weights import first_difference
from popflip.golden.trainer import initial
from popflip.hw.memory.weights import Weights


def config_of(layers: tuple[int, ...], precision: Precision, seed: int = 1) -> Config:
    return Config(layers, precision, k0=(1,) * (len(layers) - 1), window=(1,) * (len(layers) - 2), seed=seed)


@pytest.mark.parametrize("precision", Precision)
@pytest.mark.parametrize("layers", [(1, 2), (31, 3), (32, 1, 2), (64, 5, 33, 2), (7,) * 9])
def test_initial_equals_the_definition(layers, precision):
    for seed in (0, 1, 2**32 - 1):
        state = initial(config_of(layers, precision, seed))
        weights, rng = brute_initial(layers, precision, seed)
        assert [w.tolist() for w in state.weights] == weights
        assert state.rng == rng
        assert [w.dtype for w in state.weights] == [np.int8] * len(weights)
        for w, m in zip(state.weights, state.counters, strict=True):
            assert m.shape == w.shape
            assert m.dtype == np.int16
            assert not m.any()


def lbe_config_of(layers: tuple[int, ...], classes: int, mmax: int = 127, seed: int = 1) -> LbeConfig:
    depth = len(layers) - 1
    return LbeConfig(layers, classes, (32,) * depth, (4,) * depth, mmax=mmax, seed=seed)


@pytest.mark.parametrize("mmax", [1, 7, 31, 63, 127])
@pytest.mark.parametrize(("layers", "classes"), [((1, 1), 2), ((31, 33), 10), ((32, 5, 64), 3), ((65, 32, 9), 7)])
def test_lbe_initial_equals_the_definition(layers, classes, mmax):
    for seed in (0, 1, 2**32 - 1):
        state = initial(lbe_config_of(layers, classes, mmax, seed))
        counters, classifiers, rng = brute_lbe_initial(layers, classes, mmax, seed)
        assert [m.tolist() for m in state.counters] == counters
        assert [rho.astype(int).tolist() for rho in state.classifiers] == classifiers
        assert state.rng == rng
        assert [w.tolist() for w in state.weights] == [
            [[1 if k >= 0 else -1 for k in row] for row in m] for m in counters
        ]
        assert {m.dtype.name for m in state.counters} == {"int16"}
        assert {w.dtype.name for w in state.weights} == {"int8"}


def test_the_lbe_hash_covers_the_counters_only():
    state = initial(lbe_config_of((33, 4, 3), 2))
    data = b"".join(struct.pack("<h", value) for m in state.counters for row in m.tolist() for value in row)
    assert state.sha256() == hashlib.sha256(data).hexdigest()
    before = state.sha256()
    state.weights[0][0, 0] *= -1
    assert state.sha256() == before
    state.counters[1][2, 3] ^= 1
    assert state.sha256() != before


def test_a_copy_of_an_lbe_state_is_independent():
    state = initial(lbe_config_of((5, 2), 3))
    copy = state.copy()
    assert [rho.tolist() for rho in copy.classifiers] == [rho.tolist() for rho in state.classifiers]
    copy.weights[0][0, 0] *= -1
    assert first_difference(copy, state).startswith("layer 0, row 0, word 0, synapse 0: weight is ")
    copy.counters[0][0, 0] ^= 1
    assert state.sha256() == initial(lbe_config_of((5, 2), 3)).sha256() != copy.sha256()


def test_hash_equals_the_definition():
    state = initial(config_of((33, 4, 3), Precision.TERNARY))
    rng = np.random.default_rng(7)
    state.counters = [rng.integers(-300, 300, m.shape).astype(np.int16) for m in state.counters]
    assert state.sha256() == brute_sha256(state)
    before = state.sha256()
    state.counters[1][2, 4] ^= 1
    assert state.sha256() == brute_sha256(state) != before


def test_the_first_difference_is_named_in_scan_order():
    golden = initial(config_of((40, 3, 2), Precision.TERNARY))
    state = golden.copy()
    assert first_difference(state, golden) is None
    for m, place, value in (
        (state.counters[1], (0, 0), 5),
        (state.counters[0], (2, 40), -3),
        (state.counters[0], (2, 33), 7),
    ):
        m[place] = value
    found = first_difference(state, golden)
    assert found == "layer 0, row 2, word 1, synapse 33: counter is 7, golden has 0"
    golden.weights[0][2, 33], state.weights[0][2, 33] = -1, 1
    found = first_difference(state, golden)
    assert found == "layer 0, row 2, word 1, synapse 33: weight is 1, golden has -1"


def test_a_copy_is_independent():
    state = initial(config_of((5, 2), Precision.BINARY))
    copy = state.copy()
    copy.weights[0][0, 0] *= -1
    copy.counters[0][0, 0] = 9
    copy.rng = 3
    assert state.sha256() == initial(config_of((5, 2), Precision.BINARY)).sha256()
    assert state.rng != 3


# The banks ------------------------------------------------------------------------------------------------------------

CHIPS = {
    "one_bank": chip(5, 3, precision=BINARY, rows=1, lanes=4),
    "ternary": chip(17, 9, 3, rows=4, lanes=8),
    "pieces": chip(250, 40, 10, precision=BINARY, rows=4, lanes=8, compact=True),  # 256 words and 82
    "three_pieces": chip(600, 40, 3, rows=4, lanes=8, compact=True),  # 512, 256 and 7
    "folded": chip(17, 9, 50, 3, rows=16, lanes=16),
    "folded_pairs": chip(70, 40, 9, precision=BINARY, rows=32, lanes=16, learn_rows=8),
    "biases_apart": chip(32, 21, 3, rows=4, lanes=16),
    "binary_biases_apart": chip(64, 9, 3, precision=BINARY, rows=2, lanes=64),
    "more_banks_than_rows": chip(70, 5, 3, precision=BINARY, rows=8, lanes=64),
}


def test_banks_equal_lists(testbench):
    run_on_chips(testbench, Weights, CHIPS, "memory.tb_weights", seed=1)
