"""Accumulate with positions: the words of a layer's rows come again at every position, often right after themselves.

A word that comes again is not read: its counters are still in the register that they were written from. So a word takes
votes in every cycle, one position after the other, each saturated before the next.
"""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib.wiring import In

from popflip.hw.gft.accumulate import Accumulate
from popflip.hw.layouts import update_layout
from popflip.hw.lib.stream import delayed


class HeldAccumulate(Accumulate):
    """:class:`.Accumulate` where an address may follow itself, and no other one, within :attr:`latency` cycles.

    Members
    -------
    ``forget`` : In(1)
        Somebody else may write counters from now on. Not in a cycle with ``valid``.
    """

    def _members(self) -> dict:
        return {**super()._members(), "forget": In(1)}

    def elaborate(self, platform) -> Module:
        m = Module()
        stages = self.chip.read_latency
        address = Signal.like(self.i.address)
        known = Signal()  # the register has the word at `address`, or will have it when the next one is added
        m.d.comb += [
            self.counters.read.eq(self.valid),
            self.counters.read_address.eq(self.i.address),
        ]
        with m.If(self.valid):
            m.d.sync += [known.eq(1), address.eq(self.i.address)]
        with m.If(self.forget):
            m.d.sync += known.eq(0)
        reading = [self.valid]
        for _ in range(stages):
            reading.append(delayed(m, reading[-1], 1))
        update = Signal(update_layout(self.chip))
        m.d.comb += update.eq(delayed(m, self.i, stages))
        self._held = delayed(m, known & (address == self.i.address), stages)
        add = self._add_one if self.chip.dclip == 1 and not self.chip.mmaxes else self._add
        m.d.sync += self.counters.write.eq(reading[-1])
        with m.If(reading[-1]):
            m.d.sync += self.counters.write_address.eq(update.address)
            for lane, counter in enumerate(self.counters.write_data):
                m.d.sync += counter.eq(add(m, update, lane))
        busy = self.counters.write
        for each in reading[1:]:
            busy |= each
        m.d.comb += self.busy.eq(busy)
        return m

    def _counter(self, lane: int) -> Value:
        return Mux(self._held, self.counters.write_data[lane], self.counters.read_data[lane])
