"""Forward over positions, against loops over positions, rows and taps."""

from __future__ import annotations

import numpy as np
import pytest
from brute import brute_conv_forward
from chips import BINARY, chip, run_on_chips
from hypothesis import given
from hypothesis import strategies as st
from layers import brute_layer, networks, random_bits
from search import precisions, search

from popflip.golden.common.forward import forward as dense_forward
from popflip.golden.config import Precision
from popflip.golden.conv.forward import forward
from popflip.golden.layers import Layer, Planes, parse, plan
from popflip.hw.conv.forward import ConvForward


@search
@given(networks(), precisions, st.integers(0, 2**32 - 1))
def test_equals_the_definition(layers, precision, seed):
    rng = np.random.default_rng(seed)
    values = (-1, 1) if precision == Precision.BINARY else (-1, 0, 1)
    weights = [rng.choice(np.array(values, np.int8), (layer.rows, layer.synapses)) for layer in layers]
    x = random_bits(rng, (2, layers[0].inputs.size))
    sums = forward(weights, x, layers)
    assert all(v.dtype == np.int32 for v in sums)
    plain, brute = [w.tolist() for w in weights], [brute_layer(layer) for layer in layers]
    for sample in range(2):
        expected = brute_conv_forward(plain, x[sample].tolist(), brute)
        assert [v[sample].tolist() for v in sums] == expected


@search
@given(st.lists(st.integers(1, 40), min_size=2, max_size=5), st.integers(0, 2**32 - 1))
def test_a_dense_network_is_the_case_of_one_position(widths, seed):
    rng = np.random.default_rng(seed)
    layers = plan(parse(widths))
    weights = [rng.integers(-1, 2, (layer.rows, layer.synapses)).astype(np.int8) for layer in layers]
    x = random_bits(rng, (5, widths[0]))
    result, expected = forward(weights, x, layers), dense_forward(weights, x)
    assert [v.tolist() for v in result] == [v.tolist() for v in expected]


def test_a_patch_outside_the_image_adds_nothing():
    """A row of ones on an image of one pixel: eight of nine taps lie outside."""
    layer = Layer(Planes(1, 1), 1, 3)
    assert forward([np.ones((1, 9), np.int8)], np.ones((1, 1), np.uint8), [layer])[0].tolist() == [[1]]


def test_no_samples():
    layers = plan(parse("4x4,c2k3,3"))
    weights = [np.ones((layer.rows, layer.synapses), np.int8) for layer in layers]
    assert [v.shape for v in forward(weights, np.zeros((0, 16), np.uint8), layers)] == [(0, 32), (0, 3)]


# The hardware ---------------------------------------------------------------------------------------------------------

CHIPS = {
    "pooled": chip("8x8", "c6k3p2", "c4k3p2", 5, rows=4, lanes=8),
    "many_groups": chip("7x6x2", "c12k3", "c10k5s2", 20, 11, precision=BINARY, rows=4, lanes=16),
    "all_rows_at_once": chip("9x8", "c12k5p3", 3, rows=32, lanes=32),
    "one_row": chip("6x5x3", "c3k1", "c5k3s2p2", 2, precision=BINARY, rows=1, lanes=4),
    "pool_4": chip("13x9", "c8k3p4", 4, rows=8, lanes=8, slots=2),
}


@pytest.mark.long
def test_engine_equals_golden(testbench):
    options = {"seeds": [1, 2], "samples": 5, "stall": 0.3, "grant": 0.7}
    run_on_chips(testbench, ConvForward, CHIPS, "conv.tb_forward", **options)


@pytest.mark.long
def test_a_wrong_activation_is_named(testbench):
    options = {"seeds": [1], "samples": 3, "stall": 0, "grant": 1, "wrong": {"pooled": [2, 1, 3]}}
    with pytest.raises(AssertionError, match="pooled: sample 2, layer 1, neuron 3: active, in_window"):
        run_on_chips(testbench, ConvForward, CHIPS, "conv.tb_forward", **options)
