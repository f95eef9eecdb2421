"""The sample store: keeps training samples on the chip, so that the link only has to send their positions.

Samples lie a power of two bytes apart, so an address is a sample's position next to a byte's: ::

    sample ┐
           ├─▶ byte address ─▶ block memory, or the four single-port RAMs of an iCE40 UP5K
    byte  ─┘
"""

from __future__ import annotations

from collections.abc import Callable

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from popflip.golden.errors import ConfigError
from popflip.hw.config import ChipConfig
from popflip.hw.memory.spram import SPRAM_BYTES, SPRAM_WORDS, SPRAMS, Spram


def stride(chip: ChipConfig) -> int:
    """Bytes from one sample in the store to the next: the smallest power of two that holds a sample."""
    return 1 << ceil_log2(chip.sample_bytes)


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


class StoreSignature(wiring.Signature):
    """:class:`ByteMemorySignature`, addressed by a sample's position and a byte within the sample."""

    def __init__(self, chip: ChipConfig):
        super().__init__(
            {
                "sample": Out(range(chip.store_samples)),
                "byte": Out(range(chip.sample_bytes)),
                "read": Out(1),
                "write": Out(1),
                "write_data": Out(8),
                "read_data": In(8),
            }
        )


class Store(wiring.Component):
    """``chip.store_samples`` samples of ``chip.sample_bytes`` bytes each, in one of :data:`Memories`.

    Members
    -------
    ``port`` : In(StoreSignature)
    """

    def __init__(self, chip: ChipConfig, memory: Memories = BlockBytes):
        self.chip = chip
        self.memory = memory(chip.store_samples * stride(chip))
        super().__init__({"port": In(StoreSignature(chip))})

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.memory = self.memory
        port, memory = self.port, self.memory.port
        byte = Signal(ceil_log2(stride(self.chip)))
        m.d.comb += [
            byte.eq(port.byte),
            memory.address.eq(Cat(byte, port.sample)),
            memory.read.eq(port.read),
            memory.write.eq(port.write),
            memory.write_data.eq(port.write_data),
            port.read_data.eq(memory.read_data),
        ]
        return m
