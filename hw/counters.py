"""The counter memory: what each synapse has been told since its last flip (Δ of arXiv 2410.09734, eq 10)."""

from __future__ import annotations

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In

from .config import ChipConfig
from .stream import delayed
from .weights import CounterSignature


class Counters(wiring.Component):
    """Words of ``N`` saturating counters, one read and one write a cycle.

    Members
    -------
    ``port`` : In(CounterSignature)

    Latency :attr:`.ChipConfig.read_latency` cycles. A read of the word written in the same cycle returns the old value.
    """

    def __init__(self, chip: ChipConfig):
        width = chip.counter_bits * chip.array_synapses
        self.latency = chip.read_latency
        self.memory = Memory(shape=width, depth=chip.counter_depth, init=[])
        super().__init__({"port": In(CounterSignature(chip))})

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.memory = self.memory
        write, read = self.memory.write_port(), self.memory.read_port()
        m.d.comb += [
            read.en.eq(self.port.read),
            read.addr.eq(self.port.read_address),
            self.port.read_data.as_value().eq(delayed(m, read.data, self.latency - 1)),
            write.en.eq(self.port.write),
            write.addr.eq(self.port.write_address),
            write.data.eq(self.port.write_data.as_value()),
        ]
        return m
