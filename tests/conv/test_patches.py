"""Patches and their sums, against loops over positions and taps."""

from __future__ import annotations

import numpy as np
import pytest
from brute import brute_conv_pixels
from hypothesis import given
from hypothesis import strategies as st
from layers import brute_layer, layers
from search import search

from popflip.golden.conv.patches import padded, patch_sums, pixels, scatter
from popflip.golden.layers import Layer, Planes

seeds = st.integers(0, 2**32 - 1)


@search
@given(st.builds(Planes, st.integers(1, 5), st.integers(1, 5), st.integers(1, 4)), seeds)
def test_bits_become_pixels(image, seed):
    bits = np.random.default_rng(seed).integers(0, 2, (3, image.size)).astype(np.uint8)
    expected = [brute_conv_pixels(each, image.height, image.width, image.channels) for each in bits.tolist()]
    assert pixels(bits, image).tolist() == expected


@search
@given(layers, seeds)
def test_patch_sums_equal_the_definition(layer, seed):
    a = np.random.default_rng(seed).integers(-1, 2, (2, layer.inputs.size)).astype(np.int8)
    brute = brute_layer(layer)
    expected = np.zeros((2, layer.pools, layer.synapses), int)
    for py, px in brute.positions():
        pool = brute.neuron(py, px, 0) // layer.rows
        expected[:, pool, layer.synapses - 1] += layer.bias
        for synapse, i in brute.taps(py, px):
            expected[:, pool, synapse] += a[:, i]
    result = patch_sums(a, layer)
    assert result.dtype == np.int8
    assert result.tolist() == expected.tolist()


@search
@given(layers, seeds)
def test_scatter_equals_the_definition(layer, seed):
    taps = layer.synapses - layer.bias
    e = np.random.default_rng(seed).integers(-99, 100, (2, layer.pools, taps)).astype(np.float32)
    brute = brute_layer(layer)
    expected = np.zeros((2, layer.inputs.size))
    for py, px in brute.positions():
        pool = brute.neuron(py, px, 0) // layer.rows
        for synapse, i in brute.taps(py, px):
            expected[:, i] += e[:, pool, synapse]
    result = scatter(e, layer)
    assert result.dtype == np.float32
    assert result.tolist() == expected.tolist()


def test_sums_of_the_most_positions_fit():
    """16 positions in one pool, all of whose patches are full of ones."""
    layer = Layer(Planes(9, 9), 1, 3, pool=4)
    assert patch_sums(np.ones((1, 81), np.uint8), layer).max() == 16
    assert patch_sums(-np.ones((1, 81), np.int8), layer).min() == -16


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (Layer(Planes(7, 9, 2), 1, 3, pool=2), (1, 8, 10, 2)),  # 6 × 8 used positions, one more pixel on each side
        (Layer(Planes(9, 9), 1, 1, stride=4, pool=2), (1, 5, 5, 1)),  # the last 4 pixels are in no patch
    ],
)
def test_the_grid_ends_with_the_last_patch(layer, shape):
    assert padded(np.ones((1, layer.inputs.size), np.uint8), layer).shape == shape


def test_no_samples():
    layer = Layer(Planes(4, 4), 2, 3, pool=2)
    assert patch_sums(np.zeros((0, 16), np.uint8), layer).shape == (0, 4, 9)
    assert scatter(np.zeros((0, 4, 9), np.float32), layer).shape == (0, 16)
