"""Accumulate: an updated row's counters collect a vote from each of its inputs.

    m_oi ← sat(m_oi + δ_o · a_i)        (arXiv 2410.09734, eq 10; golden: popflip.golden.gft.accumulate.accumulate)

A read, an addition and a write, for one word of ``N`` synapses a cycle.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from popflip.hw.config import ChipConfig
from popflip.hw.layouts import delta_shape, update_layout
from popflip.hw.lib.arithmetic import clip
from popflip.hw.lib.lookup import of_layer
from popflip.hw.lib.stream import delayed
from popflip.hw.memory.signatures import CounterBankSignature


class Accumulate(wiring.Component):
    """Adds ``δ·a`` to a word of counters, saturating at ±MMAX, the layer's own if limits differ.

    Members
    -------
    ``valid`` : In(1), ``i`` : In(update_layout)
        An update, always taken. At most one a cycle; on compact chips never two in a row. An address must not come
        again within :attr:`latency` cycles.
    ``counters`` : Out(CounterBankSignature)
    ``busy`` : Out(1)
        An update was taken, and its counters are not written yet.

    Latency :attr:`latency` cycles from an update to its written counters: a read, an addition, a write. On compact
    chips a write yields to a read, so it comes in that cycle or one cycle earlier.
    """

    def __init__(self, chip: ChipConfig):
        self.chip = chip
        self.latency = chip.read_latency + 2 + chip.compact
        super().__init__(self._members())

    def _members(self) -> dict:
        return {
            "valid": In(1),
            "i": In(update_layout(self.chip)),
            "counters": Out(CounterBankSignature(self.chip)),
            "busy": Out(1),
        }

    def elaborate(self, platform) -> Module:
        m = Module()
        chip = self.chip
        m.d.comb += [
            self.counters.read.eq(self.valid),
            self.counters.read_address.eq(self.i.address),
        ]
        reading = Signal()
        update = Signal(update_layout(chip))
        m.d.sync += [reading.eq(self.valid), update.eq(self.i)]
        busy = reading
        for _ in range(1, chip.read_latency):
            reading, update = delayed(m, reading, 1), delayed(m, update, 1)
            busy |= reading

        waiting = Signal()  # a sum waits for a cycle without a read
        if chip.compact:
            m.d.sync += waiting.eq(reading | (waiting & self.valid))
            m.d.comb += self.counters.write.eq(waiting & ~self.valid)
        else:
            m.d.sync += self.counters.write.eq(reading)
        add = self._add_one if chip.dclip == 1 and not chip.mmaxes else self._add
        with m.If(reading if chip.compact else 1):
            m.d.sync += self.counters.write_address.eq(update.address)
            for lane in range(chip.array_synapses):
                m.d.sync += self.counters.write_data[lane].eq(add(m, update, lane))
        m.d.comb += self.busy.eq(busy | waiting | self.counters.write)
        return m

    def _counter(self, lane: int) -> Value:
        """The counter that the update adds to."""
        return self.counters.read_data[lane]

    def _add_one(self, m: Module, update: data.View, lane: int) -> Value:
        """The new counter where δ is +1 or −1: a counter at its limit stays, so no sum is wider than a counter."""
        chip, counter = self.chip, self._counter(lane)
        enable = update.lanes.enable[lane]
        down = Signal(name=f"down{lane}")
        m.d.comb += down.eq(update.lanes.positive[lane] == update.delta[-1])
        moves = enable & (counter != Mux(down, -chip.mmax, chip.mmax))
        return counter + Cat(moves, (moves & down).replicate(chip.counter_bits - 1)).as_signed()

    def _add(self, m: Module, update: data.View, lane: int) -> Value:
        """The new counter for any δ."""
        chip, counter = self.chip, self._counter(lane)
        enable = update.lanes.enable[lane]
        step = Mux(update.lanes.positive[lane], update.delta, -update.delta)
        moved = Signal(signed(max(chip.counter_bits, delta_shape(chip).width) + 2), name=f"moved{lane}")
        m.d.comb += moved.eq(counter + Mux(enable, step, 0))
        if not chip.mmaxes:
            return clip(moved, -chip.mmax, chip.mmax)
        limit = of_layer(update.layer, chip.mmaxes)
        return Mux(moved > limit, limit, Mux(moved < -limit, -limit, moved))
