"""Unpack: the bytes of a sample, packed or not, become bytes with their places.

A packed sample leaves out the zero bytes: they take part in no sum and no update, so they need not cost the link or the
chip any time. The consumer sees no difference. It gets bytes with their places in the sample, and then the bias. ::

    byte ─▶ register ─▶ not packed: number of the byte ──────────┬─▶ register ─▶ byte, place
                        packed: lowest bit left in the mask ─────┘

The first register lies between the memory that holds the bytes and the logic of the mask.
"""

from __future__ import annotations

from typing import NamedTuple

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from popflip.hw.config import ChipConfig

GROUP = 8  # bytes that share a mask


def place_layout(chip: ChipConfig) -> data.StructLayout:
    """A ``byte`` at place ``index`` of a sample: bit ``i`` is input ``8·index + i``. ``last``: the sample's last entry,
    which holds the bias alone, input ``K[0]``."""
    return data.StructLayout({"byte": 8, "index": range(chip.inputs // 8 + 1), "last": 1})


class Byte(NamedTuple):
    """A byte in the first register. ``last``: it ends its sample. ``index``: its place, if the sample is not packed."""

    byte: Signal
    valid: Signal
    packed: Signal
    last: Signal
    index: Signal


class Unpack(wiring.Component):
    """Finds the place of each byte of a sample, and appends the bias. For chips that take packed samples.

    Golden: ``popflip.golden.common.packing.unpack``; a sample that is not packed stays as it is.

    Members
    -------
    ``i`` : In(stream 8)
        The bytes of a sample: ``⌈K[0]/8⌉`` of them, or as many as its packed form has. Bytes past the last input are
        dropped; bits past it pass.
    ``packed`` : In(1), ``last`` : In(1)
        ``packed``: the sample is packed. ``last``: the byte ends a packed sample. Both are stable with the byte.
    ``first`` : Out(1)
        The next byte is the first one of a sample.
    ``o`` : Out(stream of place_layout)
        Places ascend; the last byte of the inputs and the bias may share one. A well-packed sample has no zero byte.

    Takes a byte a cycle, and pauses for a cycle after a sample's last one. A byte leaves :attr:`latency` cycles after
    it came, and the bias a cycle after the last byte. Everything waits while ``o`` waits.
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
        taken, move = self._take(m)
        present, index = self._find_place(m, taken, move)
        entry = self.o.payload
        bias = Signal()  # the entry that follows is the bias
        with m.If(move):
            m.d.sync += [
                bias.eq(taken.valid & taken.last),
                self.o.valid.eq((taken.valid & (~taken.packed | present)) | bias),
                entry.byte.eq(Mux(bias, 1 << self.chip.inputs % 8, taken.byte)),
                entry.index.eq(Mux(bias, self.chip.inputs // 8, Mux(taken.packed, index, taken.index))),
                entry.last.eq(bias),
            ]
        return m

    def _take(self, m: Module) -> tuple[Byte, Signal]:
        """The first register. Returns its byte, and whether both registers move on. After the last byte of a sample, it
        pauses for the bias."""
        byte = Signal(8)
        valid = Signal()
        packed = Signal()
        last = Signal()
        places = range(self.chip.input_bytes)
        count = Signal(places)  # bytes of a sample that is not packed
        index = Signal(places)
        take = Signal()
        ends = Signal()
        move = Signal()
        m.d.comb += [
            move.eq(~self.o.valid | self.o.ready),
            self.i.ready.eq(move & ~(valid & last)),
            take.eq(self.i.valid & self.i.ready),
            ends.eq(Mux(self.packed, self.last, count == self.chip.input_bytes - 1)),
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
        return Byte(byte, valid, packed, last, index), move

    def _find_place(self, m: Module, taken: Byte, move: Signal) -> tuple[Value, Value]:
        """A byte of a packed sample belongs to the lowest bit that the mask has left. If none is left, the byte is the
        next group's mask. Returns whether the byte is an input byte of the sample, and its place."""
        groups, rest = divmod(self.chip.input_bytes, GROUP)  # whole groups, and bytes of one that is not
        mask = Signal(GROUP)  # bytes to come, of the group
        lowest = Signal(GROUP)
        inside = Signal(GROUP)  # bytes of the group that the sample has
        group = Signal(range(groups + 1))
        following = Signal(range(groups + 2))  # the next group
        place = Signal(range(GROUP))
        m.d.comb += [
            lowest.eq(mask & -mask),
            *(place[bit].eq(Cat(lowest[byte] for byte in range(GROUP) if byte >> bit & 1).any()) for bit in range(3)),
        ]
        with m.If(move & taken.valid):
            m.d.sync += mask.eq(mask ^ lowest)
            with m.If(mask == 0):
                m.d.sync += [mask.eq(taken.byte), group.eq(following), inside.eq(0)]
                with m.If(following < groups):
                    m.d.sync += inside.eq(2**GROUP - 1)
                with m.If(following == groups):
                    m.d.sync += inside.eq(2**rest - 1)
                with m.If(following <= groups):
                    m.d.sync += following.eq(following + 1)
            with m.If(taken.last):
                m.d.sync += [mask.eq(0), following.eq(0)]
        return (lowest & inside).any(), Cat(place, group)
