"""Ends of batches and initial states on the chip: every word of memory is golden's."""

from __future__ import annotations

import pytest
from chips import BINARY, chip, run_on_chips
from marks import with_long

from popflip.hw.gft.end_of_batch import EndOfBatch

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
CASES = [
    {"spread": 0.1, "selected": 0.1, "flip_p256": 128, "shift": 4},
    {"spread": 0, "selected": 0.1, "flip_p256": 128, "shift": 4},
    {"spread": 0.02, "selected": 0.3, "flip_p256": 255, "shift": 1},
    {"spread": 0.4, "selected": 0, "flip_p256": 1, "shift": None},
    {"spread": 0.4, "selected": 0.02, "flip_p256": 256, "shift": None},
    {"spread": 0.3, "selected": 1, "flip_p256": 256, "shift": 31},
    {"spread": 5, "selected": 0.2, "flip_p256": 77, "shift": 7},
    {"spread": 0.1, "selected": 0.4, "flip_p256": 96, "shift": 8},
]


@pytest.mark.parametrize("name", with_long(CHIPS, "banks", "wide"))
def test_every_word_of_memory_equals_golden(testbench, name):
    run_on_chips(testbench, EndOfBatch, CHIPS[name], "gft.tb_end_of_batch", seed=1, cases=CASES, seeds=[1, 7])


def test_a_wrong_bit_is_named(testbench):
    options = {"seed": 1, "cases": CASES[:1], "seeds": [], "wrong": {"bias_alone": 1}}
    with pytest.raises(AssertionError, match=r"bias_alone: .*counters, bank 0, address "):
        run_on_chips(testbench, EndOfBatch, CHIPS["narrow"], "gft.tb_end_of_batch", **options)
