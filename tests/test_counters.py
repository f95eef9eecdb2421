"""The counter memory."""

from __future__ import annotations

from chips import chip, run_on_chips

from popflip.hw.counters import Counters

CHIPS = {
    "one_word": chip(3, 2, lanes=4, mmax=1),
    "odd_depth": chip(17, 5, 3, lanes=8, mmax=7),
    "wide": chip(40, 6, 2, lanes=64, mmax=32_767),
    "banks": chip(17, 5, 3, rows=4, lanes=8, learn_rows=4),
    "wide_banks": chip(40, 6, 2, rows=2, lanes=16, learn_rows=2),
}


def test_equals_lists(testbench):
    run_on_chips(testbench, Counters, CHIPS, "tb_counters", seed=1)
