"""Winners, against a search through each group."""

from __future__ import annotations

import numpy as np
import pytest
from brute import brute_winners
from chips import lbe_chip, run_on_chips
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from search import search

from popflip.golden.lbe.winner import winners
from popflip.hw.lbe.winner import Winner


@search
@given(
    st.sampled_from((1, 2, 5, 31, 32, 40)).flatmap(
        lambda rows: st.tuples(
            arrays(np.int32, rows, elements=st.integers(-3, 3)),  # many ties
            arrays(np.bool_, rows),
            st.one_of(st.integers(1, rows + 2), st.just(2**31 - 1)),
            st.one_of(st.integers(0, 5), st.just(2**31 - 1)),
        )
    )
)
def test_equals_the_definition(case):
    z, wrong, group, near = case
    assert winners(z, wrong, group, near).tolist() == brute_winners(z.tolist(), wrong.tolist(), group, near)


@pytest.mark.parametrize(
    ("wrong", "near", "expected"),
    [
        ([0, 0, 0, 0], 3, [1, 3]),  # the lowest of two at the same distance
        ([0, 0, 0, 0], 2, [3]),  # no |z| of the first group is below 2
        ([1, 0, 0, 0], 3, [0, 3]),  # a wrong neuron goes before right ones that are nearer
        ([1, 0, 0, 0], 0, [0]),
    ],
)
def test_nearly_wrong_neurons_win_where_none_is_wrong(wrong, near, expected):
    assert winners(np.array([4, -2, 2, 0], np.int32), np.array(wrong, np.bool_), 3, near).tolist() == expected


@pytest.mark.parametrize(
    ("z", "wrong", "group", "expected"),
    [
        ([4, -2, 2, 0], [1, 1, 1, 0], 4, [1]),  # the lowest of two at the same distance; a right neuron does not win
        ([4, -2, 2, 0], [1, 1, 1, 0], 3, [1]),  # the last group is short, and has no wrong neuron
        ([4, -2, 2, 0], [1, 1, 1, 1], 3, [1, 3]),
        ([4, -2, 2, 0], [1, 0, 1, 0], 1, [0, 2]),
        ([4, -2, 2, 0], [0, 0, 0, 0], 2, []),
        ([-65_535], [1], 7, [0]),
    ],
)
def test_winners_by_hand(z, wrong, group, expected):
    assert winners(np.array(z, np.int32), np.array(wrong, np.bool_), group).tolist() == expected


# On the chip ----------------------------------------------------------------------------------------------------------

CHIPS = {
    "width_one": lbe_chip(1, 1, classes=2, rows=1, lanes=4),
    "one_layer": lbe_chip(13, 37, classes=3),
    "deep": lbe_chip(9, 5, 1, 32, 7, classes=3, rows=4),
    "whole_groups": lbe_chip(300, 64, 16, classes=2),
}


def test_hardware_equals_golden(testbench):
    run_on_chips(testbench, Winner, CHIPS, "lbe.tb_winner", seed=1, layers=40)


def test_a_wrong_winner_of_the_hardware_is_named(testbench):
    with pytest.raises(AssertionError, match="deep: layer 6 of 32 neurons, groups of "):
        run_on_chips(testbench, Winner, CHIPS, "lbe.tb_winner", seed=1, layers=10, wrong={"deep": 6})
