"""Matrix products, at and around the largest values they promise to be exact for; packed bits, bit by bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from search import bit_arrays, search

from popflip.golden.common.integers import matmul, pack, product, signed_sum, unpack


def test_exact_beyond_the_integers_of_a_float32():
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
    assert product(one, one, bound=2**53).tolist() == [[1.0]]
    with pytest.raises(ValueError, match="may reach 9007199254740993 does not fit 53 bits"):
        product(one, one, bound=2**53 + 1)


packable = st.tuples(st.integers(1, 4), st.sampled_from((1, 31, 63, 64, 65, 128, 130)))


@search
@given(packable.flatmap(bit_arrays))
def test_packed_words_hold_64_bits_each(bits):
    packed = pack(bits)
    rows, width = bits.shape
    assert packed.dtype == np.uint64
    assert packed.tolist() == [
        [sum(int(bits[row, i]) << i - start for i in range(start, min(start + 64, width))) for row in range(rows)]
        for start in range(0, width, 64)
    ]
    assert unpack(packed, width).tolist() == bits.astype(bool).tolist()


@search
@given(packable.flatmap(lambda shape: st.tuples(bit_arrays(shape), bit_arrays((1, shape[1])))))
def test_sums_of_signs_equal_the_definition(case):
    rows, one = case
    sums = signed_sum(pack(rows), pack(one), rows.shape[1])
    assert sums.dtype == np.int32
    assert sums.tolist() == [sum(1 if a == b else -1 for a, b in zip(row, one[0], strict=True)) for row in rows]
