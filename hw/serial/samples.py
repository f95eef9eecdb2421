"""Samples: the images of the samples on a chip with one walk, and the activations of the one that is walked over."""

from __future__ import annotations

from amaranth.hdl import Cat, Module
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In

from popflip.hw.config import ChipConfig
from popflip.hw.serial.places import Places
from popflip.hw.serial.signatures import (
    BitReadSignature,
    BitWriteSignature,
    UnitReadSignature,
    UnitWriteSignature,
)


class SerialSamples(wiring.Component):
    """One memory of bits and one of units, with a read and a write port each.

    Members
    -------
    ``image`` : In(BitReadSignature), ``fill`` : In(BitWriteSignature)
        Images of all slots.
    ``units`` : In(UnitReadSignature), ``store`` : In(UnitWriteSignature)
        Activations of one sample.

    Latency 1 cycle. A read of what is written in the same cycle is undefined.
    """

    def __init__(self, chip: ChipConfig):
        self.chip, self._places = chip, Places(chip)
        super().__init__(
            {
                "image": In(BitReadSignature(chip)),
                "fill": In(BitWriteSignature(chip)),
                "units": In(UnitReadSignature(chip)),
                "store": In(UnitWriteSignature(chip)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        lanes = self.chip.array_synapses
        m.submodules.bits = bits = Memory(shape=1, depth=self.chip.slots << self._places.image_bits, init=[])
        m.submodules.activations = units = Memory(shape=2 * lanes, depth=max(2, self._places.depth), init=[])
        read, write = bits.read_port(), bits.write_port()
        m.d.comb += [
            write.en.eq(self.fill.write),
            write.addr.eq(self.fill.address),
            write.data.eq(self.fill.bit),
            read.en.eq(self.image.en),
            read.addr.eq(self.image.address),
            self.image.bit.eq(read.data),
        ]
        read, write = units.read_port(), units.write_port()
        m.d.comb += [
            write.en.eq(self.store.write),
            write.addr.eq(self.store.unit),
            write.data.eq(Cat(self.store.active, self.store.in_window)),
            read.en.eq(self.units.en),
            read.addr.eq(self.units.unit),
            Cat(self.units.active, self.units.in_window).eq(read.data),
        ]
        return m
