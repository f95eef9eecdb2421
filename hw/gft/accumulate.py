"""Accumulate: a taught row's counters move by what its inputs said.

    m_oi ← sat(m_oi + δ_o · a_i)        (arXiv 2410.09734, eq 10; golden: popflip.golden.gft.accumulate.accumulate)

A read, an add and a write, one word of ``N`` synapses a cycle.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from popflip.hw.config import ChipConfig
from popflip.hw.layouts import delta_shape, update_layout
from popflip.hw.lib.arithmetic import clip
from popflip.hw.lib.stream import delayed
from popflip.hw.memory.signatures import CounterBankSignature


class Accumulate(wiring.Component):
    """Adds ``δ·a`` to a word of counters, saturating at ±MMAX.

    Members
    -------
    ``valid`` : In(1), ``i`` : In(update_layout)
        An update a cycle, with ``compact`` never two in a row, never refused. The same address must not come again
        before :attr:`latency` cycles have passed.
    ``counters`` : Out(CounterBankSignature)
    ``busy`` : Out(1)
        An update has been taken and not been written yet.

    Latency :attr:`latency` cycles from update to written counters: a read, an addition, a write. With ``compact`` that
    many at most, one more than it takes: a write lets a read go first.
    """

    def __init__(self, chip: ChipConfig):
        self.chip = chip
        self.latency = chip.read_latency + 2 + chip.compact
        super().__init__(
            {
                "valid": In(1),
                "i": In(update_layout(chip)),
                "counters": Out(CounterBankSignature(chip)),
                "busy": Out(1),
            }
        )

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

        waiting = Signal()  # a sum is, for a cycle without a read
        if chip.compact:
            m.d.sync += waiting.eq(reading | (waiting & self.valid))
            m.d.comb += self.counters.write.eq(waiting & ~self.valid)
        else:
            m.d.sync += self.counters.write.eq(reading)
        with m.If(reading if chip.compact else 1):
            m.d.sync += self.counters.write_address.eq(update.address)
            for lane in range(chip.array_synapses):
                counter, enable = self.counters.read_data[lane], update.lanes.enable[lane]
                if chip.dclip == 1:  # δ is +1 or −1: whoever is at the limit stays, and no sum is wider
                    down = Signal(name=f"down{lane}")
                    m.d.comb += down.eq(update.lanes.positive[lane] == update.delta[-1])
                    moves = enable & (counter != Mux(down, -chip.mmax, chip.mmax))
                    m.d.sync += self.counters.write_data[lane].eq(
                        counter + Cat(moves, (moves & down).replicate(chip.counter_bits - 1)).as_signed()
                    )
                    continue
                step = Mux(update.lanes.positive[lane], update.delta, -update.delta)
                moved = Signal(signed(max(chip.counter_bits, delta_shape(chip).width) + 2), name=f"moved{lane}")
                m.d.comb += moved.eq(counter + Mux(enable, step, 0))
                m.d.sync += self.counters.write_data[lane].eq(clip(moved, -chip.mmax, chip.mmax))
        m.d.comb += self.busy.eq(busy | waiting | self.counters.write)
        return m
