"""Weight and state memories as the learning engines see them, and the weight banks themselves."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Const, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In
from amaranth.utils import exact_log2

from popflip.hw.config import ChipConfig
from popflip.hw.lib.stream import delayed
from popflip.hw.memory.signatures import ArrayReadSignature, BiasReadSignature, WeightRowSignature

WIDEST_DEPTH = 256  # words of an iCE40's block RAM where it is widest


class Weights(wiring.Component):
    """``P`` banks of weight words, read ``P`` rows a cycle by the MAC array or one row at a time by everyone else.

    A last layer that is folded lies in the banks as the array takes it, ``F`` words of a row at once; row requests know
    nothing of it. With ``R`` the power of two of rows that ``P/F`` banks hold::

        row o, word g:  bank o, address base + g   ─▶   bank o + R·(g mod F), address base + g div F

    Biases of the first layer that are apart (:attr:`.ChipConfig.bias_apart`) are kept beside the banks once more, a row
    of each in turn: sums start from them.

    Members
    -------
    ``row`` : In(WeightRowSignature)
        Single-row access for learning, selection, flipping and the host. Of a folded layer's banks from ``R`` on, where
        no row is, nothing is written and what is read is undefined.
    ``array`` : In(ArrayReadSignature)
        All banks at one address. Taken in a cycle in which ``row.read`` is low.
    ``bias`` : In(BiasReadSignature), where biases are apart
    """

    def __init__(self, chip: ChipConfig):
        self.chip = chip
        width = chip.weight_bits * chip.array_synapses
        banks = 0 if chip.compact else chip.array_rows
        self.banks = [Memory(shape=width, depth=chip.weight_map.array_depth, init=[]) for _ in range(banks)]
        super().__init__(
            {
                "row": In(WeightRowSignature(chip)),
                "array": In(ArrayReadSignature(chip)),
                **({"bias": In(BiasReadSignature(chip))} if chip.bias_apart else {}),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        chip = self.chip

        # With a way of several cycles, what is asked for is looked at after the first ones: engines have none to spare.
        lead = max(chip.memory_stages - 1, 0)
        row_read, read_address, read_bank = (
            delayed(m, value, lead) for value in (self.row.read, self.row.read_address, self.row.read_bank)
        )
        row_bank, row_address, _ = chip.weight_map.folded_value(read_bank, read_address)
        address = Signal(range(chip.weight_map.array_depth))
        m.d.comb += address.eq(delayed(m, self.array.address, lead))
        with m.If(row_read):
            m.d.comb += address.eq(row_address)

        last = chip.memory_stages - lead
        asked = delayed(m, delayed(m, self.array.read, lead) | row_read, last)
        address = delayed(m, address, last)
        row_write, write_place, write_bank = (
            delayed(m, value, lead) for value in (self.row.write, self.row.write_address, self.row.write_bank)
        )
        write_bank, write_place, exists = chip.weight_map.folded_value(write_bank, write_place)
        write_address = Signal(range(chip.weight_map.array_depth))
        m.d.comb += write_address.eq(write_place)
        write_address = delayed(m, write_address, last)
        write_data = delayed(m, self.row.write_data.as_value(), chip.memory_stages)
        read_words = []  # a cycle after they were read, if they have a way
        for index, bank in enumerate(self.banks):
            m.submodules[f"bank{index}"] = bank
            write, read = bank.write_port(), bank.read_port()
            read_words.append(delayed(m, read.data, min(chip.memory_stages, 1)))
            m.d.comb += [
                read.en.eq(asked),
                read.addr.eq(address),
                self.array.data[index].as_value().eq(delayed(m, read_words[index], max(chip.memory_stages - 1, 0))),
                write.en.eq(delayed(m, row_write & (write_bank == index) & exists, last)),
                write.addr.eq(write_address),
                write.data.eq(write_data),
            ]
        if chip.compact:
            self._pieces(m, asked, address)
        if chip.bias_apart:
            self._biases(m)

        bank_of_data = Signal(range(chip.array_rows))
        with m.If(row_read):
            m.d.sync += bank_of_data.eq(row_bank)
        rest = max(chip.memory_stages - 1, 0)  # of the way back, behind the first choice
        early = delayed(m, bank_of_data, chip.read_latency - 1 - lead - rest)
        bank_of_data = delayed(m, early, rest)
        words, place = [self.array.data[index].as_value() for index in range(chip.array_rows)], bank_of_data
        if chip.learn_rows > 1:
            # The rows that come together, and then the one of them: a large multiplexer once, not twice.
            together = exact_log2(chip.learn_rows)
            starts = range(0, len(read_words), chip.learn_rows)
            groups = [Cat(read_words[first : first + chip.learn_rows]) for first in starts]
            m.d.comb += self.row.read_rows.eq(delayed(m, Array(groups)[early >> together], rest))
            words, place = [row.as_value() for row in self.row.read_rows], bank_of_data[:together]
        m.d.comb += self.row.read_data.eq(Array(words)[place])
        return m

    def _biases(self, m: Module) -> None:
        """Those of the first layer, taken from what is written: each is the first of its row's last word."""
        chip, row = self.chip, self.row
        rows = range(0, chip.rows[0], chip.array_rows)
        last_words = [chip.weight_map.address(0, row, chip.words[0] - 1) for row in rows]
        written = delayed(m, Cat(row.write_address == address for address in last_words), 1)
        group = Signal(range(chip.groups[0]))
        for index in range(chip.groups[0]):
            with m.If(written[index]):
                m.d.comb += group.eq(index)
        rest = max(chip.memory_stages - 1, 0)
        bank = delayed(m, row.write_bank, 1 + rest)
        value = delayed(m, row.write_data.as_value()[: chip.weight_bits], 1 + rest)
        takes = delayed(m, delayed(m, row.write, 1) & written.any(), rest)
        group = delayed(m, group, rest)
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

    def _pieces(self, m: Module, reads: Value, address: Value) -> None:
        """The banks side by side in memories of a power of two of words, each of them as many block RAMs of one shape,
        until what is left is no deeper than the widest of those: no RAM is partly empty, and there is little to choose
        from behind them."""
        chip, row = self.chip, self.row
        width = chip.weight_bits * chip.array_synapses
        sizes, left = [], chip.weight_map.depth
        while left:
            sizes.append(left if left <= WIDEST_DEPTH else 1 << left.bit_length() - 1)
            left -= sizes[-1]
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
