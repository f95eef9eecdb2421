"""Slots: room for the samples that are on the chip at once."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from popflip.hw.config import ChipConfig


class Slots(wiring.Component):
    """Which sample slots are free.

    Members
    -------
    ``available`` : Out(1), ``slot`` : Out(range(slots)), ``take`` : In(1)
        Whether a slot is free, the lowest one, and that it is taken in this cycle.
    ``free`` : In(1), ``free_slot`` and ``free_also`` : In(1), ``free_also_slot``
        Up to two slots become free in a cycle.
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
                "free": In(1),
                "free_slot": In(slot),
                "free_also": In(1),
                "free_also_slot": In(slot),
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
        free = Mux(self.free, 1 << self.free_slot, 0) | Mux(self.free_also, 1 << self.free_also_slot, 0)
        m.d.sync += taken.eq((taken | take) & ~free)
        return m
