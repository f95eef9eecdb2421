"""Values as thermometer bits."""

from __future__ import annotations

import numpy as np

from popflip.data.encoding import quantile_thresholds, thermometer


def test_thermometer_is_threshold_major():
    values = np.array([[0, 5], [3, 4]])
    assert thermometer(values, np.array([3, 5])).tolist() == [[0, 1, 0, 1], [1, 1, 0, 0]]


def test_thermometer_takes_thresholds_of_each_feature():
    values = np.array([[0.0, 50.0], [1.0, 40.0]])
    assert thermometer(values, np.array([[0.5, 45.0]])).tolist() == [[0, 1], [1, 0]]


def test_quantile_thresholds_cut_into_equal_parts():
    values = np.array([[value] for value in range(1, 10)])
    thresholds = quantile_thresholds(values, 2)
    assert thresholds.tolist() == [[3.0], [6.0]]
    assert thermometer(values, thresholds).sum(axis=0).tolist() == [7, 4]


def test_quantile_thresholds_give_no_bit_that_is_always_one():
    values = np.array([[0, 7], [0, 7], [0, 7], [4, 7]])
    bits = thermometer(values, quantile_thresholds(values, 2))
    assert bits.tolist() == [[0, 0, 0, 0]] * 3 + [[1, 0, 1, 0]]
