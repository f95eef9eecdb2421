"""FPGA resources that a chip uses, before synthesis.

Memories are counted: each one of the design, laid out in block RAMs as Yosys lays it out. Logic is a linear model of
what a chip has most of (lanes that take votes, rows that add up, address bits); its coefficients are fitted to
syntheses by ``bench/resources.py``, which also prints the errors of the fit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

from amaranth.utils import ceil_log2

from popflip.constraints.base import Board
from popflip.errors import ConfigError
from popflip.estimation.blocks import Block, BlockRams
from popflip.estimation.conv import memories as conv
from popflip.golden.config import Rule
from popflip.hw.common.status import HALF
from popflip.hw.config import ChipConfig
from popflip.hw.layouts import activation_words, delta_shape, sum_shape
from popflip.hw.lbe.score import neurons
from popflip.hw.memory.spram import SPRAM_BITS, SPRAM_WORDS, SPRAMS
from popflip.hw.memory.weights import WIDEST_DEPTH

MEMORY_ERROR = 0.25
"""Relative error of :func:`block_rams` beyond which a chip is refused. Measured chips are within 0.1."""
CELLS_ERROR = 0.5
"""Relative error of :func:`cells` beyond which a chip is refused. Measured chips of GFT are within 0.04."""


@dataclass(frozen=True)
class Family:
    """An FPGA family.

    ``cells`` : logic cells per unit of each of :func:`counts`, fitted by ``bench/resources.py``. ``conv_cells`` : those
    of chips with convolutions, on an iCE40 of compact ones; ``compact`` : which of these they are.
    ``full`` : share of the cells up to which place and route succeeds, by experience.
    """

    block_ram: BlockRams
    cells: tuple[float, ...]
    conv_cells: tuple[float, ...]
    compact: bool
    full: float

    def fits_convolutions(self, chip: ChipConfig) -> bool:
        """Whether ``conv_cells`` are for ``chip``. Other chips with convolutions count as dense ones."""
        return chip.convolves and chip.compact == self.compact


SESSION_CELLS = 95
"""Logic cells of an iCE40 that the link's sessions take (protocol 6), which the syntheses of the fit do not have.

The builds of ``docs/boards.md`` before and after: 106 more for ``digits-small``, 84 for ``mnist-small``."""

ICE40 = Family(
    BlockRams(((16, 256), (8, 512), (4, 1024), (2, 2048))),
    cells=(2963.0 + SESSION_CELLS, 4.546, 11.5, 10.63, 0.0, 35.89, 17.23, 43.77, 0.2943),
    conv_cells=(3248.0, 6.493, 67.18),
    compact=True,
    full=0.98,
)
ECP5 = Family(
    BlockRams(((36, 512), (18, 1024), (9, 2048), (4, 4096), (2, 8192), (1, 16384)), lut_ram=20, rom=False),
    cells=(5644.0, 2.86, 0.0, 14.01, 6.61, 2.612, 0.0, 0.0, 1.51),
    conv_cells=(8234.0, 8.38, 16.82, 14.67),
    compact=False,
    full=0.88,  # of a 25F, `mnist-conv-25f` on the OrangeCrab; of an 85F, 64 % is the most that was routed so far
)


@dataclass(frozen=True)
class Fpga:
    """Size of an FPGA: logic cells (iCE40) or LUTs (ECP5), block RAMs and single-port RAMs."""

    family: Family
    cell_name: str
    cells: int
    block_rams: int
    single_port: int = 0


FPGAS = {
    "iCE40UP5K": Fpga(ICE40, "logic cells", 5280, 30, 4),
    "iCE40HX8K": Fpga(ICE40, "logic cells", 7680, 32),
    "LFE5U-25F": Fpga(ECP5, "LUTs", 24288, 56),
    "LFE5U-45F": Fpga(ECP5, "LUTs", 43848, 108),
    "LFE5U-85F": Fpga(ECP5, "LUTs", 83640, 208),
}


def fpga_of(board: Board) -> Fpga:
    """The FPGA of a board. Raises :class:`ConfigError` if it is not in :data:`FPGAS`."""
    name = board.platform().device
    if name not in FPGAS:
        raise ConfigError(f"board: the size of its {name} is not known; use a board with {', '.join(FPGAS)}")
    return FPGAS[name]


def block_rams(chip: ChipConfig, buffer_bytes: int, family: Family) -> int:
    """Block RAMs of a chip and its link, without a store."""
    ram = family.block_ram
    tables = 0 if chip.compact or not ram.rom else 3 if chip.convolves else 1  # the link's, and those of two gathers
    return sum(ram.needed(block) for block in memories(chip, buffer_bytes)) + tables


def check_room(board: Board, chip: ChipConfig) -> None:
    """Raise :class:`ConfigError` if ``chip`` is clearly too large for ``board``: beyond what the model may be off by.

    A chip that passes may still not fit; synthesis and place and route then say so. LBE has no model of its logic, and
    what stores training samples does not count.
    """
    fpga = fpga_of(board)
    found = [
        ("block RAMs", block_rams(chip, board.buffer, fpga.family), fpga.block_rams, MEMORY_ERROR),
        ("single-port RAMs", single_port(chip), fpga.single_port, 0),
    ]
    if chip.rule == Rule.GFT:
        found.insert(0, (fpga.cell_name, cells(chip, fpga.family) + board.link.cells, fpga.cells, CELLS_ERROR))
    short = [
        f"about {needed} {name}, where there are {there}"
        for name, needed, there, error in found
        if needed > (1 + error) * there
    ]
    if short:
        layers = "-".join(map(str, chip.layers))
        larger = "a board with an ECP5, or " if chip.convolves and fpga.family is ICE40 else ""
        raise ConfigError(
            f"layers: {layers} does not fit {board.summary}: it needs {' and '.join(short)}; use {larger}fewer or "
            "smaller layers, rows or synapses"
        )


def single_port(chip: ChipConfig) -> int:
    """Single-port RAMs of a chip, which hold the counters of a compact one side by side.

    The chip has no logic for counters deeper than one RAM; for these, the number is what they would need.
    """
    if not chip.compact:
        return 0
    beside = ceil(chip.counter_bits * chip.array_synapses / SPRAM_BITS)
    return beside if chip.counter_map.depth <= SPRAM_WORDS else SPRAMS * ceil(chip.counter_map.depth / SPRAM_WORDS)


def cells(chip: ChipConfig, family: Family) -> int:
    """Logic cells or LUTs of a chip and its UART, as place and route counts them after packing."""
    each = family.conv_cells if family.fits_convolutions(chip) else family.cells
    return round(sum(cells * count for cells, count in zip(each, counts(chip, family), strict=True)))


def counts(chip: ChipConfig, family: Family) -> tuple[int, ...]:
    """The quantities that the linear model of :func:`cells` multiplies."""
    if family.fits_convolutions(chip):
        return conv.serial_counts(chip) if chip.compact else conv.counts(chip)
    votes = chip.learn_rows * chip.array_synapses * chip.counter_bits
    word = chip.array_synapses * (chip.weight_bits + chip.counter_bits)
    words = sum(rows * words for rows, words in zip(chip.rows, chip.words, strict=True))
    address = ceil_log2(words) + ceil_log2(max(chip.synapses))
    return (
        1,
        chip.array_rows * chip.array_synapses * chip.weight_bits,  # weight bits multiplied in a cycle
        chip.array_rows * sum_shape(chip).width,  # bits of sums
        votes,  # counter bits updated in a cycle
        chip.pipelined * word,  # bits of a word read, held in registers
        chip.pipelined * votes,
        address * chip.depth,
        not chip.compact,  # queues, and words held while memory reads the next
        sum(family.block_ram.choices(block) for block in memories(chip, 0)),
    )


# Memories -------------------------------------------------------------------------------------------------------------


def memories(chip: ChipConfig, buffer_bytes: int) -> list[Block]:
    """All memories of a chip and its link that may be block RAM, without a store."""
    always = [Block("status", HALF, 2 * (10 + chip.depth)), Block("packet buffer", 8, buffer_bytes)]
    if chip.compact:
        return [*_compact_memories(chip), *always]
    if chip.convolves:
        return [*conv.sample_memories(chip), *_state_memories(chip), *always]
    rule = _gft_memories if chip.rule == Rule.GFT else _lbe_memories
    return [*_sample_memories(chip), *_state_memories(chip), *rule(chip), *always]


def _state_memories(chip: ChipConfig) -> Iterator[Block]:
    lanes, weights, counters = chip.array_synapses, chip.weight_map, chip.counter_map
    for bank in range(chip.array_rows):
        yield Block(f"weights {bank}", chip.weight_bits * lanes, weights.array_depth)
    for bank in range(chip.learn_rows):
        yield Block(f"counters {bank}", chip.counter_bits * lanes, counters.depth)


def _sample_memories(chip: ChipConfig) -> Iterator[Block]:
    """Inputs, and the activations of hidden layers: those that forward reads, and those that learning reads."""
    rows, lanes, slots = chip.array_rows, chip.array_synapses, chip.slots
    yield Block("inputs", lanes + (chip.words[0] - 1).bit_length(), slots << ceil_log2(chip.words[0]), readers=2)
    hidden = activation_words(chip)
    if not hidden:
        return
    for planes, words in ((1, chip.fold), (2 if chip.rule == Rule.GFT else 1, 1)):
        width = max(rows, words * lanes)
        depth = slots << ceil_log2(max(1, hidden >> ceil_log2(width // lanes)))
        yield Block("activations", planes * width, depth, pieces=width // rows)


def _gft_memories(chip: ChipConfig) -> Iterator[Block]:
    """Lists of the rows that learn, with their errors: by bank in the first layer, one list for the others."""
    error = delta_shape(chip).width
    longest = chip.counter_map.bank_rows[0]
    if chip.learn_rows > 1:
        for bank in range(chip.learn_rows):
            yield Block(f"rows {bank}", (longest - 1).bit_length() + error, longest)
    rows = max([2, *chip.rows[1 if chip.learn_rows > 1 else 0 : -1]])
    yield Block("rows", ceil_log2(max(chip.rows)) + error, 2 << ceil_log2(rows))


def _lbe_memories(chip: ChipConfig) -> Iterator[Block]:
    yield Block("classifiers", chip.classes, neurons(chip))
    yield Block("winners", ceil_log2(max(chip.rows)) + 1, 2 << ceil_log2(max(chip.rows)))


def _compact_memories(chip: ChipConfig) -> Iterator[Block]:
    """Weights, samples and rows. The counters are in single-port RAM, the constants in logic."""
    rows, lanes = chip.array_rows, chip.array_synapses
    left = chip.weight_map.depth
    while left:
        depth = left if left <= WIDEST_DEPTH else 1 << left.bit_length() - 1
        yield Block("weights", chip.weight_bits * lanes * rows, depth)
        left -= depth
    if chip.serial:
        yield from conv.serial_memories(chip)
        return
    width = max(2 * lanes, lanes + (chip.words[0] - 1).bit_length())
    samples = chip.slots << ceil_log2(chip.words[0] + activation_words(chip))
    yield Block("samples", -(-width // (2 * rows)) * 2 * rows, samples)
    listed = max([2, *chip.rows[:-1]])
    yield Block("rows", ceil_log2(max(chip.rows)) + delta_shape(chip).width, 2 << ceil_log2(listed))
