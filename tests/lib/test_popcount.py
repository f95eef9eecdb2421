"""The popcount, against Python's own."""

from __future__ import annotations

from popflip.hw.lib.popcount import Popcount
from popflip.sim.bench.parts import SideBySide

WIDTHS = (1, 2, 7, 8, 9, 16, 31, 33, 64, 128)


def test_counts_ones(testbench):
    parts = {f"bits{width}": {"width": width} for width in WIDTHS}
    dut = SideBySide({f"bits{width}": Popcount(width) for width in WIDTHS})
    testbench(dut, "popflip.sim.lib.tb_popcount", {"parts": parts, "seed": 1})
