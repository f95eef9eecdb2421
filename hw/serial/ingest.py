"""Ingest on a chip with one walk: the bits of a sample go to its image, one a cycle."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from popflip.hw.config import ChipConfig
from popflip.hw.layouts import sample_layout
from popflip.hw.serial.places import Places
from popflip.hw.serial.signatures import BitWriteSignature


class SerialIngest(wiring.Component):
    """Writes the image of a sample, and passes the sample on when it is complete.

    Members
    -------
    ``i`` : In(stream 8)
        ``⌈K[0]/8⌉`` bytes a sample. Bit ``i`` of byte ``q`` is input ``8q + i``; bits past ``K[0]`` are ignored.
    ``label`` : In(range(classes)), ``infer`` : In(1)
        Stable while the bytes of a sample come.
    ``slot_available`` : In(1), ``slot`` : In(range(slots)), ``started`` : Out(1)
        A sample begins only if ``slot`` is available. Its first byte takes the slot, in the cycle with ``started``.
    ``fill`` : Out(BitWriteSignature)
    ``o`` : Out(stream sample_layout)
        A complete sample.

    Takes a byte every 9 cycles.
    """

    def __init__(self, chip: ChipConfig):
        self.chip, self.places = chip, Places(chip)
        super().__init__(
            {
                "i": In(stream.Signature(8)),
                "label": In(range(chip.classes)),
                "infer": In(1),
                "slot_available": In(1),
                "slot": In(range(chip.slots)),
                "started": Out(1),
                "fill": Out(BitWriteSignature(chip)),
                "o": Out(stream.Signature(sample_layout(chip))),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        planes, fill = self.chip.plan[0].inputs, self.fill
        bits, left = Signal(8), Signal(range(9))  # of the byte, not yet written
        inside = Signal()  # the sample has begun
        x, y, channel = (Signal(range(max(2, size))) for size in (planes.width, planes.height, planes.channels))
        ends_row = x == planes.width - 1
        ends_plane = ends_row & (y == planes.height - 1)
        ends = ends_plane & (channel == planes.channels - 1)
        take = self.i.valid & self.i.ready
        m.d.comb += [
            self.i.ready.eq((left == 0) & ~self.o.valid & (inside | self.slot_available)),
            self.started.eq(take & ~inside),
            fill.write.eq(left != 0),
            fill.address.eq(self.places.image_address(x, y, channel, self.o.payload.slot)),
            fill.bit.eq(bits[0]),
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(take):
            m.d.sync += [bits.eq(self.i.payload), left.eq(8), inside.eq(1)]
        with m.If(self.started):
            m.d.sync += [
                self.o.payload.slot.eq(self.slot),
                self.o.payload.label.eq(self.label),
                self.o.payload.infer.eq(self.infer),
            ]
        with m.If(fill.write):
            m.d.sync += [bits.eq(bits >> 1), left.eq(left - 1), x.eq(Mux(ends_row, 0, x + 1))]
            with m.If(ends_row):
                m.d.sync += y.eq(Mux(ends_plane, 0, y + 1))
            with m.If(ends_plane):
                m.d.sync += channel.eq(Mux(ends, 0, channel + 1))
            with m.If(ends):
                m.d.sync += [left.eq(0), inside.eq(0), self.o.valid.eq(1)]
        return m
