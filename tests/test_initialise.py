"""The initial state on the chip, against golden's."""

from __future__ import annotations

import pytest
from chips import BINARY, chip, run_on_chips

from popflip.hw.initialise import Initialise

CHIPS = {
    "width_one": chip(1, 2, rows=1, lanes=4),
    "binary": chip(33, 6, 3, precision=BINARY, rows=4, lanes=8),
    "full_words": chip(31, 5, 2, rows=2, lanes=32),
    "four_parts": chip(200, 3, 2, rows=2, lanes=128),
    "two_parts_binary": chip(130, 3, 4, precision=BINARY, rows=2, lanes=64),
}


def test_equals_golden(testbench):
    run_on_chips(testbench, Initialise, CHIPS, "tb_initialise", seeds=[1, 7])


def test_a_wrong_weight_is_named(testbench):
    with pytest.raises(AssertionError, match="full_words: seed 1: layer 0, row 4, word 0: "):
        run_on_chips(testbench, Initialise, CHIPS, "tb_initialise", seeds=[1], wrong={"full_words": 1})
