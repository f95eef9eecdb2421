"""Registers and status words, against their lists."""

from __future__ import annotations

from dataclasses import asdict

import pytest
from chips import BINARY, chip, lbe_chip

from popflip.hw.common.status import RegisterFile, Status
from popflip.sim.bench.parts import SideBySide

CHIPS = {
    "shallow": chip(5, 2, precision=BINARY, lanes=4, mmax=1),
    "deep": chip(21, 12, 9, 7, 4, lanes=32),
    "lbe": lbe_chip(9, 1, 37, classes=3, lanes=8),
    "lbe_wide": lbe_chip(9, 37, classes=3, lanes=16),  # more flips in a cycle than lanes
}
KINDS = {"registers": RegisterFile, "status": Status}


def run(testbench, **parameters) -> None:
    names = [(f"{name}_{kind}", kind, chip) for name, chip in CHIPS.items() for kind in KINDS]
    parts = {name: {"kind": kind, "chip": asdict(chip)} for name, kind, chip in names}
    dut = SideBySide({name: KINDS[kind](chip) for name, kind, chip in names})
    testbench(dut, "popflip.sim.common.tb_status", {"parts": parts, "seed": 1, **parameters})


def test_registers_and_status_words_equal_their_lists(testbench):
    run(testbench)


@pytest.mark.parametrize(
    ("part", "name", "message"),
    [("lbe_registers", "group1", r"cycle 0: .*'group1'"), ("deep_status", "flips2", r"cycle \d+: flips2 is ")],
)
def test_a_wrong_register_or_status_word_is_named(testbench, part, name, message):
    with pytest.raises(AssertionError, match=f"{part}: {message}"):
        run(testbench, wrong={part: name})
