"""Counters: the votes that each synapse has collected since its last flip (Δ of arXiv 2410.09734, eq 10)."""

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
    """``Pc`` banks of words of ``N`` saturating counters; each reads and writes a word a cycle.

    Members
    -------
    ``port`` : In(CounterSignature)
        Single words, for selection, flipping and the host.
    ``banks`` : In(CounterBanksSignature)
        All banks, for learning. They do not read in a cycle in which ``port`` reads, nor write in one in which it
        writes.

    Latency :attr:`.ChipConfig.read_latency` cycles. A read of the word written in the same cycle returns the old value.

    A compact chip has one bank, in the single-port RAMs of an iCE40 UP5K: it reads or writes, and read data are
    undefined after a write. :class:`ConfigError` if the words do not fit there.
    """

    def __init__(self, chip: ChipConfig):
        self.chip = chip
        self.width = chip.counter_bits * chip.array_synapses
        if chip.compact and (chip.counter_map.depth > SPRAM_WORDS or self.width > SPRAMS * SPRAM_BITS):
            raise ConfigError(
                f"counters: {chip.counter_map.depth} words of {self.width} bits, but single-port RAM holds "
                f"{SPRAM_WORDS} of {SPRAMS * SPRAM_BITS}; use a smaller network, or fewer synapses a cycle"
            )
        super().__init__({"port": In(CounterSignature(chip)), "banks": In(CounterBanksSignature(chip))})

    def elaborate(self, platform) -> Module:
        m = Module()
        if self.chip.compact:
            self._single_port(m)
        else:
            self._block_memory(m)
        return m

    def _block_memory(self, m: Module) -> None:
        """A block memory for each bank, behind :attr:`.ChipConfig.memory_stages` registers each way."""
        banks = [getattr(self.banks, f"bank{index}") for index in range(self.chip.learn_rows)]
        port, stages = self.port, self.chip.memory_stages
        late_stages = max(stages - 1, 0)  # behind the choice of a bank
        words = []
        for index, bank in enumerate(banks):
            m.submodules[f"bank{index}"] = memory = Memory(shape=self.width, depth=self.chip.counter_map.depth, init=[])
            write, read = memory.write_port(), memory.read_port()
            words.append(delayed(m, read.data, stages - late_stages))
            m.d.comb += [
                read.en.eq(delayed(m, port.read | bank.read, stages)),
                read.addr.eq(delayed(m, Mux(port.read, port.read_address, bank.read_address), stages)),
                bank.read_data.as_value().eq(delayed(m, words[index], late_stages)),
                write.en.eq(delayed(m, bank.write | (port.write & (port.write_bank == index)), stages)),
                write.addr.eq(delayed(m, Mux(bank.write, bank.write_address, port.write_address), stages)),
                write.data.eq(
                    delayed(m, Mux(bank.write, bank.write_data.as_value(), port.write_data.as_value()), stages)
                ),
            ]
        bank_of_data = Signal(range(len(banks)))
        with m.If(port.read):
            m.d.sync += bank_of_data.eq(port.read_bank)
        bank_of_data = delayed(m, bank_of_data, self.chip.read_latency - 1 - late_stages)
        m.d.comb += port.read_data.as_value().eq(delayed(m, Array(words)[bank_of_data], late_stages))
        if len(banks) > 1:
            m.d.comb += [held.eq(bank.read_data) for held, bank in zip(port.read_rows, banks, strict=True)]

    def _single_port(self, m: Module) -> None:
        """The one bank, its words across several single-port RAMs."""
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
