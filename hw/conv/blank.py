"""Blank: the activations of pools of the first layer that see nothing.

A pool whose patches are all 0 has no words (:mod:`.patches`), so the forward pass never comes to it. Its sums are 0:
its neurons are −1, and within any window. So every sample begins with all of its first activations like that. They are
written while its list is made, and while another sample is in the forward pass.
"""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from popflip.hw.config import ChipConfig
from popflip.hw.conv.fields import Fields
from popflip.hw.conv.signatures import BlankSignature
from popflip.hw.layouts import sample_layout
from popflip.hw.lib.stream import Queue


class Blank(wiring.Component):
    """Sets the first layer's activations of each sample to −1, and within their window, before it passes.

    Members
    -------
    ``slots`` : In(stream of range(slots))
        The slot of each sample, in the order of the samples, when it is the sample's alone. Always taken.
    ``i``, ``o`` : stream of sample_layout
        A sample passes in the cycle in which it comes, or when its activations are written.
    ``store`` : Out(BlankSignature)

    A slot takes :attr:`groups` cycles in which nobody else writes.
    """

    def __init__(self, chip: ChipConfig):
        fields = Fields(chip)
        self.chip, self.groups = chip, chip.plan[0].pools * fields.pixel_groups[0]
        super().__init__(
            {
                "slots": In(stream.Signature(range(chip.slots))),
                "i": In(stream.Signature(sample_layout(chip))),
                "o": Out(stream.Signature(sample_layout(chip))),
                "store": Out(BlankSignature(chip)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.queue = queue = Queue(range(self.chip.slots), self.chip.slots)  # no more samples are on the chip
        wiring.connect(m, wiring.flipped(self.slots), queue.i)
        group = Signal(range(self.groups))
        blank = Signal(range(self.chip.slots + 1))  # samples whose activations are written, and that have not passed
        last, moves, passes = group == self.groups - 1, self.store.write & self.store.ready, blank != 0
        m.d.comb += [
            self.store.write.eq(queue.o.valid),
            self.store.slot.eq(queue.o.payload),
            self.store.group.eq(group),
            queue.o.ready.eq(moves & last),
            self.o.valid.eq(self.i.valid & passes),
            self.o.payload.eq(self.i.payload),
            self.i.ready.eq(self.o.ready & passes),
        ]
        m.d.sync += blank.eq(blank + queue.o.ready - (self.o.valid & self.o.ready))
        with m.If(moves):
            m.d.sync += group.eq(Mux(last, 0, group + 1))
        return m
