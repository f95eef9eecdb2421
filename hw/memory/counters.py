"""The counter memory: what each synapse has been told since its last flip (Δ of arXiv 2410.09734, eq 10)."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In

from popflip.golden.errors import ConfigError
from popflip.hw.config import ChipConfig
from popflip.hw.lib.stream import delayed
from popflip.hw.memory.signatures import CounterBanksSignature, CounterSignature
from popflip.hw.memory.spram import SPRAM_BITS, SPRAM_WORDS, SPRAMS, Spram


class Counters(wiring.Component):
    """``Pc`` banks of words of ``N`` saturating counters, one read and one write of each a cycle.

    Members
    -------
    ``port`` : In(CounterSignature)
        A word at a time, for selection, flipping and the host.
    ``banks`` : In(CounterBanksSignature)
        All banks, for learning. Neither reads nor writes in the cycles in which ``port`` does.

    Latency :attr:`.ChipConfig.read_latency` cycles. A read of the word written in the same cycle returns the old value.

    With ``compact`` one of both a cycle: what was read is undefined after a write. The one bank's words lie across the
    single-port RAMs of an iCE40 UP5K; :class:`ConfigError` if they are wider or more than those.
    """

    def __init__(self, chip: ChipConfig):
        self.chip = chip
        self.width = chip.counter_bits * chip.array_synapses
        if chip.compact and (chip.counter_map.depth > SPRAM_WORDS or self.width > SPRAMS * SPRAM_BITS):
            raise ConfigError(
                f"counters: {chip.counter_map.depth} words of {self.width} bits, but single-port RAM holds "
                f"{SPRAM_WORDS} of {SPRAMS * SPRAM_BITS}"
            )
        super().__init__({"port": In(CounterSignature(chip)), "banks": In(CounterBanksSignature(chip))})

    def elaborate(self, platform) -> Module:
        m = Module()
        if self.chip.compact:
            return self._single_port(m)
        banks = [getattr(self.banks, f"bank{index}") for index in range(self.chip.learn_rows)]
        port, late = self.port, self.chip.memory_stages
        rest = max(late - 1, 0)  # of the way back, behind the choice of a bank
        words = []
        for index, bank in enumerate(banks):
            m.submodules[f"bank{index}"] = memory = Memory(shape=self.width, depth=self.chip.counter_map.depth, init=[])
            write, read = memory.write_port(), memory.read_port()
            words.append(delayed(m, read.data, late - rest))
            m.d.comb += [
                read.en.eq(delayed(m, port.read | bank.read, late)),
                read.addr.eq(delayed(m, Mux(port.read, port.read_address, bank.read_address), late)),
                bank.read_data.as_value().eq(delayed(m, words[index], rest)),
                write.en.eq(delayed(m, bank.write | (port.write & (port.write_bank == index)), late)),
                write.addr.eq(delayed(m, Mux(bank.write, bank.write_address, port.write_address), late)),
                write.data.eq(
                    delayed(m, Mux(bank.write, bank.write_data.as_value(), port.write_data.as_value()), late)
                ),
            ]
        bank_of_data = Signal(range(len(banks)))
        with m.If(port.read):
            m.d.sync += bank_of_data.eq(port.read_bank)
        bank_of_data = delayed(m, bank_of_data, self.chip.read_latency - 1 - rest)
        m.d.comb += port.read_data.as_value().eq(delayed(m, Array(words)[bank_of_data], rest))
        if len(banks) > 1:
            m.d.comb += [held.eq(bank.read_data) for held, bank in zip(port.read_rows, banks, strict=True)]
        return m

    def _single_port(self, m: Module) -> Module:
        port, bank = self.port, self.banks.bank0
        write, write_data = port.write | bank.write, Signal(self.width)
        address = Signal(range(SPRAM_WORDS))
        m.d.comb += [
            write_data.eq(Mux(bank.write, bank.write_data.as_value(), port.write_data.as_value())),
            address.eq(Mux(port.read, port.read_address, port.write_address)),
        ]
        with m.If(bank.read | bank.write):
            m.d.comb += address.eq(Mux(bank.write, bank.write_address, bank.read_address))
        parts = []
        for index, low in enumerate(range(0, self.width, SPRAM_BITS)):
            m.submodules[f"spram{index}"] = spram = Spram()
            m.d.comb += [
                spram.address.eq(address),
                spram.select.eq(port.read | bank.read | write),
                spram.write.eq(write),
                spram.write_data.eq(write_data[low : low + SPRAM_BITS]),
                spram.mask.eq(~0),
            ]
            parts.append(spram.read_data)
        word = Cat(parts)[: self.width]
        m.d.comb += [port.read_data.as_value().eq(word), bank.read_data.as_value().eq(word)]
        return m
