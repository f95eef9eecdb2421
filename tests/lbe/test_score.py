"""Local scores, prediction and trigger, against sums over classes and neurons."""

from __future__ import annotations

import numpy as np
import pytest
from brute import brute_predict_score, brute_score, brute_triggers
from chips import lbe_chip, run_on_chips
from hypothesis import given
from hypothesis import strategies as st
from search import bit_arrays, search, widths

from popflip.golden.common.integers import pack
from popflip.golden.lbe.score import predict, score, triggers
from popflip.hw.lbe.score import Score

classes = st.integers(2, 5)


@search
@given(
    st.tuples(st.integers(1, 4), classes, widths).flatmap(lambda s: st.tuples(bit_arrays(s[::2]), bit_arrays(s[1:])))
)
def test_scores_equal_the_definition(case):
    a, classifier = case
    y = score(pack(a), pack(classifier), a.shape[1])
    assert y.dtype == np.int32
    assert y.tolist() == [brute_score(a_s, classifier.tolist()) for a_s in a.tolist()]


@search
@given(
    classes.flatmap(lambda c: st.lists(st.lists(st.integers(-3, 3), min_size=c, max_size=c), min_size=1, max_size=3))
)
def test_predictions_equal_the_definition(y):
    assert predict(np.array(y, np.int32)).tolist() == [brute_predict_score(y_s) for y_s in y]


@search
@given(st.lists(st.integers(-4, 4), min_size=2, max_size=5), st.integers(-6, 6), st.data())
def test_trigger_equals_the_definition(y, margin, data):
    t = data.draw(st.integers(0, len(y) - 1))
    assert triggers(np.array(y, np.int32), t, margin) == brute_triggers(y, t, margin)


@pytest.mark.parametrize(
    ("y", "t", "margin", "expected"),
    [
        ([5, 1], 0, 4, False),  # a lead of exactly the margin is enough
        ([5, 1], 0, 5, True),
        ([3, 3], 1, 0, False),  # a tie does not trigger at margin 0, though class 0 is predicted
        ([3, 3], 1, 1, True),
        ([-9, 7, 7], 0, -16, False),
        ([-9, 7, 7], 0, -15, True),
    ],
)
def test_trigger_by_hand(y, t, margin, expected):
    before = np.array(y, np.int32)
    assert triggers(before, t, margin) is expected
    assert before.tolist() == y


# On the chip ----------------------------------------------------------------------------------------------------------

CHIPS = {
    "width_one": lbe_chip(1, 1, classes=2, rows=1, lanes=4),
    "one_layer": lbe_chip(13, 37, classes=11),
    "deep": lbe_chip(9, 5, 1, 32, 7, classes=3, rows=4),
    "many_classes": lbe_chip(65, 3, 2, classes=20, lanes=64),
}


def test_hardware_equals_golden(testbench):
    run_on_chips(testbench, Score, CHIPS, "lbe.tb_score", seed=1, samples=12)


@pytest.mark.parametrize("what", ["scores", "desired"])
def test_a_wrong_score_of_the_hardware_is_named(testbench, what):
    with pytest.raises(AssertionError, match=f"deep: sample 5, layer 2: {what} "):
        run_on_chips(testbench, Score, CHIPS, "lbe.tb_score", seed=1, samples=8, wrong={"deep": [5, 2, what]})
