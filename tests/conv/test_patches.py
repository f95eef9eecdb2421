"""Patches and their sums, against loops over positions and taps."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
from brute import brute_conv_pixels
from hypothesis import given
from hypothesis import strategies as st
from layers import brute_layer, layers
from search import search

from popflip.golden.conv.patches import padded, patch_sums, pixels, scatter
from popflip.golden.layers import Layer, Planes
from popflip.hw.conv.patches import Patches
from popflip.sim.bench.parts import SideBySide

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


# The hardware ---------------------------------------------------------------------------------------------------------

PATCHES = {
    "a_word_each": (Layer(Planes(8, 8), 4, 5, pool=2), 32),
    "several_words": (Layer(Planes(7, 9, 3), 4, 3, 2), 4),
    "kernel_1": (Layer(Planes(5, 4, 2), 4, 1), 8),
    "kernel_1_apart": (Layer(Planes(9, 7), 4, 1, 3, 2), 8),
    "kernel_7": (Layer(Planes(9, 11, 2), 4, 7, 3), 16),
    "kernel_9": (Layer(Planes(13, 10), 4, 9, 4), 32),
    "pool_3": (Layer(Planes(11, 8), 4, 3, pool=3), 16),
    "pool_4_apart": (Layer(Planes(13, 15), 4, 3, 4, 3), 8),
    "larger_than_the_image": (Layer(Planes(3, 2), 4, 9), 32),
    "one_column": (Layer(Planes(6, 1), 4, 3), 16),
    "one_pixel": (Layer(Planes(1, 1), 4, 3), 16),
}
"""Layers, and the synapses in a word."""


def run_patches(testbench, **options) -> None:
    dut = SideBySide({name: Patches(*case) for name, case in PATCHES.items()})
    parts = {name: {"case": {"layer": asdict(layer), "lanes": lanes}} for name, (layer, lanes) in PATCHES.items()}
    testbench(dut, "popflip.sim.conv.tb_patches", {"parts": parts, "seed": 1, "samples": 6, **options})


def test_words_of_patches_equal_golden(testbench):
    run_patches(testbench)


def test_a_wrong_word_is_named(testbench):
    with pytest.raises(AssertionError, match="pool_3: sample 3, position 8: "):
        run_patches(testbench, wrong={"pool_3": [3, 8]})
