"""Output error, against loops over the classes."""

from __future__ import annotations

import numpy as np
import pytest
from brute import brute_output_error
from chips import BINARY, chip, lbe_chip, run_on_chips
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from search import search

from popflip.golden.common.error import output_delta, output_error
from popflip.hw.common.error import Error


@st.composite
def samples(draw):
    n, classes = draw(st.integers(0, 6)), draw(st.integers(2, 12))
    extreme = st.sampled_from((-65_536, 65_536))
    v = draw(arrays(np.int32, (n, classes), elements=st.one_of(st.integers(-3, 3), extreme)))
    t = draw(arrays(np.int64, n, elements=st.integers(0, classes - 1)))
    return v, t, draw(st.one_of(st.integers(-5, 5), st.sampled_from((-(2**31), -131_073, 131_072, 2**31 - 1))))


@search
@given(samples())
def test_equals_the_definition(case):
    v, t, margin = case
    updates, rival = output_error(v, t, margin)
    got = list(zip(updates.tolist(), rival.tolist(), strict=True))
    assert got == [brute_output_error(v_s, t_s, margin) for v_s, t_s in zip(v.tolist(), t.tolist(), strict=True)]
    pairs = zip(t.tolist(), rival.tolist(), strict=True)
    expected = [[(c == t_s) - (c == j_s) for c in range(v.shape[1])] for t_s, j_s in pairs]
    assert output_delta(t, rival, v.shape[1]).tolist() == expected


@pytest.mark.parametrize(("lead", "updates"), [(15, True), (16, True), (17, False)])
def test_a_lead_of_exactly_the_margin_triggers_an_update(lead, updates):
    result, rival = output_error(np.array([[lead, 0, 0]], np.int32), np.array([0]), margin=16)
    assert (result.tolist(), rival.tolist()) == ([updates], [1])


def test_the_true_class_is_never_its_own_rival():
    v = np.array([[9, 9, 9], [9, 9, 9], [1, 9, 1]], np.int32)
    assert output_error(v, np.array([0, 1, 1]), margin=0)[1].tolist() == [1, 0, 0]


def test_sums_do_not_change():
    v = np.array([[1, 2]], np.int32)
    output_error(v, np.array([0]), margin=0)
    assert v.tolist() == [[1, 2]]


# The hardware --------------------------------------------------------------------------------------------------------

CHIPS = {
    "one_row": chip(6, 3, rows=1),
    "last_group_partly_empty": chip(9, 11, rows=4),
    "whole_groups": chip(31, 16, precision=BINARY, rows=8, lanes=32),
    "all_at_once": chip(40, 10, rows=32),
    "two_classes": chip(3, 2, rows=2, lanes=4),
    "scores": lbe_chip(9, 13, 70, classes=11),
}


def test_stage_equals_golden(testbench):
    run_on_chips(testbench, Error, CHIPS, "common.tb_error", seed=1, samples=25)


def test_a_wrong_verdict_is_named(testbench):
    with pytest.raises(AssertionError, match="all_at_once: margin 0, sample 17: "):
        run_on_chips(testbench, Error, CHIPS, "common.tb_error", seed=1, samples=25, wrong={"all_at_once": 17})
