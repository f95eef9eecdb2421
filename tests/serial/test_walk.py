"""The walk over positions and words that forward and learning of a compact chip share."""

from __future__ import annotations

import pytest
from chips import chip, run_on_chips

from popflip.hw.serial.walk import Walk

CHIPS = {
    "pooled": chip("8x8", "c4k5p2", "c8k3p2", 5, rows=8, lanes=4, slots=2, compact=True),
    "strides": chip("9x7x3", "c8k3s2", "c8k5s2p2", 3, rows=8, lanes=8, slots=2, compact=True),
    "dense": chip("5x4", "c4k1p3", 9, 6, 3, rows=4, lanes=4, slots=2, compact=True),
}


def test_words_equal_golden(testbench):
    run_on_chips(testbench, Walk, CHIPS, "serial.tb_walk", seed=1, passes=8)


def test_a_wrong_word_is_named(testbench):
    with pytest.raises(AssertionError, match="pooled: pass 2, layer "):
        run_on_chips(testbench, Walk, CHIPS, "serial.tb_walk", seed=1, passes=3, wrong={"pooled": 2})
