"""Unpack: a sample's bytes, all of them or packed, become bytes with their places.

A packed sample leaves out bytes that are zero, which teach nothing, so that they take neither the link nor the chip any
time. What follows need not know: it gets a byte, its place in the sample, and in the end the bias. ::

    byte ─▶ register ─▶ raw: as many as came before ─────────────┬─▶ register ─▶ byte, place
                        packed: the lowest bit left of the mask ─┘

The register in front keeps what the mask decides away from the memory that bytes come from.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from popflip.hw.config import ChipConfig

GROUP = 8  # bytes that share a mask


def place_layout(chip: ChipConfig) -> data.StructLayout:
    """A ``byte`` at place ``index`` of a sample, bit ``i`` is input ``8·index + i``. ``last``: the sample's last one,
    which holds the bias alone, input ``K[0]``.
    """
    return data.StructLayout({"byte": 8, "index": range(chip.inputs // 8 + 1), "last": 1})


class Unpack(wiring.Component):
    """Says where a sample's bytes belong, and appends its bias. Of chips that pack.

    Golden: ``popflip.golden.common.packing.unpack``; of a sample that is not packed, the bytes themselves.

    Members
    -------
    ``i`` : In(stream 8)
        The bytes of a sample: ``⌈K[0]/8⌉``, or packed as many as there are. Bytes past the last input are left out,
        bits past it are passed on.
    ``packed`` : In(1), ``last`` : In(1)
        Whether the sample is packed, and then, whether the byte is its last one; stable with the byte.
    ``first`` : Out(1)
        The next byte is the first one of a sample.
    ``o`` : Out(stream of place_layout)
        Places go up; the last byte of the inputs and the bias may be at the same one. A packed sample's bytes are not
        zero, if it is packed well.

    A byte a cycle, and a cycle more after a sample's last one. A byte leaves :attr:`latency` cycles after it came, the
    bias a cycle after the last one. Where ``o`` waits, all of it does.
    """

    latency = 2

    def __init__(self, chip: ChipConfig):
        self.chip = chip
        super().__init__(
            {
                "i": In(stream.Signature(8)),
                "packed": In(1),
                "last": In(1),
                "first": Out(1, init=1),
                "o": Out(stream.Signature(place_layout(chip))),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        chip = self.chip
        groups, rest = divmod(chip.input_bytes, GROUP)  # whole groups, and bytes of one that is not

        # Bytes as they come -------------------------------------------------------------------------------------------
        byte, valid, packed, last = Signal(8), Signal(), Signal(), Signal()
        places = range(chip.input_bytes)
        count, index = Signal(places), Signal(places)  # of a sample that is not packed
        take, ends, move = Signal(), Signal(), Signal()
        m.d.comb += [
            move.eq(~self.o.valid | self.o.ready),
            self.i.ready.eq(move & ~(valid & last)),
            take.eq(self.i.valid & self.i.ready),
            ends.eq(Mux(self.packed, self.last, count == chip.input_bytes - 1)),
        ]
        with m.If(move):
            m.d.sync += valid.eq(take)
        with m.If(take):
            m.d.sync += [
                byte.eq(self.i.payload),
                packed.eq(self.packed),
                last.eq(ends),
                index.eq(count),
                count.eq(Mux(ends | self.packed, 0, count + 1)),
                self.first.eq(ends),
            ]

        # Masks --------------------------------------------------------------------------------------------------------
        mask, lowest = Signal(GROUP), Signal(GROUP)  # of the group, of bytes to come
        inside = Signal(GROUP)  # bytes of the group that the sample has
        group, following = Signal(range(groups + 1)), Signal(range(groups + 2))
        place = Signal(range(GROUP))
        m.d.comb += [
            lowest.eq(mask & -mask),
            *(place[bit].eq(Cat(lowest[byte] for byte in range(GROUP) if byte >> bit & 1).any()) for bit in range(3)),
        ]
        with m.If(move & valid):
            m.d.sync += mask.eq(mask ^ lowest)
            with m.If(mask == 0):
                m.d.sync += [mask.eq(byte), group.eq(following), inside.eq(0)]
                with m.If(following < groups):
                    m.d.sync += inside.eq(2**GROUP - 1)
                with m.If(following == groups):
                    m.d.sync += inside.eq(2**rest - 1)
                with m.If(following <= groups):
                    m.d.sync += following.eq(following + 1)
            with m.If(last):
                m.d.sync += [mask.eq(0), following.eq(0)]

        # Bytes with their places, and the bias ------------------------------------------------------------------------
        entry, bias = self.o.payload, Signal()
        with m.If(move):
            m.d.sync += [
                bias.eq(valid & last),
                self.o.valid.eq((valid & (~packed | (lowest & inside).any())) | bias),
                entry.byte.eq(Mux(bias, 1 << chip.inputs % 8, byte)),
                entry.index.eq(Mux(bias, chip.inputs // 8, Mux(packed, Cat(place, group), index))),
                entry.last.eq(bias),
            ]
        return m
