"""The scan: every word of a layer, in order."""

from __future__ import annotations

import pytest
from chips import BINARY, chip, run_on_chips

from popflip.hw.scan import Scan

CHIPS = {
    "width_one": chip(1, 2, rows=1, lanes=4),
    "part_of_a_group": chip(33, 6, 3, precision=BINARY, rows=4, lanes=8),
    "one_group": chip(31, 5, 2, rows=8, lanes=16),
    "wide": chip(130, 7, 3, precision=BINARY, rows=2, lanes=64),
}


def test_every_word_in_order(testbench):
    run_on_chips(testbench, Scan, CHIPS, "tb_scan")


def test_a_wrong_address_is_named(testbench):
    with pytest.raises(AssertionError, match=r"one_group: layer 0, row 4, word 1: .*'counter_address'"):
        run_on_chips(testbench, Scan, CHIPS, "tb_scan", wrong={"one_group": 1})
