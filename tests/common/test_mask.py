"""Random masks, against a bit-by-bit definition and against their probability."""

from __future__ import annotations

import numpy as np
import pytest
from brute import brute_bernoulli, brute_lanes
from chips import chip, lbe_chip, run_on_chips
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from search import search, widths

from popflip.golden.common.mask import bernoulli, bernoulli_words, lanes, words
from popflip.golden.common.prng import Xorshift32
from popflip.hw.common.mask import Mask


@pytest.mark.parametrize("n", range(257))
def test_every_probability_equals_the_definition(n):
    prng, state = Xorshift32(2463534242), 2463534242
    for _ in range(3):
        expected, state = brute_bernoulli(state, n)
        assert bernoulli(prng, n) == expected
        assert prng.state == state


@search
@given(st.integers(1, 2**32 - 1), st.integers(0, 256), st.integers(0, 20))
def test_many_masks_equal_single_masks(state, n, count):
    many, single = Xorshift32(state), Xorshift32(state)
    assert bernoulli_words(many, n, count).tolist() == [bernoulli(single, n) for _ in range(count)]
    assert many.state == single.state


@pytest.mark.parametrize("n", range(257))
def test_the_probability_is_exact(n):
    """Over all 256 values of eight random bits, a mask bit is 1 for exactly ``n``."""

    class AllDraws:
        """Replaces the generator: draw ``d`` of lane ``c`` of 256 is bit ``d`` of ``c``."""

        def draws(self, count):
            return np.array(
                [sum((32 * mask + b >> d & 1) << b for b in range(32)) for mask in range(8) for d in range(count // 8)],
                np.uint32,
            )

    masks = bernoulli_words(AllDraws(), n, 8)
    assert sum(int(mask).bit_count() for mask in masks) == n


@pytest.mark.parametrize("n", [257, -1])
def test_an_impossible_probability_is_refused(n):
    with pytest.raises(ValueError, match=rf"^probability {n} / 256 is outside 0 … 256$"):
        bernoulli(Xorshift32(1), n)


@search
@given(widths.flatmap(lambda s: st.tuples(arrays(np.uint32, (3, -(-s // 32))), st.just(s))))
def test_lanes_equal_the_definition(case):
    row_words, synapses = case
    bits = lanes(row_words, synapses)
    assert bits.dtype == np.bool_
    assert bits.tolist() == [brute_lanes([int(word) for word in row], synapses) for row in row_words]


@search
@given(widths.flatmap(lambda s: arrays(np.bool_, (3, s))))
def test_words_are_the_inverse_of_lanes(bits):
    packed = words(bits)
    assert packed.dtype == np.uint32
    assert lanes(packed, bits.shape[1]).tolist() == bits.tolist()
    assert sum(int(word).bit_count() for word in packed.flat) == np.count_nonzero(bits)  # pads are 0


# On the chip ----------------------------------------------------------------------------------------------------------

CHIPS = {
    "narrow": chip(33, 3, 2, rows=1, lanes=4),
    "full_word": chip(31, 5, rows=2, lanes=32),
    "two_parts": chip(130, 3, 4, rows=1, lanes=64),
    "four_parts": chip(200, 3, 2, rows=2, lanes=128),
    "lbe_narrow": lbe_chip(1, 33, 2, classes=2, rows=1, lanes=4),
    "lbe_bytes": lbe_chip(70, 3, classes=2, lanes=8),
    "lbe_full_word": lbe_chip(96, 5, classes=2, lanes=32),
    "lbe_four_parts": lbe_chip(200, 65, 2, classes=2, lanes=128),
}


def test_hardware_equals_golden(testbench):
    run_on_chips(testbench, Mask, CHIPS, "common.tb_mask", seed=1, n=[128, 1, 77, 96, 254, 255, 256, 64])


def test_a_wrong_mask_of_the_hardware_is_named(testbench):
    with pytest.raises(AssertionError, match="two_parts: n 77, layer 0, mask 8: "):
        run_on_chips(testbench, Mask, CHIPS, "common.tb_mask", seed=1, n=[77], wrong={"two_parts": 1})
