"""Figures of each class."""

from __future__ import annotations

import numpy as np

from popflip.scores import never_predicted, score


def test_a_network_that_always_says_the_same_is_seen():
    classes = np.repeat([0, 1], [20, 380])
    scores = score(np.ones(400, np.int64), classes, 2)
    assert scores.recall == [0.0, 1.0]
    assert scores.balanced_accuracy == 0.5
    assert scores.never_predicted == [0]
    assert scores.confusion.tolist() == [[0, 20], [0, 380]]


def test_classes_without_samples_do_not_count():
    scores = score(np.array([0, 2, 3]), np.array([0, 2, 2]), 5)
    assert scores.recall == [1.0, None, 0.5, None, None]
    assert scores.balanced_accuracy == 0.75
    assert scores.never_predicted == []


def test_many_classes_have_no_matrix():
    assert score(np.array([0]), np.array([0]), 256).confusion.shape == (256, 256)
    assert score(np.array([0]), np.array([60_000]), 65_535).confusion is None


def test_the_line_is_short():
    assert never_predicted([3]) == "class 3"
    assert never_predicted([1, 2, 3, 4, 5, 6, 7]) == "classes 1, 2, 3, 4, 5 and 2 more"
