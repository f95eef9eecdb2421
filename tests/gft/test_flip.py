"""Flip and decay, against a loop over words and bits."""

from __future__ import annotations

import numpy as np
import pytest
from brute import brute_flip
from chips import BINARY, chip, run_on_chips
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from search import counter_arrays, mmaxes, precisions, search, weight_arrays, widths

from popflip.golden.common.prng import Xorshift32
from popflip.golden.config import Config, Precision
from popflip.golden.gft.flip import decay, flip
from popflip.hw.gft.flip import Flip


def config_of(precision: Precision, flip_p256: int, shift: int | None) -> Config:
    return Config((1, 2), precision, k0=(1,), flip_p256=flip_p256, shift=shift)


@st.composite
def cases(draw):
    mmax, precision = draw(mmaxes), draw(precisions)
    shape = draw(st.integers(1, 3)), draw(widths)
    m, w = draw(counter_arrays(mmax, shape)), draw(weight_arrays(precision, shape))
    candidates = (np.sign(m) != 0) & (np.sign(m) != w)
    flip_p256 = draw(st.one_of(st.sampled_from((1, 77, 128, 255, 256)), st.integers(1, 256)))
    config = config_of(precision, flip_p256, draw(st.one_of(st.none(), st.integers(0, 31))))
    return w, m, candidates & draw(arrays(np.bool_, shape)), config, draw(st.integers(1, 2**32 - 1))


@search
@given(cases(), st.integers(0, 2**31))
def test_equals_the_definition(case, word_base):
    w, m, selected, config, state = case
    prng = Xorshift32(state)
    result = flip(w, m, selected, config, prng, word_base)
    weights, counters, records, state = brute_flip(w.tolist(), m.tolist(), selected.tolist(), config, state, word_base)
    assert (result.weights.dtype, result.counters.dtype, result.records.dtype) == (np.int8, np.int16, np.uint32)
    assert result.weights.tolist() == weights
    assert result.counters.tolist() == counters
    assert result.records.tolist() == records
    assert result.flips == sum(mask.bit_count() for _, mask in records)
    assert prng.state == state


def test_draws_do_not_depend_on_the_selection():
    w, m = np.zeros((3, 40), np.int8), np.ones((3, 40), np.int16)
    states = []
    for selected in (np.zeros((3, 40), np.bool_), np.ones((3, 40), np.bool_)):
        prng = Xorshift32(99)
        flip(w, m, selected, config_of(Precision.TERNARY, 128, 4), prng, 0)
        states.append(prng.state)
    six = Xorshift32(99)
    six.draws(6)  # 3 rows of 2 words, one draw each
    assert states == [six.state, six.state]


@pytest.mark.parametrize(
    ("m", "shift", "expected"),
    [
        (-1, 4, 0),  # floor: −1 >> 4 is −1, so the smallest negative counter still fades
        (1, 4, 1),  # while the smallest positive one stays
        (-16, 4, -15),
        (-17, 4, -15),
        (127, 4, 120),
        (-127, 4, -119),
        (5, 0, 0),
        (32_767, 31, 32_767),
        (-32_767, 31, -32_766),
        (-32_767, 15, -32_766),
        (-5, None, 0),
    ],
)
def test_decay_by_hand(m, shift, expected):
    assert decay(np.array([m], np.int16), shift).tolist() == [expected]


# On the chip ----------------------------------------------------------------------------------------------------------

CHIPS = {
    "narrow": chip(37, 4, 3, rows=1, lanes=4, mmax=5),
    "binary": chip(33, 5, precision=BINARY, rows=4, lanes=8, mmax=63),
    "full_words": chip(63, 4, 2, rows=2, lanes=32),
    "two_parts": chip(130, 3, 4, precision=BINARY, rows=1, lanes=64, mmax=1),
}
CASES = [
    {"selected": 0.02, "flip_p256": 128, "shift": 4},
    {"selected": 0.5, "flip_p256": 200, "shift": 1},
    {"selected": 1, "flip_p256": 256, "shift": None},
    {"selected": 0, "flip_p256": 1, "shift": 7},
    {"selected": 0.2, "flip_p256": 96, "shift": 31},
]


def test_hardware_equals_golden(testbench):
    run_on_chips(testbench, Flip, CHIPS, "gft.tb_flip", seed=1, cases=CASES)


def test_a_wrong_counter_of_the_hardware_is_named(testbench):
    with pytest.raises(AssertionError, match=r"full_words: .*layer 0, row 3, word 1: "):
        run_on_chips(testbench, Flip, CHIPS, "gft.tb_flip", seed=1, cases=CASES[:1], wrong={"full_words": 1})
