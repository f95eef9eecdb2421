"""The counter memory: what each synapse has been told since its last flip (Δ of arXiv 2410.09734, eq 10)."""

from __future__ import annotations

from amaranth.hdl import Array, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In

from .config import ChipConfig
from .stream import delayed
from .weights import CounterBanksSignature, CounterSignature


class Counters(wiring.Component):
    """``Pc`` banks of words of ``N`` saturating counters, one read and one write of each a cycle.

    Members
    -------
    ``port`` : In(CounterSignature)
        A word at a time, for selection, flipping and the host.
    ``banks`` : In(CounterBanksSignature)
        All banks, for learning. Neither reads nor writes in the cycles in which ``port`` does.

    Latency :attr:`.ChipConfig.read_latency` cycles. A read of the word written in the same cycle returns the old value.
    """

    def __init__(self, chip: ChipConfig):
        self.chip = chip
        width = chip.counter_bits * chip.array_synapses
        self.memories = [Memory(shape=width, depth=chip.counter_depth, init=[]) for _ in range(chip.learn_rows)]
        super().__init__({"port": In(CounterSignature(chip)), "banks": In(CounterBanksSignature(chip))})

    def elaborate(self, platform) -> Module:
        m = Module()
        banks = [getattr(self.banks, f"bank{index}") for index in range(self.chip.learn_rows)]
        port, late = self.port, self.chip.read_latency > 1
        for index, (bank, memory) in enumerate(zip(banks, self.memories, strict=True)):
            m.submodules[f"bank{index}"] = memory
            write, read = memory.write_port(), memory.read_port()
            m.d.comb += [
                read.en.eq(delayed(m, port.read | bank.read, late)),
                read.addr.eq(delayed(m, Mux(port.read, port.read_address, bank.read_address), late)),
                bank.read_data.as_value().eq(delayed(m, read.data, late)),
                write.en.eq(delayed(m, bank.write | (port.write & (port.write_bank == index)), late)),
                write.addr.eq(delayed(m, Mux(bank.write, bank.write_address, port.write_address), late)),
                write.data.eq(
                    delayed(m, Mux(bank.write, bank.write_data.as_value(), port.write_data.as_value()), late)
                ),
            ]
        words = [bank.read_data.as_value() for bank in banks]
        bank_of_data = Signal(range(len(words)))
        with m.If(port.read):
            m.d.sync += bank_of_data.eq(port.read_bank)
        m.d.comb += port.read_data.as_value().eq(Array(words)[delayed(m, bank_of_data, self.chip.read_latency - 1)])
        if len(words) > 1:
            m.d.comb += [held.as_value().eq(word) for held, word in zip(port.read_rows, words, strict=True)]
        return m
