"""Blank: the activations of pools of the first layer that see nothing.

A pool whose patches are all 0 has no words (:mod:`.patches`), so the forward pass never comes to it. Its sums are 0:
its neurons are −1, and within any window. So every sample begins with all of its first activations like that, while the
one before it is in the forward pass.
"""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from popflip.hw.config import ChipConfig
from popflip.hw.conv.fields import Fields
from popflip.hw.conv.signatures import BlankSignature
from popflip.hw.layouts import sample_layout


class Blank(wiring.Component):
    """Passes samples on, each with the first layer's activations of its slot set to −1, and within their window.

    Members
    -------
    ``i``, ``o`` : stream of sample_layout
    ``store`` : Out(BlankSignature)

    A sample takes :attr:`groups` cycles in which nobody else writes, and one more.
    """

    def __init__(self, chip: ChipConfig):
        fields = Fields(chip)
        self.groups = chip.plan[0].pools * fields.pixel_groups[0]
        """Groups of the first layer's activations."""
        super().__init__(
            {
                "i": In(stream.Signature(sample_layout(chip))),
                "o": Out(stream.Signature(sample_layout(chip))),
                "store": Out(BlankSignature(chip)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        here = Signal()  # a sample is here that is not ready
        group = Signal(range(self.groups))
        last, moves = group == self.groups - 1, self.store.write & self.store.ready
        m.d.comb += [
            self.i.ready.eq(~here & (~self.o.valid | self.o.ready)),
            self.store.write.eq(here),
            self.store.slot.eq(self.o.payload.slot),
            self.store.group.eq(group),
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [here.eq(1), self.o.payload.eq(self.i.payload)]
        with m.If(moves):
            m.d.sync += group.eq(Mux(last, 0, group + 1))
            with m.If(last):
                m.d.sync += [here.eq(0), self.o.valid.eq(1)]
        return m
