"""The packet buffer: frames are received behind the one that is executing, and executed only once they are whole."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from popflip.hw.config import ChipConfig

ENTRY_HEADER = 5
"""Bytes of an entry before its payload: the verdict, and the frame's sequence, command and length."""
BUFFER_BYTES = 2048
"""Size of the buffer where memory is no matter."""
MARGIN = 8


def longest_payload(depth: int) -> int:
    """Most payload bytes of a frame: an entry must not fill a buffer of ``depth`` bytes."""
    return depth - MARGIN


def buffer_bytes(chip: ChipConfig, wanted: int) -> int:
    """The smallest power of two that is at least ``wanted`` and holds one sample, one weight or one counter word."""
    sample = chip.label_bytes + chip.input_bytes
    word = 4 + max(weight_bytes(chip), counter_bytes(chip))  # with its address
    return 1 << ceil_log2(max(wanted, MARGIN + sample, MARGIN + word))


def weight_bytes(chip: ChipConfig) -> int:
    """Bytes of a word of weights on the link."""
    return -(-chip.weight_bits * chip.array_synapses // 8)


def counter_bytes(chip: ChipConfig) -> int:
    """Bytes of a word of counters on the link."""
    return -(-chip.counter_bits * chip.array_synapses // 8)


class BufferWriteSignature(wiring.Signature):
    """``write`` appends ``data`` to the open entry; ``commit`` stores it over the entry's first byte and closes it.

    Neither while ``full``, except ``commit``.
    """

    def __init__(self):
        super().__init__({"full": In(1), "write": Out(1), "commit": Out(1), "data": Out(8)})


class BufferReadSignature(wiring.Signature):
    """A cursor in the committed entries.

    ``data`` is the byte under the cursor. In the next cycle the cursor is ``step`` further, or with ``rewind`` back at
    the mark; with ``mark`` the mark moves to the cursor, and what is before it may be overwritten. ``available``: the
    cursor is not at the end of the committed entries; ``data`` is valid in the cycle after that.
    """

    def __init__(self, depth: int):
        super().__init__(
            {"available": In(1), "data": In(8), "step": Out(range(depth)), "rewind": Out(1), "mark": Out(1)}
        )


class PacketBuffer(wiring.Component):
    """A ring of ``depth`` bytes (a power of two) holding entries, of which readers see the committed ones.

    Members
    -------
    ``writer`` : In(BufferWriteSignature)
    ``reader`` : In(BufferReadSignature)

    One byte in and one byte out a cycle.
    """

    def __init__(self, depth: int):
        self.depth = depth
        super().__init__({"writer": In(BufferWriteSignature()), "reader": In(BufferReadSignature(depth))})

    def elaborate(self, platform) -> Module:
        m = Module()
        writer, reader = self.writer, self.reader
        m.submodules.memory = memory = Memory(shape=8, depth=self.depth, init=[])
        write, read = memory.write_port(), memory.read_port()

        # One bit more than an address: equal pointers mean empty, equal addresses otherwise full.
        head = Signal(range(2 * self.depth))  # where the next byte goes
        entry = Signal.like(head)  # first byte of the open entry
        mark = Signal.like(head)
        cursor = Signal.like(head)
        ahead = Signal.like(head)

        m.d.comb += [
            writer.full.eq((head ^ mark) == self.depth),
            write.en.eq(writer.write | writer.commit),
            write.addr.eq(Mux(writer.commit, entry, head)),
            write.data.eq(writer.data),
        ]
        with m.If(writer.write):
            m.d.sync += head.eq(head + 1)
        with m.If(writer.commit):
            m.d.sync += entry.eq(head)

        m.d.comb += [
            ahead.eq(Mux(reader.rewind, mark, cursor + reader.step)),
            reader.available.eq(cursor != entry),
            read.addr.eq(ahead),
            reader.data.eq(read.data),
        ]
        m.d.sync += cursor.eq(ahead)
        with m.If(reader.mark):
            m.d.sync += mark.eq(cursor)
        return m
