"""The packet buffer: holds complete frames for the controller while the receiver appends the next ones."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from popflip.hw.config import ChipConfig

ENTRY_HEADER = 5
"""Bytes of an entry before its payload: the verdict, then the frame's sequence number, command and length."""
BUFFER_BYTES = 2048
"""Default size of the buffer, for chips with enough block memory."""
MARGIN = 8  # bytes of the buffer that a frame's payload must leave free


def longest_payload(depth: int) -> int:
    """Most payload bytes of a frame: its entry must not fill a buffer of ``depth`` bytes."""
    return depth - MARGIN


def buffer_bytes(chip: ChipConfig, least: int) -> int:
    """The smallest power of two, ``least`` or more, that holds a frame of one sample and one of one memory word."""
    sample = chip.label_bytes + chip.input_bytes
    word = 4 + max(weight_bytes(chip), counter_bytes(chip))  # with its address
    return 1 << ceil_log2(max(least, MARGIN + sample, MARGIN + word))


def weight_bytes(chip: ChipConfig) -> int:
    """Bytes of a word of ``N`` weights on the link."""
    return -(-chip.weight_bits * chip.array_synapses // 8)


def counter_bytes(chip: ChipConfig) -> int:
    """Bytes of a word of ``N`` counters on the link."""
    return -(-chip.counter_bits * chip.array_synapses // 8)


class BufferWriteSignature(wiring.Signature):
    """``write`` appends ``data`` to the open entry; ``commit`` overwrites the entry's first byte with it and closes it.

    No ``write`` while ``full``; ``commit`` is always allowed. Never both in one cycle.
    """

    def __init__(self):
        super().__init__({"full": In(1), "write": Out(1), "commit": Out(1), "data": Out(8)})


class BufferReadSignature(wiring.Signature):
    """A cursor in the committed entries, and a mark that it can return to.

    Members
    -------
    ``available`` : In(1), ``data`` : In(8)
        ``available``: committed bytes lie ahead of the cursor. ``data``: the byte under the cursor, valid from the
        cycle after ``available``.
    ``step`` : Out(range(depth)), ``rewind`` : Out(1)
        At the end of the cycle the cursor advances by ``step`` bytes, or returns to the mark.
    ``mark`` : Out(1)
        Moves the mark to the cursor's position before this step, which frees the bytes before it.
    """

    def __init__(self, depth: int):
        super().__init__(
            {"available": In(1), "data": In(8), "step": Out(range(depth)), "rewind": Out(1), "mark": Out(1)}
        )


class PacketBuffer(wiring.Component):
    """A ring of ``depth`` bytes (a power of two). The reader sees an entry once it is committed.

    Members
    -------
    ``writer`` : In(BufferWriteSignature)
    ``reader`` : In(BufferReadSignature)

    Throughput: a byte in and a byte out, each cycle.
    """

    def __init__(self, depth: int):
        self.depth = depth
        super().__init__({"writer": In(BufferWriteSignature()), "reader": In(BufferReadSignature(depth))})

    def elaborate(self, platform) -> Module:
        m = Module()
        writer, reader = self.writer, self.reader
        m.submodules.memory = memory = Memory(shape=8, depth=self.depth, init=[])
        write, read = memory.write_port(), memory.read_port()

        # Pointers have one bit more than addresses: equal pointers mean empty, equal addresses otherwise mean full.
        head = Signal(range(2 * self.depth))  # position of the next byte written
        entry = Signal.like(head)  # first byte of the open entry
        mark = Signal.like(head)
        cursor = Signal.like(head)
        ahead = Signal.like(head)  # the cursor in the next cycle

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
