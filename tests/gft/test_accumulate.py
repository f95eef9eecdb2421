"""Accumulate, against one addition and one clip at a time."""

from __future__ import annotations

import numpy as np
import pytest
from brute import brute_accumulate
from chips import chip, run_on_chips
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from search import counter_arrays, mmaxes, search

from popflip.golden.gft.accumulate import accumulate
from popflip.hw.gft.accumulate import Accumulate


@st.composite
def cases(draw):
    """Few counters, many votes: saturation in every order, from both ends."""
    mmax = draw(mmaxes)
    dclip = draw(st.sampled_from((1, 2, 3, 200, 32_767)))
    rows, synapses, n = draw(st.integers(1, 4)), draw(st.integers(1, 4)), draw(st.integers(0, 12))
    values = st.one_of(st.sampled_from((0, 1, -1, dclip, -dclip)), st.integers(-dclip, dclip))
    inputs = st.sampled_from(draw(st.sampled_from(((0, 1), (-1, 1)))))
    return (
        draw(counter_arrays(mmax, (rows, synapses))),
        draw(arrays(np.int32, (n, rows), elements=values, fill=st.nothing())),
        draw(arrays(np.int8, (n, synapses), elements=inputs, fill=st.nothing())),
        mmax,
    )


@pytest.mark.parametrize("sparse", [0, 10**9], ids=["walk picked out", "walk all"])
@search
@given(cases())
def test_equals_the_definition(sparse, case):
    m, delta, a, mmax = case
    before = m.copy()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("popflip.golden.gft.accumulate._SPARSE", sparse)
        result = accumulate(m, delta, a, mmax)
    assert result.dtype == np.int16
    assert result.tolist() == brute_accumulate(m.tolist(), delta.tolist(), a.tolist(), mmax)
    assert m.tolist() == before.tolist()


@pytest.mark.parametrize("block", [1, 18, 2**18])
@pytest.mark.parametrize("mmax", [1, 3, 15, 127, 32_767])
@pytest.mark.parametrize("dclip", [1, 3, 32_767])
@pytest.mark.parametrize("inputs", [(0, 1), (-1, 1)])
def test_long_streams_equal_the_definition(mmax, dclip, inputs, block, monkeypatch):
    """More samples than one product takes, more rows than one block, and rows and samples without votes."""
    monkeypatch.setattr("popflip.golden.gft.accumulate._BLOCK", block)
    rng = np.random.default_rng(11)
    m = rng.integers(-mmax, mmax + 1, (5, 9)).astype(np.int16)
    delta = rng.integers(-dclip, dclip + 1, (201, 5)).astype(np.int32)
    delta[:, 2] = 0
    delta[128:160] = 0
    delta[:, 4] = np.abs(delta[:, 4])  # one that mostly goes up
    a = rng.choice(inputs, (201, 9)).astype(np.int8)
    result = accumulate(m, delta, a, mmax)
    assert result.tolist() == brute_accumulate(m.tolist(), delta.tolist(), a.tolist(), mmax)


def test_a_few_near_saturation_among_many_equal_the_definition():
    rng = np.random.default_rng(13)
    m = rng.integers(-40, 41, (4, 200)).astype(np.int16)
    m[rng.integers(0, 4, 12), rng.integers(0, 200, 12)] = rng.choice((-127, -126, 126, 127), 12)
    delta, a = rng.integers(-1, 2, (70, 4)).astype(np.int32), rng.integers(0, 2, (70, 200)).astype(np.int8)
    result = accumulate(m, delta, a, 127)
    assert result.tolist() == brute_accumulate(m.tolist(), delta.tolist(), a.tolist(), 127)


def test_splitting_a_stream_changes_nothing():
    rng = np.random.default_rng(12)
    m = rng.integers(-7, 8, (3, 20)).astype(np.int16)
    delta, a = rng.integers(-2, 3, (150, 3)).astype(np.int32), rng.integers(0, 2, (150, 20)).astype(np.int8)
    split = m
    for start, end in ((0, 1), (1, 100), (100, 100), (100, 150)):
        split = accumulate(split, delta[start:end], a[start:end], 7)
    assert split.tolist() == accumulate(m, delta, a, 7).tolist()


@pytest.mark.parametrize("sign", [1, -1])
def test_counters_saturate_after_each_sample(sign):
    """From 2 of ±2, one vote outwards then one back leaves 1; the other order, 2."""
    m, a = np.array([[2 * sign]], np.int16), np.ones((2, 1), np.int8)
    assert accumulate(m, np.array([[sign], [-sign]], np.int32), a, 2).tolist() == [[sign]]
    assert accumulate(m, np.array([[-sign], [sign]], np.int32), a, 2).tolist() == [[2 * sign]]


# The hardware --------------------------------------------------------------------------------------------------------

CHIPS = {
    "two_bits": chip(7, 5, lanes=4, mmax=1),
    "saturates_at_once": chip(17, 4, lanes=8, mmax=2, dclip=3),
    "eight_bits": chip(9, 6, lanes=32, dclip=3),
    "compact": chip(9, 6, lanes=8, compact=True),
    "compact_wide_steps": chip(9, 6, lanes=4, mmax=31, dclip=3, compact=True),
    "sixteen_bits": chip(9, 6, lanes=8, mmax=32_767, dclip=32_767),
}


def test_stage_equals_golden(testbench):
    run_on_chips(testbench, Accumulate, CHIPS, "gft.tb_accumulate", seed=1, cycles=400)


def test_a_wrong_counter_is_named(testbench):
    with pytest.raises(AssertionError, match="eight_bits: word 3: "):
        run_on_chips(testbench, Accumulate, CHIPS, "gft.tb_accumulate", seed=1, cycles=100, wrong={"eight_bits": 3})
