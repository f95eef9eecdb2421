"""Rows that are updated and initial states on the chip: every word of memory is golden's."""

from __future__ import annotations

import pytest
from chips import lbe_chip, run_on_chips

from popflip.hw.lbe.update import Update

CHIPS = {
    "width_one": lbe_chip(1, 1, 2, classes=2, rows=1, lanes=4, mmax=3),
    "narrow": lbe_chip(37, 6, 9, classes=3, rows=4, lanes=8),
    "full_words": lbe_chip(95, 33, 5, classes=11, lanes=32, mmax=63),
    "two_parts": lbe_chip(130, 9, classes=2, rows=16, lanes=64, mmax=1),
}
CASES = [
    {"spread": 0.01, "reinforce_p256": 2, "rows": 12},
    {"spread": 0.03, "reinforce_p256": 0, "rows": 6},
    {"spread": 0.1, "reinforce_p256": 128, "rows": 6},
    {"spread": 5, "reinforce_p256": 77, "rows": 6},
    {"spread": 0, "reinforce_p256": 256, "rows": 6},
    {"spread": 0.1, "reinforce_p256": 1, "rows": 1},
]


def test_every_word_of_memory_equals_golden(testbench):
    run_on_chips(testbench, Update, CHIPS, "lbe.tb_update", seed=1, cases=CASES, seeds=[1, 7], stall=0.2)


def test_a_wrong_bit_is_named(testbench):
    options = {"seed": 1, "cases": CASES[:1], "seeds": [], "stall": 0, "wrong": {"two_parts": 1}}
    with pytest.raises(AssertionError, match=r"two_parts: .*counters, bank 0, address "):
        run_on_chips(testbench, Update, CHIPS, "lbe.tb_update", **options)
