"""Unpack: bytes of plain and packed samples, at their places."""

from __future__ import annotations

import pytest
from chips import chip, run_on_chips

from popflip.hw.common.unpack import Unpack

CHIPS = {
    "one_input": chip(1, 2, lanes=16),
    "seven_bytes": chip(56, 2, lanes=16),
    "a_group": chip(64, 3, lanes=16),
    "a_group_and_a_bit": chip(65, 3, lanes=32),
    "odd": chip(181, 3, lanes=64),
    "whole_groups": chip(256, 3, lanes=16),
}


def test_bytes_are_placed_as_in_golden(testbench):
    run_on_chips(testbench, Unpack, CHIPS, "common.tb_unpack", seed=1, samples=40)


def test_a_wrong_place_is_named(testbench):
    with pytest.raises(AssertionError, match="odd: sample 5: "):
        run_on_chips(testbench, Unpack, CHIPS, "common.tb_unpack", seed=1, samples=8, wrong={"odd": 5})
