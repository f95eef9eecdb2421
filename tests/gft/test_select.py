"""Select, against a count of candidates at every threshold."""

from __future__ import annotations

import numpy as np
import pytest
from brute import brute_select
from chips import BINARY, chip, run_on_chips
from hypothesis import given
from hypothesis import strategies as st
from search import counter_arrays, mmaxes, precisions, search, weight_arrays, widths

from popflip.golden.gft.select import select
from popflip.hw.gft.select import Select


@st.composite
def cases(draw):
    mmax = draw(st.one_of(st.just(2), mmaxes.filter(lambda mmax: mmax < 1000)))  # many ties; the loop counts up to mmax
    shape = draw(st.integers(1, 4)), draw(widths)
    m = draw(counter_arrays(mmax, shape))
    return m, draw(weight_arrays(draw(precisions), shape)), draw(st.integers(0, m.size + 2))


@search
@given(cases())
def test_equals_the_definition(case):
    m, w, k = case
    selection = select(m, w, k)
    theta, ties, mask = brute_select(m.tolist(), w.tolist(), k)
    assert (selection.theta, selection.ties) == (theta, ties)
    assert selection.mask.tolist() == mask


def test_exactly_k_are_selected_if_enough_candidates():
    rng = np.random.default_rng(5)
    m = rng.integers(-127, 128, (6, 50)).astype(np.int16)
    w = rng.integers(-1, 2, (6, 50)).astype(np.int8)
    candidates = np.count_nonzero((np.sign(m) != 0) & (np.sign(m) != w))
    for k in range(0, m.size + 1):
        assert np.count_nonzero(select(m, w, k).mask) == min(k, candidates)


def by_hand(m: list[int], w: list[int], k: int) -> tuple[int, int, list[int]]:
    selection = select(np.array([m], np.int16), np.array([w], np.int8), k)
    return selection.theta, selection.ties, np.flatnonzero(selection.mask).tolist()


def test_more_saturated_candidates_than_k():
    """θ is mmax + 1, and the first saturated ones in scan order are taken."""
    assert by_hand([127, -127, 127, 126], [0, 0, 0, 0], 2) == (128, 2, [0, 1])


def test_fewer_candidates_than_k():
    assert by_hand([1, -5, 0, 2], [0, 0, 0, 1], 9) == (1, 0, [0, 1])


def test_a_threshold_that_fits_exactly_takes_no_ties():
    assert by_hand([5, 3, 3, 5], [0, 0, 0, 0], 2) == (4, 0, [0, 3])


def test_a_weight_at_its_limit_is_no_candidate():
    assert by_hand([9, -9, 9, -9], [1, -1, -1, 1], 1) == (10, 1, [2])


def test_no_candidates():
    assert by_hand([0, 7], [0, 1], 1) == (1, 0, [])


@pytest.mark.parametrize("counter", [32_767, -32_767])
def test_the_largest_counter(counter):
    assert by_hand([counter, counter], [0, 0], 1) == (32_768, 1, [0])


# On the chip ----------------------------------------------------------------------------------------------------------

CHIPS = {
    "narrow": chip(37, 4, 3, rows=1, lanes=4, mmax=5),
    "binary": chip(33, 5, precision=BINARY, rows=4, lanes=8, mmax=63),
    "compact": chip(33, 5, 3, precision=BINARY, rows=4, lanes=8, compact=True),
    "wide": chip(70, 4, rows=2, lanes=32),
}


def test_hardware_equals_golden(testbench):
    run_on_chips(testbench, Select, CHIPS, "gft.tb_select", seed=1, spreads=[0, 1, 4, 40, 1000])


def test_a_wrong_selection_of_the_hardware_is_named(testbench):
    with pytest.raises(AssertionError, match="binary: spread 4, k 0: layer 0, row 4, word 4: "):
        run_on_chips(testbench, Select, CHIPS, "gft.tb_select", seed=1, spreads=[4], wrong={"binary": 1})
