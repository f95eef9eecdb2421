"""What a chip takes of an FPGA, before anything is synthesised.

Memories are counted: each one of the design, laid out in block RAMs as Yosys lays it out. Logic is a sum over what
there is most of (lanes that take votes, rows that add up, address bits), with cells apiece fitted to syntheses; the
fit, and how far off it is, is printed by ``bench/resources.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from amaranth.utils import ceil_log2

from popflip.constraints.base import Board
from popflip.golden.config import Rule
from popflip.golden.errors import ConfigError
from popflip.hw.common.status import HALF
from popflip.hw.config import ChipConfig
from popflip.hw.layouts import activation_words, delta_shape, sum_shape
from popflip.hw.lbe.score import neurons
from popflip.hw.memory.spram import SPRAM_BITS, SPRAM_WORDS, SPRAMS
from popflip.hw.memory.weights import WIDEST_DEPTH


@dataclass(frozen=True)
class Block:
    """A memory: ``depth`` words of ``width`` bits, each of the ``readers`` a copy; written in ``pieces`` of a word."""

    name: str
    width: int
    depth: int
    readers: int = 1
    pieces: int = 1


@dataclass(frozen=True)
class BlockRams:
    """The block RAM of a family: its shapes, ``bits`` wide by ``words`` deep, and how many words of 4 bits by 16 of LUT
    RAM are cheaper than one. ``rom``: whether tables are kept in it; else they become logic."""

    shapes: tuple[tuple[int, int], ...]
    lut_ram: int = 0
    rom: bool = True

    def needed(self, block: Block) -> int:
        """Block RAMs for a memory; 0 where it goes into LUTs."""
        part = -(-block.width // block.pieces)
        luts = block.pieces * ceil(part / 4) * ceil(block.depth / 16)
        if luts * block.readers <= self.lut_ram and (block.pieces == 1 or block.depth <= 16):
            return 0
        return block.readers * min(self._columns(part, block, *shape) for shape in self.shapes)

    def choices(self, block: Block) -> int:
        """Bits of data that are chosen from one block RAM more, where a memory is deeper than one."""
        if not self.needed(block):
            return 0
        _, words = min(self.shapes, key=lambda shape: self._columns(-(-block.width // block.pieces), block, *shape))
        return block.readers * block.width * (ceil(block.depth / words) - 1)

    def _columns(self, part: int, block: Block, bits: int, words: int) -> int:
        full, rest = divmod(block.width, bits)
        if block.pieces > 1 and part < bits:  # whole pieces in each
            full, rest = -(-block.width // (bits // part * part)), 0
        columns = full * ceil(block.depth / words)
        return columns + (min(ceil(rest / b) * ceil(block.depth / w) for b, w in self.shapes) if rest else 0)


@dataclass(frozen=True)
class Family:
    """An FPGA family: its block RAM, cells apiece of what :func:`counts` counts, fitted by ``bench/resources.py``, and
    the share of its cells up to which place and route ends, by experience."""

    block_ram: BlockRams
    cells: tuple[float, ...]
    full: float


ICE40 = Family(
    BlockRams(((16, 256), (8, 512), (4, 1024), (2, 2048))),
    cells=(2963.0, 4.546, 11.5, 10.63, 0.0, 35.89, 17.23, 43.77, 0.2943),
    full=0.98,
)
ECP5 = Family(
    BlockRams(((36, 512), (18, 1024), (9, 2048), (4, 4096), (2, 8192), (1, 16384)), lut_ram=20, rom=False),
    cells=(5644.0, 2.86, 0.0, 14.01, 6.61, 2.612, 0.0, 0.0, 1.51),
    full=0.6,
)


@dataclass(frozen=True)
class Device:
    """What there is of an FPGA: logic cells (iCE40) or LUTs (ECP5), block RAMs, single-port RAMs."""

    family: Family
    cell_name: str
    cells: int
    block_rams: int
    single_port: int = 0


DEVICES = {
    "iCE40UP5K": Device(ICE40, "logic cells", 5280, 30, 4),
    "iCE40HX8K": Device(ICE40, "logic cells", 7680, 32),
    "LFE5U-25F": Device(ECP5, "LUTs", 24288, 56),
    "LFE5U-45F": Device(ECP5, "LUTs", 43848, 108),
    "LFE5U-85F": Device(ECP5, "LUTs", 83640, 208),
}


def device(board: Board) -> Device:
    """The FPGA of a board; :class:`ConfigError` if its numbers are not known here."""
    name = board.platform().device
    if name not in DEVICES:
        raise ConfigError(f"--board: no numbers for its {name}; there are some for {', '.join(DEVICES)}")
    return DEVICES[name]


def memories(chip: ChipConfig, buffer_bytes: int) -> list[Block]:
    """All memories of a chip and its link, but for the store."""
    rows, lanes, slots = chip.array_rows, chip.array_synapses, chip.slots
    word = chip.weight_bits * lanes
    if chip.compact:
        return _compact_memories(chip, buffer_bytes)
    blocks = [
        *(Block(f"weights {bank}", word, chip.weight_map.array_depth) for bank in range(rows)),
        *(Block(f"counters {b}", chip.counter_bits * lanes, chip.counter_map.depth) for b in range(chip.learn_rows)),
        Block("inputs", lanes + (chip.words[0] - 1).bit_length(), slots << ceil_log2(chip.words[0]), readers=2),
        Block("status", HALF, 2 * (10 + chip.depth)),
        Block("packet buffer", 8, buffer_bytes),
    ]
    hidden = activation_words(chip)
    if hidden:
        for planes, words in ((1, chip.fold), (2 if chip.rule == Rule.GFT else 1, 1)):
            width = max(rows, words * lanes)
            depth = slots << ceil_log2(max(1, hidden >> ceil_log2(width // lanes)))
            blocks.append(Block("activations", planes * width, depth, pieces=width // rows))
    if chip.rule == Rule.LBE:
        blocks += [
            Block("classifiers", chip.classes, neurons(chip)),
            Block("winners", ceil_log2(max(chip.rows)) + 1, 2 << ceil_log2(max(chip.rows))),
        ]
        return blocks
    row = delta_shape(chip).width
    if chip.learn_rows > 1:
        blocks += [
            Block(f"rows {b}", (chip.counter_map.bank_rows[0] - 1).bit_length() + row, chip.counter_map.bank_rows[0])
            for b in range(chip.learn_rows)
        ]
    listed = max([2, *chip.rows[1 if chip.learn_rows > 1 else 0 : -1]])
    return [*blocks, Block("rows", ceil_log2(max(chip.rows)) + row, 2 << ceil_log2(listed))]


def _compact_memories(chip: ChipConfig, buffer_bytes: int) -> list[Block]:
    """Those of a compact chip, in block RAM: its counters are in single-port RAM, its constants in logic."""
    rows, lanes = chip.array_rows, chip.array_synapses
    width = max(2 * lanes, lanes + (chip.words[0] - 1).bit_length())
    listed = max([2, *chip.rows[:-1]])
    samples = chip.slots << ceil_log2(chip.words[0] + activation_words(chip))
    blocks, left = [], chip.weight_map.depth
    while left:
        depth = left if left <= WIDEST_DEPTH else 1 << left.bit_length() - 1
        blocks.append(Block("weights", chip.weight_bits * lanes * rows, depth))
        left -= depth
    return [
        *blocks,
        Block("samples", -(-width // (2 * rows)) * 2 * rows, samples),
        Block("status", HALF, 2 * (10 + chip.depth)),
        Block("packet buffer", 8, buffer_bytes),
        Block("rows", ceil_log2(max(chip.rows)) + delta_shape(chip).width, 2 << ceil_log2(listed)),
    ]


def block_rams(chip: ChipConfig, buffer_bytes: int, family: Family) -> int:
    """Block RAMs of a chip and its link."""
    ram = family.block_ram
    return sum(ram.needed(block) for block in memories(chip, buffer_bytes)) + (ram.rom and not chip.compact)


def single_port(chip: ChipConfig) -> int:
    """Single-port RAMs of a chip: the counters of a compact one lie side by side in them. None is deeper than one; what
    would be needs all of them once more.
    """
    if not chip.compact:
        return 0
    beside = ceil(chip.counter_bits * chip.array_synapses / SPRAM_BITS)
    return beside if chip.counter_map.depth <= SPRAM_WORDS else SPRAMS * ceil(chip.counter_map.depth / SPRAM_WORDS)


def cells(chip: ChipConfig, family: Family) -> int:
    """Logic cells or LUTs of a chip and its link: what place and route counts once it has packed."""
    return round(sum(each * count for each, count in zip(family.cells, counts(chip, family), strict=True)))


def counts(chip: ChipConfig, family: Family) -> tuple[int, ...]:
    """What a chip has most of: itself, bits of weights multiplied in a cycle, bits of sums, bits of counters that take
    votes in a cycle; in fast chips bits of a word read, and of counters again; bits of addresses, a layer each; what
    only chips have that are not compact, queues and words kept while memory reads the next; bits chosen between block
    RAMs."""
    votes = chip.learn_rows * chip.array_synapses * chip.counter_bits
    word = chip.array_synapses * (chip.weight_bits + chip.counter_bits)
    words = sum(rows * words for rows, words in zip(chip.rows, chip.words, strict=True))
    address = ceil_log2(words) + ceil_log2(max(chip.synapses))
    return (
        1,
        chip.array_rows * chip.array_synapses * chip.weight_bits,
        chip.array_rows * sum_shape(chip).width,
        votes,
        chip.pipelined * word,
        chip.pipelined * votes,
        address * chip.depth,
        not chip.compact,
        sum(family.block_ram.choices(block) for block in memories(chip, 0)),
    )
