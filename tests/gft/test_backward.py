"""Backward, against loops over neurons."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from brute import brute_backward
from chips import BINARY, chip, run_on_chips
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from search import precisions, search, weight_arrays

from popflip.golden.gft.backward import backward
from popflip.hw.gft.backward import Backward


def one_against_one(rng: np.random.Generator, n: int, classes: int) -> np.ndarray:
    """δ of a last layer: +1 at a class, −1 at another."""
    delta = np.zeros((n, classes), np.int32)
    for row in delta:
        row[rng.choice(classes, 2, replace=False)] = 1, -1
    return delta


@st.composite
def cases(draw):
    precision = draw(precisions)
    layers = [*draw(st.lists(st.integers(1, 9), min_size=1, max_size=8)), draw(st.integers(2, 5))]
    n = draw(st.integers(0, 3))
    weights = [draw(weight_arrays(precision, (r, k + 1))) for k, r in pairwise(layers)]
    v = [draw(arrays(np.int32, (n, r), elements=st.integers(-5, 5))) for r in layers[1:]]
    window = tuple(draw(st.lists(st.integers(0, 5), min_size=len(v) - 1, max_size=len(v) - 1)))
    delta = one_against_one(np.random.default_rng(draw(st.integers(0, 99))), n, layers[-1])
    return weights, v, delta, window, draw(st.sampled_from((1, 2, 3, 32_767)))


@search
@given(cases())
def test_equals_the_definition(case):
    weights, v, delta, window, dclip = case
    deltas = backward(weights, v, delta, window, dclip)
    plain = [w.tolist() for w in weights]
    for s in range(len(delta)):
        v_s = [sums[s].tolist() for sums in v]
        assert [d[s].tolist() for d in deltas] == brute_backward(plain, v_s, delta[s].tolist(), window, dclip)


def test_sums_are_exact_beyond_float32():
    """Partial sums exceed 2²⁴ although the sum is 1; a float32 would round them."""
    rng = np.random.default_rng(4)
    dclip, half = 32_767, 32_767
    up = rng.integers(1, dclip, half, np.int32)
    delta = np.concatenate([up, -rng.permutation(up), [1]])[None].astype(np.int32)
    v = [np.zeros((1, 1), np.int32), np.zeros(delta.shape, np.int32)]
    weights = [np.zeros((1, 2), np.int8), np.ones((2 * half + 1, 2), np.int8)]
    assert backward(weights, v, delta, (0,), dclip)[0].tolist() == [[1]]


@pytest.mark.parametrize(("sum_below", "delta"), [(-7, 0), (-6, 1), (6, 1), (7, 0)])
def test_the_window_is_inclusive(sum_below, delta):
    weights = [np.zeros((1, 2), np.int8), np.array([[1, 0], [0, 0]], np.int8)]
    v = [np.array([[sum_below]], np.int32), np.zeros((1, 2), np.int32)]
    assert backward(weights, v, np.array([[1, -1]], np.int32), (6,), 1)[0].tolist() == [[delta]]


# The hardware --------------------------------------------------------------------------------------------------------

CHIPS = {
    "narrow": chip(5, 9, 7, 3, lanes=4, dclip=3),
    "width_one": chip(5, 1, 1, 2, precision=BINARY, lanes=8),
    "bias_alone": chip(5, 32, 6, 4, precision=BINARY, lanes=32),
    "odd": chip(5, 13, 21, 9, 5, lanes=8),
}


def test_stage_equals_golden(testbench):
    run_on_chips(testbench, Backward, CHIPS, "gft.tb_backward", seed=1, sweeps=24)


def test_a_wrong_error_is_named(testbench):
    with pytest.raises(AssertionError, match=r"odd: sweep [0-9]+, neuron [0-9]+ of [0-9]+: .*'delta'"):
        run_on_chips(testbench, Backward, CHIPS, "gft.tb_backward", seed=1, sweeps=24, wrong={"odd": True})
