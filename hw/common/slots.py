"""Slots: room for the samples that are on the chip at once."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from popflip.hw.config import ChipConfig


class FreeSignature(wiring.Signature):
    """Frees up to two slots in a cycle.

    Members
    -------
    ``free`` : Out(1), ``slot`` : Out(range(slots))
        With ``free``, ``slot`` becomes free.
    ``free_also`` : Out(1), ``slot_also`` : Out(range(slots))
        The same for a second slot.
    """

    def __init__(self, chip: ChipConfig):
        slot = range(chip.slots)
        super().__init__({"free": Out(1), "slot": Out(slot), "free_also": Out(1), "slot_also": Out(slot)})


class Slots(wiring.Component):
    """Keeps track of the free sample slots.

    Members
    -------
    ``available`` : Out(1), ``slot`` : Out(range(slots)), ``take`` : In(1)
        Whether a slot is free, the lowest free one, and a strobe that takes it.
    ``freed`` : In(FreeSignature)
        A freed slot is available from the next cycle. May coincide with ``take``.
    ``empty`` : Out(1)
        No slot is taken.
    """

    def __init__(self, chip: ChipConfig):
        slot = range(chip.slots)
        self.slots = chip.slots
        super().__init__(
            {
                "available": Out(1),
                "slot": Out(slot),
                "take": In(1),
                "freed": In(FreeSignature(chip)),
                "empty": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        taken = Signal(self.slots)
        m.d.comb += [self.available.eq(~taken.all()), self.empty.eq(~taken.any())]
        for slot in reversed(range(self.slots)):
            with m.If(~taken[slot]):
                m.d.comb += self.slot.eq(slot)
        take = Mux(self.take, 1 << self.slot, 0)
        freed = self.freed
        free = Mux(freed.free, 1 << freed.slot, 0) | Mux(freed.free_also, 1 << freed.slot_also, 0)
        m.d.sync += taken.eq((taken | take) & ~free)
        return m
