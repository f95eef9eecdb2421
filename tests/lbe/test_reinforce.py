"""Reinforcement, against a loop over rows, words and bits."""

from __future__ import annotations

import numpy as np
import pytest
from brute import brute_reinforce
from chips import lbe_chip, run_on_chips
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from search import search, widths

from popflip.golden.common.prng import Xorshift32
from popflip.golden.config import LbeConfig
from popflip.golden.lbe.reinforce import reinforce
from popflip.hw.lbe.reinforce import Reinforce, ReinforceRow

MMAXES = (1, 3, 31, 63, 127)


def config_of(n: int, mmax: int) -> LbeConfig:
    return LbeConfig((1, 1), 2, group=(1,), margin=(0,), reinforce_p256=n, mmax=mmax)


@st.composite
def cases(draw):
    mmax = draw(st.sampled_from(MMAXES))
    rows = draw(st.lists(st.integers(0, 50), unique=True, max_size=4).map(sorted))
    shape = len(rows), draw(widths)
    near = st.sampled_from((-mmax - 1, -mmax, -2, -1, 0, 1, mmax - 1, mmax))
    k = draw(arrays(np.int16, shape, elements=st.one_of(near, st.integers(-mmax - 1, mmax)), fill=st.nothing()))
    n = draw(st.one_of(st.sampled_from((0, 1, 2, 128, 255, 256)), st.integers(0, 256)))
    return k, draw(arrays(np.bool_, shape)), rows, n, mmax


@search
@given(cases(), st.integers(1, 2**32 - 1), st.integers(0, 2**30))
def test_equals_the_definition(case, state, word_base):
    k, up, rows, n, mmax = case
    prng, before = Xorshift32(state), k.copy()
    result = reinforce(k, up, np.array(rows, np.intp), config_of(n, mmax), prng, word_base)
    counters, records, state = brute_reinforce(k.tolist(), up.tolist(), rows, n, mmax, state, word_base)
    assert (result.counters.dtype, result.records.dtype) == (np.int16, np.uint32)
    assert result.counters.tolist() == counters
    assert result.records.tolist() == records
    assert result.flips == sum(mask.bit_count() for _, mask in records)
    assert prng.state == state
    assert np.array_equal(k, before)


@pytest.mark.parametrize(
    ("k", "up", "n", "expected"),
    [
        (-1, True, 0, 0),  # a weight changes
        (-1, True, 256, 1),  # … and reinforcement sees the new one
        (0, False, 256, -2),
        (0, True, 256, 2),
        (127, True, 256, 127),
        (126, True, 256, 127),
        (127, False, 256, 127),
        (-128, False, 256, -128),
        (-127, True, 256, -127),
        (-128, True, 0, -127),
    ],
)
def test_a_counter_by_hand(k, up, n, expected):
    row = np.zeros(1, np.intp)
    result = reinforce(np.array([[k]], np.int16), np.array([[up]]), row, config_of(n, 127), Xorshift32(9), 0)
    assert result.counters.tolist() == [[expected]]
    assert result.records.tolist() == ([[0, 1]] if (k >= 0) != (expected >= 0) else [])


def test_masks_are_drawn_for_whole_words():
    """Three rows of two words, eight draws each at an odd probability, though the second word has one synapse."""
    prng, same = Xorshift32(99), Xorshift32(99)
    zeros = np.zeros((3, 33), np.int16)
    reinforce(zeros, zeros == 0, np.arange(3), config_of(1, 127), prng, 0)
    same.draws(3 * 2 * 8)
    assert prng.state == same.state


# On the chip ----------------------------------------------------------------------------------------------------------

CHIPS = {
    "two_bits": lbe_chip(3, 2, classes=2, lanes=4, mmax=1),
    "three_bits": lbe_chip(3, 2, classes=2, lanes=8, mmax=3),
    "seven_bits": lbe_chip(3, 2, classes=2, lanes=64, mmax=63),
    "eight_bits": lbe_chip(3, 2, classes=2, lanes=32),
}


def test_hardware_equals_golden(testbench):
    run_on_chips(testbench, Reinforce, CHIPS, "lbe.tb_reinforce", seed=1)


def test_a_wrong_counter_of_the_hardware_is_named(testbench):
    with pytest.raises(AssertionError, match="eight_bits: word 7, desired 0, o: "):
        run_on_chips(testbench, Reinforce, CHIPS, "lbe.tb_reinforce", seed=1, wrong={"eight_bits": 7})


ROW_CHIPS = {
    "width_one": lbe_chip(1, 1, 2, classes=2, rows=1, lanes=4, mmax=3),
    "narrow": lbe_chip(37, 6, 3, classes=2, rows=4, lanes=8),
    "full_words": lbe_chip(64, 7, 33, 2, classes=2, lanes=32, mmax=63),
    "two_parts": lbe_chip(130, 65, 3, classes=2, rows=1, lanes=64, mmax=1),
}
ROW_CASES = [
    {"spread": 0, "reinforce_p256": 0},
    {"spread": 0.01, "reinforce_p256": 2},
    {"spread": 0.03, "reinforce_p256": 128},
    {"spread": 5, "reinforce_p256": 77},
    {"spread": 0.5, "reinforce_p256": 256},
]


def test_a_row_of_the_hardware_equals_golden(testbench):
    run_on_chips(testbench, ReinforceRow, ROW_CHIPS, "lbe.tb_reinforce_row", seed=1, cases=ROW_CASES)


def test_a_wrong_counter_of_a_row_is_named(testbench):
    options = {"seed": 1, "cases": ROW_CASES[:1], "wrong": {"full_words": 1}}
    with pytest.raises(AssertionError, match=r"full_words: .*layer 0, row 0, word 1: "):
        run_on_chips(testbench, ReinforceRow, ROW_CHIPS, "lbe.tb_reinforce_row", **options)
