"""Forward sums and predictions, against loops over neurons and synapses."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from brute import brute_forward, brute_predict
from chips import BINARY, chip, lbe_chip, run_on_chips
from hypothesis import given
from hypothesis import strategies as st
from marks import with_long
from search import bit_arrays, precisions, search, weight_arrays

from popflip.golden.common.forward import forward, predict
from popflip.hw.common.forward import Forward
from popflip.hw.common.mac_array import MacArray


@st.composite
def networks(draw):
    """Weights and inputs of a small network of 1 to 8 layers."""
    precision = draw(precisions)
    layers = draw(st.lists(st.integers(1, 7), min_size=2, max_size=9))
    weights = [draw(weight_arrays(precision, (r, k + 1))) for k, r in pairwise(layers)]
    return weights, draw(bit_arrays((draw(st.integers(0, 3)), layers[0])))


@search
@given(networks())
def test_sums_equal_the_definition(network):
    weights, x = network
    sums = forward(weights, x)
    assert [v.dtype for v in sums] == [np.int32] * len(weights)
    plain = [w.tolist() for w in weights]
    assert [[v[s].tolist() for v in sums] for s in range(len(x))] == [brute_forward(plain, row) for row in x.tolist()]
    assert predict(sums[-1]).tolist() == [brute_predict(v) for v in sums[-1].tolist()]


@pytest.mark.parametrize("layers", [(1, 1, 2), (31, 33, 10), (65, 64, 2), (784, 100, 10)])
def test_wider_networks_equal_the_definition(layers):
    rng = np.random.default_rng(3)
    weights = [rng.integers(-1, 2, (r, k + 1)).astype(np.int8) for k, r in pairwise(layers)]
    x = rng.integers(0, 2, (3, layers[0])).astype(np.uint8)
    plain = [w.tolist() for w in weights]
    sums = forward(weights, x)
    assert [[v[s].tolist() for v in sums] for s in range(3)] == [brute_forward(plain, row) for row in x.tolist()]


def test_a_sum_of_zero_is_minus_one():
    """The hidden neuron sums to 0, so its output is −1 and not +1."""
    hidden, out = np.array([[1, -1]], np.int8), np.array([[1, 0], [-1, 0]], np.int8)
    assert [v.tolist() for v in forward([hidden, out], np.ones((1, 1), np.uint8))] == [[[0]], [[-1, 1]]]


def test_the_lowest_of_the_largest_is_predicted():
    assert predict(np.array([[3, 5, 5], [2, 2, 2], [-4, -9, -4]], np.int32)).tolist() == [1, 0, 0]


# The hardware ---------------------------------------------------------------------------------------------------------

CHIPS = {
    "narrow": {
        "one_layer": chip(13, 3, precision=BINARY, rows=1, lanes=4),
        "bias_alone": chip(16, 8, 5, rows=2, lanes=8),
        "width_one": chip(1, 1, 1, 2, precision=BINARY, rows=2, lanes=4),
    },
    "deep": {
        "ternary": chip(21, 12, 9, 7, 4, rows=4, lanes=8),
        "all_rows_at_once": chip(9, 40, 33, 6, precision=BINARY, rows=32, lanes=8),
    },
    "compact": {
        "binary": chip(33, 20, 10, precision=BINARY, rows=4, lanes=8, slots=2, compact=True),
        "as_many_rows": chip(24, 12, 9, 9, rows=4, lanes=4, compact=True),
    },
    "wide": {
        "bias_alone": chip(64, 33, 11, precision=BINARY, rows=8, lanes=32),
        "many_groups": chip(40, 33, 11, rows=2, lanes=32),
        "one_word": chip(70, 31, 3, rows=2, lanes=64),
    },
    "folded": {
        "ternary": chip(24, 70, 3, rows=16, lanes=16),
        "large": chip(24, 70, 12, rows=32, lanes=16),
        "deep": chip(21, 12, 40, 50, 2, precision=BINARY, rows=8, lanes=16, learn_rows=2),
        "one_word": chip(5, 7, 2, rows=16, lanes=16),
        "one_layer": chip(5, 3, rows=16, lanes=16),
    },
    "biases": {
        "binary": chip(32, 33, 3, precision=BINARY, rows=2, lanes=32),
        "folded": chip(48, 40, 3, rows=16, lanes=16),
        "one_layer": chip(64, 7, rows=4, lanes=16),
    },
    "lbe": {
        "one_layer": lbe_chip(13, 5, classes=3, rows=2, lanes=4),
        "width_one": lbe_chip(1, 1, 1, 3, classes=2, rows=4, lanes=4),
        "deep": lbe_chip(32, 9, 8, 17, classes=4, rows=4, lanes=8),
        "all_rows_at_once": lbe_chip(9, 40, 33, classes=2, rows=32, lanes=8),
        "wide": lbe_chip(64, 33, 11, classes=300, rows=8, lanes=64, slots=2),
    },
}
LONG = {"long": chip(100, 48, 24, rows=2, lanes=8, slots=8)}


MAC_CHIPS = {
    "narrow": chip(5, 2, rows=2, lanes=4),
    "one_row": chip(5, 2, precision=BINARY, rows=1, lanes=8),
    "ternary": chip(5, 2, rows=8, lanes=32),
    "wide": chip(5, 2, precision=BINARY, rows=4, lanes=64),
    "folded": chip(5, 70, 3, precision=BINARY, rows=16, lanes=16),
    "folded_ternary": chip(5, 40, 2, rows=8, lanes=16),
    "copies": chip(5, 40, 12, precision=BINARY, rows=32, lanes=16),
}


def test_array_equals_a_matrix_product(testbench):
    run_on_chips(testbench, MacArray, MAC_CHIPS, "common.tb_mac_array", seed=1)


@pytest.mark.parametrize("name", with_long(CHIPS, "folded", "biases", "wide"))
def test_engine_equals_golden(testbench, name):
    options = {"seeds": [1, 2, 3], "samples": 12, "stall": 0.3, "grant": 0.6}
    run_on_chips(testbench, Forward, CHIPS[name], "common.tb_forward", **options)


def test_two_samples_in_turn_keep_the_array_busy(testbench):
    options = {"seeds": [4], "samples": 24, "stall": 0.1, "grant": 0.9}
    run_on_chips(testbench, Forward, LONG, "common.tb_forward", least_busy=0.85, **options)


@pytest.mark.parametrize(("layer", "row", "message"), [(3, 2, "sum"), (1, 5, "active, in_window")])
def test_a_wrong_sum_is_named(testbench, layer, row, message):
    options = {"seeds": [1], "samples": 8, "stall": 0.3, "grant": 0.6, "wrong": {"ternary": [6, layer, row]}}
    with pytest.raises(AssertionError, match=f"ternary: sample 6, layer {layer}, row {row}: {message}"):
        run_on_chips(testbench, Forward, CHIPS["deep"], "common.tb_forward", **options)


def test_a_layer_starts_only_when_its_weights_are_settled(testbench):
    """With every layer reported as settled at all times, the engine uses the previous sample's weights."""
    options = {"seeds": [1], "samples": 8, "stall": 0.3, "grant": 0.6, "hasty": True}
    with pytest.raises(AssertionError, match=r"sample 1, layer 0, row \d+: sum "):
        run_on_chips(testbench, Forward, CHIPS["lbe"], "common.tb_forward", **options)
