"""Weights: the weight banks, the biases beside them, and the choice between the array and single rows."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Const, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In
from amaranth.utils import exact_log2

from popflip.hw.config import ChipConfig
from popflip.hw.lib.stream import delayed
from popflip.hw.memory.signatures import ArrayReadSignature, BiasReadSignature, WeightRowSignature

WIDEST_DEPTH = 256  # words of an iCE40's block RAM at its largest width


class Weights(wiring.Component):
    """``P`` banks of weight words: the MAC array reads ``P`` rows a cycle, all other readers one row.

    A folded last layer lies in the banks as the array takes it, ``F`` words of a row side by side. Row requests use
    unfolded addresses (:class:`.memory_map.WeightMap`).

    If biases are apart (:attr:`.ChipConfig.bias_apart`), memories of their own hold a copy of the first layer's biases,
    from which its sums start.

    Members
    -------
    ``row`` : In(WeightRowSignature)
        Single rows, for learning, selection, flipping and the host. Rows that a folded layer does not have ignore
        writes and read as undefined data.
    ``array`` : In(ArrayReadSignature)
        All banks at one address. Taken in a cycle in which ``row.read`` is low.
    ``bias`` : In(BiasReadSignature)
        Only if biases are apart.

    With two :attr:`.ChipConfig.memory_stages`, requests are decoded after the first one: the engines have no timing
    slack.
    """

    def __init__(self, chip: ChipConfig):
        self.chip = chip
        width = chip.weight_bits * chip.array_synapses
        banks = 0 if chip.compact else chip.array_rows
        self.banks = [Memory(shape=width, depth=chip.weight_map.array_depth, init=[]) for _ in range(banks)]
        # Memory stages before the decoder of requests, and behind the first multiplexer of read data.
        self._early = self._late = max(chip.memory_stages - 1, 0)
        super().__init__(
            {
                "row": In(WeightRowSignature(chip)),
                "array": In(ArrayReadSignature(chip)),
                **({"bias": In(BiasReadSignature(chip))} if chip.bias_apart else {}),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        reads, address, row_read, row_bank = self._decode(m)
        words = self._add_banks(m, reads, address)
        if self.chip.compact:
            self._add_pieces(m, reads, address)
        if self.chip.bias_apart:
            self._add_biases(m)
        self._answer_row(m, words, row_read, row_bank)
        return m

    def _decode(self, m: Module) -> tuple[Value, Value, Value, Value]:
        """Decode read requests. Returns the enable and the address of the banks. Also returns, as they are some stages
        earlier, whether a row is requested and from which bank."""
        chip, row, early = self.chip, self.row, self._early
        row_read, read_address, read_bank = (
            delayed(m, value, early) for value in (row.read, row.read_address, row.read_bank)
        )
        row_bank, row_address, _ = chip.weight_map.folded_value(read_bank, read_address)
        address = Signal(range(chip.weight_map.array_depth))
        m.d.comb += address.eq(delayed(m, self.array.address, early))
        with m.If(row_read):
            m.d.comb += address.eq(row_address)
        stages = chip.memory_stages - early
        reads = delayed(m, delayed(m, self.array.read, early) | row_read, stages)
        return reads, delayed(m, address, stages), row_read, row_bank

    def _add_banks(self, m: Module, reads: Value, address: Value) -> list[Value]:
        """The banks (none on compact chips). Returns the words they read, before the late stages."""
        chip, row = self.chip, self.row
        stages = chip.memory_stages - self._early
        row_write, write_address, write_bank = (
            delayed(m, value, self._early) for value in (row.write, row.write_address, row.write_bank)
        )
        write_bank, folded_address, exists = chip.weight_map.folded_value(write_bank, write_address)
        write_address = Signal(range(chip.weight_map.array_depth))
        m.d.comb += write_address.eq(folded_address)
        write_address = delayed(m, write_address, stages)
        write_data = delayed(m, row.write_data.as_value(), chip.memory_stages)
        words = []
        for index, bank in enumerate(self.banks):
            m.submodules[f"bank{index}"] = bank
            write, read = bank.write_port(), bank.read_port()
            words.append(delayed(m, read.data, chip.memory_stages - self._late))
            m.d.comb += [
                read.en.eq(reads),
                read.addr.eq(address),
                self.array.data[index].as_value().eq(delayed(m, words[index], self._late)),
                write.en.eq(delayed(m, row_write & (write_bank == index) & exists, stages)),
                write.addr.eq(write_address),
                write.data.eq(write_data),
            ]
        return words

    def _answer_row(self, m: Module, read_words: list[Value], row_read: Value, row_bank: Value) -> None:
        """Choose the requested row among the words read. With Pc > 1, first choose the ``Pc`` rows that answer together
        and then one of them, which takes one large multiplexer in place of two."""
        chip = self.chip
        bank_of_data = Signal(range(chip.array_rows))
        with m.If(row_read):
            m.d.sync += bank_of_data.eq(row_bank)
        early_bank = delayed(m, bank_of_data, chip.read_latency - 1 - self._early - self._late)
        bank = delayed(m, early_bank, self._late)
        words = [self.array.data[index].as_value() for index in range(chip.array_rows)]
        if chip.learn_rows > 1:
            together = exact_log2(chip.learn_rows)
            starts = range(0, len(read_words), chip.learn_rows)
            groups = [Cat(read_words[first : first + chip.learn_rows]) for first in starts]
            m.d.comb += self.row.read_rows.eq(delayed(m, Array(groups)[early_bank >> together], self._late))
            words, bank = [row.as_value() for row in self.row.read_rows], bank[:together]
        m.d.comb += self.row.read_data.eq(Array(words)[bank])

    def _add_biases(self, m: Module) -> None:
        """Copy the biases of the first layer when their rows are written. A bias is lane 0 of its row's last word."""
        chip, row = self.chip, self.row
        rows = range(0, chip.rows[0], chip.array_rows)
        last_words = [chip.weight_map.address(0, row, chip.words[0] - 1) for row in rows]
        written = delayed(m, Cat(row.write_address == address for address in last_words), 1)
        group = Signal(range(chip.groups[0]))
        for index in range(chip.groups[0]):
            with m.If(written[index]):
                m.d.comb += group.eq(index)
        bank = delayed(m, row.write_bank, 1 + self._late)
        value = delayed(m, row.write_data.as_value()[: chip.weight_bits], 1 + self._late)
        takes = delayed(m, delayed(m, row.write, 1) & written.any(), self._late)
        group = delayed(m, group, self._late)
        for index in range(chip.array_rows):
            memory = Memory(shape=chip.weight_bits, depth=chip.groups[0], init=[])
            m.submodules[f"bias{index}"] = memory
            write, read = memory.write_port(), memory.read_port()
            m.d.comb += [
                write.en.eq(takes & (bank == index)),
                write.addr.eq(group),
                write.data.eq(value),
                read.en.eq(self.bias.en),
                read.addr.eq(self.bias.group),
                self.bias.data[index].eq(read.data),
            ]

    def _add_pieces(self, m: Module, reads: Value, address: Value) -> None:
        """The banks of a compact chip, side by side in a few memories. Their depths are powers of two, until the rest
        is no deeper than the widest block RAM. So no block RAM is partly empty, and the multiplexer has few inputs."""
        chip, row = self.chip, self.row
        width = chip.weight_bits * chip.array_synapses
        sizes = _piece_sizes(chip.weight_map.depth)
        words, base = [], 0
        for index, size in enumerate(sizes):
            memory = Memory(shape=width * chip.array_rows, depth=size, init=[])
            m.submodules[f"piece{index}"] = memory
            write, read = memory.write_port(granularity=width), memory.read_port()
            last = index == len(sizes) - 1
            m.d.comb += [
                # Pieces come largest first, so that an address within one is the lowest bits of the whole.
                read.en.eq(reads),
                read.addr.eq(address),
                write.addr.eq(row.write_address),
                write.data.eq(row.write_data.as_value().replicate(chip.array_rows)),
            ]
            here = _within(row.write_address, base, None if last else base + size)
            with m.If(row.write & here):
                m.d.comb += write.en.eq(1 << row.write_bank)
            words.append((read.data, base))
            base += size
        place = Signal.like(address)
        with m.If(reads):
            m.d.sync += place.eq(address)
        m.d.comb += self.array.data.as_value().eq(words[0][0])
        for word, base in words[1:]:
            with m.If(place >= base):
                m.d.comb += self.array.data.as_value().eq(word)


def _within(address: Value, low: int, high: int | None) -> Value:
    inside = address >= low if low else Const(1)
    return inside if high is None else inside & (address < high)


def _piece_sizes(depth: int) -> list[int]:
    """Depths of memories that hold ``depth`` words together: powers of two, largest first, and a rest."""
    sizes: list[int] = []
    while depth:
        sizes.append(depth if depth <= WIDEST_DEPTH else 1 << depth.bit_length() - 1)
        depth -= sizes[-1]
    return sizes
