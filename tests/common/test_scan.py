"""The scan: every word of a layer, or of a row, in order."""

from __future__ import annotations

import pytest
from chips import BINARY, chip, lbe_chip, run_on_chips

from popflip.hw.common.scan import Scan

CHIPS = {
    "width_one": chip(1, 2, rows=1, lanes=4),
    "part_of_a_group": chip(33, 6, 3, precision=BINARY, rows=4, lanes=8),
    "compact": chip(33, 6, 3, precision=BINARY, rows=4, lanes=8, compact=True),
    "one_group": chip(31, 5, 2, rows=8, lanes=16),
    "large": chip(31, 40, 2, rows=32, lanes=16),
    "wide": chip(130, 7, 3, precision=BINARY, rows=2, lanes=64),
    "lbe_width_one": lbe_chip(1, 1, 3, classes=2, rows=1, lanes=4),
    "lbe_part_of_a_group": lbe_chip(33, 6, 13, classes=2, rows=4, lanes=8),
    "lbe_one_group": lbe_chip(31, 5, 37, 2, classes=2, rows=64, lanes=32),
    "lbe_wide": lbe_chip(130, 7, 65, 3, classes=2, rows=2, lanes=64),
}


def test_every_word_in_order(testbench):
    run_on_chips(testbench, Scan, CHIPS, "common.tb_scan")


def test_a_wrong_address_is_named(testbench):
    with pytest.raises(AssertionError, match=r"lbe_part_of_a_group: layer 0, row 5, word 4: .*'counter_address'"):
        run_on_chips(testbench, Scan, CHIPS, "common.tb_scan", wrong={"lbe_part_of_a_group": 1})
