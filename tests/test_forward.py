"""Forward sums and predictions, against loops over neurons and synapses."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from search import bit_arrays, precisions, search, weight_arrays

from popflip.golden.forward import forward, predict


def brute_forward(weights: list[list[list[int]]], x: list[int]) -> list[list[int]]:
    """Sums of every layer for one sample."""
    sums = []
    a = list(x)
    for layer in weights:
        v = [sum(a_i * w_i for a_i, w_i in zip([*a, 1], row, strict=True)) for row in layer]
        sums.append(v)
        a = [1 if v_o > 0 else -1 for v_o in v]
    return sums


def brute_predict(v: list[int]) -> int:
    best = 0
    for c in range(1, len(v)):
        if v[c] > v[best]:
            best = c
    return best


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
