"""Memories, and the block RAMs of an FPGA family that they take, laid out as Yosys lays them out."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil


@dataclass(frozen=True)
class Block:
    """A memory of ``depth`` words of ``width`` bits, with a copy for each reader, written in ``pieces`` of a word."""

    name: str
    width: int
    depth: int
    readers: int = 1
    pieces: int = 1


@dataclass(frozen=True)
class BlockRams:
    """The block RAM of an FPGA family.

    ``shapes`` : bits wide by words deep. ``lut_ram`` : largest number of 4 × 16 bit LUT RAMs that is cheaper than a
    block RAM. ``rom`` : whether block RAM holds tables; else they become logic.
    """

    shapes: tuple[tuple[int, int], ...]
    lut_ram: int = 0
    rom: bool = True

    def needed(self, block: Block) -> int:
        """Block RAMs for a memory; 0 if it goes into LUTs."""
        part = -(-block.width // block.pieces)
        luts = block.pieces * ceil(part / 4) * ceil(block.depth / 16)
        narrow = block.pieces == 1 or block.depth <= 16 or part <= 8  # a block RAM writes nine bits at least
        if luts * block.readers <= self.lut_ram and narrow:
            return 0
        columns = min(self._columns(part, block, *shape) for shape in self.shapes)
        if block.depth <= 16 and luts <= self.lut_ram * columns:  # as deep as a LUT RAM, however wide
            return 0
        return block.readers * columns

    def choices(self, block: Block) -> int:
        """Data bits multiplexed between block RAMs, once for each block RAM by which a memory is deeper than one."""
        if not self.needed(block):
            return 0
        _, words = min(self.shapes, key=lambda shape: self._columns(-(-block.width // block.pieces), block, *shape))
        return block.readers * block.width * (ceil(block.depth / words) - 1)

    def _columns(self, part: int, block: Block, bits: int, words: int) -> int:
        full, rest = divmod(block.width, bits)
        if block.pieces > 1 and part < bits:  # a block RAM holds whole pieces
            full, rest = -(-block.width // (bits // part * part)), 0
        columns = full * ceil(block.depth / words)
        return columns + (min(ceil(rest / b) * ceil(block.depth / w) for b, w in self.shapes) if rest else 0)
