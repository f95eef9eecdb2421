"""The sample store: numbers of samples in, their bytes out. It keeps training samples beside the chip or on it.

::

    numbers ─▶ Store ─────▶ byte address ─▶ block memory, or the four single-port RAMs of an iCE40 UP5K ─▶ samples
    numbers ─▶ SdramStore ─▶ bursts of words ─▶ SDRAM (hw/link/sdram_store.py) ──────────────────────────▶ samples

Both speak :class:`StoreSignature`. Samples lie a power of two bytes apart, so an address is a sample's number next to a
byte's. Chips that take packed samples keep them packed, each behind its size: that is what an item of STORE is.
"""

from __future__ import annotations

from collections.abc import Callable

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from popflip.golden.errors import ConfigError
from popflip.hw.config import ChipConfig
from popflip.hw.memory.sdram_part import PARTS
from popflip.hw.memory.spram import SPRAM_BYTES, SPRAM_WORDS, SPRAMS, Spram


def stride(chip: ChipConfig) -> int:
    """Bytes from one sample in the store to the next: the smallest power of two that holds a sample."""
    word = PARTS[chip.sdram].data_bits // 8 if chip.sdram else 1
    return max(word, 1 << ceil_log2(chip.stored_bytes))


def samples_in(chip: ChipConfig, size: int) -> int:
    """How many samples of ``chip`` a memory of ``size`` bytes holds, rounded down to a power of two or 0."""
    count = size // stride(chip)
    return 1 << count.bit_length() - 1 if count else 0


class ByteMemorySignature(wiring.Signature):
    """A byte in or out each cycle.

    ``read_data`` is valid from the cycle after a ``read`` to the next ``read`` or ``write``. It is undefined after a
    ``write``, even if that coincides with a ``read``.
    """

    def __init__(self, depth: int):
        super().__init__(
            {"address": Out(range(depth)), "read": Out(1), "write": Out(1), "write_data": Out(8), "read_data": In(8)}
        )


class BlockBytes(wiring.Component):
    """``depth`` bytes of block memory that start with ``init``."""

    def __init__(self, depth: int, init=()):
        self.depth, self.init = depth, list(init)
        super().__init__({"port": In(ByteMemorySignature(depth))})

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.memory = memory = Memory(shape=8, depth=self.depth, init=self.init)
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [
            write.addr.eq(self.port.address),
            write.data.eq(self.port.write_data),
            write.en.eq(self.port.write),
            read.addr.eq(self.port.address),
            read.en.eq(self.port.read),
            self.port.read_data.eq(read.data),
        ]
        return m


class SpramBytes(wiring.Component):
    """``depth`` bytes (a power of two) in the single-port RAMs of an iCE40 UP5K, two bytes per word.

    Their initial content is undefined. Raises :class:`ConfigError` if the RAMs are too small.
    """

    def __init__(self, depth: int):
        if depth > SPRAMS * SPRAM_BYTES:
            raise ConfigError(
                f"store: {depth} bytes, but single-port RAM has {SPRAMS * SPRAM_BYTES}; store fewer samples"
            )
        self.depth = depth
        super().__init__({"port": In(ByteMemorySignature(depth))})

    def elaborate(self, platform) -> Module:
        m = Module()
        port = self.port
        word = port.address[1 : 1 + ceil_log2(SPRAM_WORDS)]
        bank = port.address[1 + len(word) :]
        place = Signal(len(bank) + 1)  # half of the word, and RAM, of the byte last read
        with m.If(port.read):
            m.d.sync += place.eq(Cat(port.address[:1], bank))
        halves = []
        for number in range(-(-self.depth // SPRAM_BYTES)):
            m.submodules[f"spram{number}"] = spram = Spram()
            m.d.comb += [
                spram.address.eq(word),
                spram.write_data.eq(port.write_data.replicate(2)),
                spram.mask.eq(Cat((~port.address[0]).replicate(2), port.address[0].replicate(2))),
                spram.write.eq(port.write & (bank == number)),
                spram.select.eq(port.read | port.write),
            ]
            halves += [spram.read_data[:8], spram.read_data[8:]]
        m.d.comb += port.read_data.eq(data.ArrayLayout(8, len(halves))(Cat(halves))[place])
        return m


Memories = Callable[[int], wiring.Component]
"""Makes the memory of a store from its depth: :class:`BlockBytes` or :class:`SpramBytes`."""

BYTE = data.StructLayout({"byte": 8, "last": 1})
"""A byte of a sample, and whether it is the sample's last one."""


class StoreSignature(wiring.Signature):
    """A store, from the side of its user.

    Members
    -------
    ``numbers`` : Out(stream of range(store_samples))
        Samples to read. The store takes them ahead, as many as it likes.
    ``samples`` : In(stream of :data:`BYTE`)
        The samples in the order of their numbers: label and inputs, packed if the chip packs, without the size.
        A sample has at least two bytes, even one that was never written.
    ``written`` : Out(stream of :data:`BYTE`), ``position`` : Out(range(store_samples))
        An item of STORE, to be kept as sample ``position``, which is stable from its first byte to its last one. Only
        while no sample is being read.
    """

    def __init__(self, chip: ChipConfig):
        number = range(chip.store_samples)
        super().__init__(
            {
                "numbers": Out(stream.Signature(number)),
                "samples": In(stream.Signature(BYTE)),
                "written": Out(stream.Signature(BYTE)),
                "position": Out(number),
            }
        )


class Place:
    """Which byte of a stored sample is shown, and what it is.

    ``index`` counts the sample's bytes before it. ``is_size``: the byte belongs to the size, which the user of the
    store does not get. ``last``: it ends the sample. A sample that was never written has any size; ``end`` says where
    its place ends at the latest.
    """

    def __init__(self, m: Module, chip: ChipConfig, byte: Value, end: Value):
        self._m, self._chip, self._byte, self._end = m, chip, byte, end
        self.index = Signal(range(stride(chip)))
        self.is_size: Value = Const(0)
        if not chip.packs:
            self.last: Value = self.index == chip.sample_bytes - 1
            return
        self.is_size = self.index < chip.size_bytes
        self._size = Signal(8 * chip.size_bytes)
        self._size_ends = Signal()  # the byte shown is the last one that the size counts
        self.last = self._size_ends | end

    def step(self) -> None:
        """To the next byte. Called where the one shown is taken."""
        m, chip = self._m, self._chip
        m.d.sync += self.index.eq(Mux(self.last, 0, self.index + 1))
        if not chip.packs:
            return
        head = chip.size_bytes + chip.label_bytes  # a sample has one byte more, at least
        last = self.index == self._size + (chip.size_bytes - 2)  # the byte before the last one
        m.d.sync += self._size_ends.eq(~self.last & (self.index >= head - 1) & last)
        with m.If(self.is_size):
            m.d.sync += self._size.eq(Cat(self._size[8:], self._byte))


class Store(wiring.Component):
    """A store of ``chip.store_samples`` samples in one of :data:`Memories`.

    Members
    -------
    ``port`` : In(StoreSignature)

    A byte of a sample leaves each cycle. Two cycles pass from the last byte of a sample, or from its number, to the
    first byte of the next one; on chips that pack, the bytes of its size take a cycle each.
    """

    def __init__(self, chip: ChipConfig, memory: Memories = BlockBytes):
        self.chip = chip
        self.memory = memory(chip.store_samples * stride(chip))
        super().__init__({"port": In(StoreSignature(chip))})

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.memory = self.memory
        port, memory = self.port, self.memory.port
        number = Signal.like(port.numbers.payload)
        reading = Signal()  # ``number`` is being read
        shown = Signal()  # a byte of it is at the memory's output
        end = Signal()
        place = Place(m, self.chip, memory.read_data, end)
        index, last = place.index, place.last
        taken = Signal()
        m.d.comb += [
            end.eq(index.all()),
            taken.eq(shown & (port.samples.ready | place.is_size)),
            port.numbers.ready.eq(~reading),
            port.samples.valid.eq(shown & ~place.is_size),
            port.samples.payload.byte.eq(memory.read_data),
            port.samples.payload.last.eq(last),
            port.written.ready.eq(1),
            memory.write.eq(port.written.valid),
            memory.write_data.eq(port.written.payload.byte),
            memory.read.eq(reading & (~shown | (taken & ~last))),
            memory.address.eq(Cat((index + shown)[: len(index)], Mux(reading, number, port.position))),
        ]
        with m.If(port.numbers.valid & port.numbers.ready):
            m.d.sync += [number.eq(port.numbers.payload), reading.eq(1)]
        with m.If(memory.read):
            m.d.sync += shown.eq(1)
        with m.If(taken):
            place.step()
            with m.If(last):
                m.d.sync += [shown.eq(0), reading.eq(0)]
        with m.If(port.written.valid):
            m.d.sync += index.eq(Mux(port.written.payload.last, 0, index + 1))
        return m
