"""Ends of batches, rows that are taught, and initial states on the chip: every word of memory is golden's."""

from __future__ import annotations

import pytest
from chips import BINARY, chip, lbe_chip, run_on_chips

from popflip.hw.common.update import Update

CHIPS = {
    "narrow": {
        "width_one": chip(1, 2, rows=1, lanes=4),
        "three_layers": chip(37, 4, 3, 2, rows=1, lanes=4, mmax=5),
        "bias_alone": chip(32, 6, 3, precision=BINARY, rows=4, lanes=8, mmax=63),
    },
    "wide": {
        "full_words": chip(95, 5, 3, rows=2, lanes=32),
        "two_parts": chip(66, 3, 2, precision=BINARY, rows=1, lanes=64, mmax=3),
    },
    "lbe": {
        "lbe_width_one": lbe_chip(1, 1, 2, classes=2, rows=1, lanes=4, mmax=3),
        "lbe_narrow": lbe_chip(37, 6, 9, classes=3, rows=4, lanes=8),
        "lbe_full_words": lbe_chip(95, 33, 5, classes=11, lanes=32, mmax=63),
        "lbe_two_parts": lbe_chip(130, 9, classes=2, rows=16, lanes=64, mmax=1),
    },
    "compact": {
        "binary": chip(33, 6, 3, precision=BINARY, rows=4, lanes=8, compact=True),
        "ternary": chip(37, 4, 3, 2, rows=1, lanes=4, mmax=5, compact=True),
    },
    "banks": {
        "narrow": chip(37, 6, 3, rows=4, lanes=4, precision=BINARY, learn_rows=2),
        "wide": chip(70, 19, 10, rows=16, lanes=16, learn_rows=8),
        "large": chip(40, 50, 3, rows=32, lanes=16, learn_rows=4),
    },
}
GFT_CASES = [
    {"spread": 0.1, "selected": 0.1, "flip_p256": 128, "shift": 4},
    {"spread": 0, "selected": 0.1, "flip_p256": 128, "shift": 4},
    {"spread": 0.02, "selected": 0.3, "flip_p256": 255, "shift": 1},
    {"spread": 0.4, "selected": 0, "flip_p256": 1, "shift": None},
    {"spread": 0.4, "selected": 0.02, "flip_p256": 256, "shift": None},
    {"spread": 0.3, "selected": 1, "flip_p256": 256, "shift": 31},
    {"spread": 5, "selected": 0.2, "flip_p256": 77, "shift": 7},
    {"spread": 0.1, "selected": 0.4, "flip_p256": 96, "shift": 8},
]
LBE_CASES = [
    {"spread": 0.01, "reinforce_p256": 2, "lessons": 12},
    {"spread": 0.03, "reinforce_p256": 0, "lessons": 6},
    {"spread": 0.1, "reinforce_p256": 128, "lessons": 6},
    {"spread": 5, "reinforce_p256": 77, "lessons": 6},
    {"spread": 0, "reinforce_p256": 256, "lessons": 6},
    {"spread": 0.1, "reinforce_p256": 1, "lessons": 1},
]
CASES = {"gft": GFT_CASES, "lbe": LBE_CASES}


@pytest.mark.parametrize("name", CHIPS)
def test_every_word_of_memory_equals_golden(testbench, name):
    run_on_chips(testbench, Update, CHIPS[name], "common.tb_update", seed=1, cases=CASES, seeds=[1, 7], stall=0.2)


@pytest.mark.parametrize(("name", "part"), [("narrow", "bias_alone"), ("lbe", "lbe_two_parts")])
def test_a_wrong_bit_is_named(testbench, name, part):
    cases = {rule: of_rule[:1] for rule, of_rule in CASES.items()}
    options = {"seed": 1, "cases": cases, "seeds": [], "stall": 0, "wrong": {part: 1}}
    with pytest.raises(AssertionError, match=rf"{part}: .*counters, bank 0, address "):
        run_on_chips(testbench, Update, CHIPS[name], "common.tb_update", **options)
