"""Backward over positions, against loops over positions, rows and taps."""

from __future__ import annotations

import numpy as np
import pytest
from brute import brute_conv_backward, brute_conv_errors
from hypothesis import given
from hypothesis import strategies as st
from layers import brute_layer, layers, networks, random_deltas
from search import search

from popflip.golden.conv.backward import backward, errors
from popflip.golden.gft.backward import backward as dense_backward
from popflip.golden.layers import Layer, Planes, parse, plan

seeds = st.integers(0, 2**32 - 1)


@search
@given(networks(), st.integers(0, 9), st.sampled_from((1, 2, 3, 32_767)), seeds)
def test_equals_the_definition(layers, window, dclip, seed):
    rng = np.random.default_rng(seed)
    weights = [rng.integers(-1, 2, (layer.rows, layer.synapses)).astype(np.int8) for layer in layers]
    v = [rng.integers(-9, 10, (2, layer.neurons)).astype(np.int32) for layer in layers]
    delta = random_deltas(rng, (2, layers[-1].rows), 1)
    windows = (window,) * (len(layers) - 1)
    deltas = backward(weights, v, delta, windows, dclip, layers)
    assert all(d.dtype == np.int32 for d in deltas)
    plain, brute = [w.tolist() for w in weights], [brute_layer(layer) for layer in layers]
    for sample in range(2):
        sums = [each[sample].tolist() for each in v]
        expected = brute_conv_backward(plain, sums, delta[sample].tolist(), windows, dclip, brute)
        assert [d[sample].tolist() for d in deltas] == expected


@search
@given(layers, st.sampled_from((1, 32_767)), seeds)
def test_errors_equal_the_definition(layer, dclip, seed):
    rng = np.random.default_rng(seed)
    w = rng.integers(-1, 2, (layer.rows, layer.synapses)).astype(np.int8)
    delta = random_deltas(rng, (2, layer.neurons), dclip)
    e = errors(w, delta, layer)
    for sample in range(2):
        assert e[sample].tolist() == brute_conv_errors(w.tolist(), delta[sample].tolist(), brute_layer(layer))


@search
@given(st.lists(st.integers(1, 40), min_size=2, max_size=5), seeds)
def test_a_dense_network_is_the_case_of_one_position(widths, seed):
    rng = np.random.default_rng(seed)
    layers = plan(parse(widths))
    weights = [rng.integers(-1, 2, (layer.rows, layer.synapses)).astype(np.int8) for layer in layers]
    v = [rng.integers(-9, 10, (5, layer.rows)).astype(np.int32) for layer in layers]
    delta = random_deltas(rng, (5, widths[-1]), 1)
    window = (3,) * (len(layers) - 1)
    result = backward(weights, v, delta, window, 2, layers)
    assert [d.tolist() for d in result] == [d.tolist() for d in dense_backward(weights, v, delta, window, 2)]


def test_sums_are_exact_beyond_float32():
    """Products fit a float32, their sum over positions and taps does not."""
    layer = Layer(Planes(15, 15), 1, 15)
    delta = np.full((1, 225), 2**23 - 1, np.int32)
    w = np.ones((1, 225), np.int8)
    centre = errors(w, delta, layer)[0, 112]  # read by every position
    assert centre == 225 * (2**23 - 1)


@pytest.mark.parametrize(("sum_below", "delta"), [(-7, 0), (-6, 2), (6, 2), (7, 0)])
def test_the_window_is_inclusive_and_errors_are_clipped_once(sum_below, delta):
    """A pixel that nine positions read, each with +1 but one with −1: 7, clipped to 2."""
    layers = (Layer(Planes(3, 3), 1, 1), Layer(Planes(3, 3), 1, 3))
    v = [np.full((1, 9), sum_below, np.int32), np.zeros((1, 9), np.int32)]
    last = np.ones((1, 9), np.int32)
    last[0, 0] = -1
    weights = [np.ones((1, 1), np.int8), np.ones((1, 9), np.int8)]
    assert backward(weights, v, last, (6,), 2, layers)[0][0, 4] == delta
