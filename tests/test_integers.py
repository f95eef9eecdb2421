"""Matrix products, at and around the largest values they promise to be exact for."""

from __future__ import annotations

import numpy as np
import pytest

from popflip.golden.integers import matmul


def test_exact_where_a_single_float_ends():
    """2²⁴ + 1 is the first integer a float32 does not hold."""
    ones = np.ones((2, 1), np.int8)
    for total in (2**24, 2**24 + 1, 2**31 - 1):
        assert matmul(np.array([[total - 1, 1]]), ones, bound=total).tolist() == [[total]]


def test_exact_for_large_factors():
    left = np.array([[32_767, -32_767, 32_767]], np.int32)
    right = np.array([[21_845], [1], [-21_844]], np.int32)
    bound = 32_767 * (21_845 + 1 + 21_844)
    assert matmul(left, right, bound).tolist() == [[0]]
    assert matmul(left, np.abs(right), bound).tolist() == [[32_767 * (21_845 - 1 + 21_844)]]


def test_a_result_that_may_not_fit_is_refused():
    one = np.ones((1, 1), np.int8)
    with pytest.raises(ValueError, match="may reach 2147483648 does not fit 32 bits"):
        matmul(one, one, bound=2**31)
