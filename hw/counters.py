"""The counter memory: what each synapse has been told since its last flip (Δ of arXiv 2410.09734, eq 10)."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In

from popflip.golden.config import ConfigError

from .config import ChipConfig
from .spram import SPRAM_BITS, SPRAM_WORDS, SPRAMS, Spram
from .weights import CounterSignature


class Counters(wiring.Component):
    """Words of ``N`` saturating counters, one read and one write a cycle, or (``compact``) one of both.

    Members
    -------
    ``port`` : In(CounterSignature)
        With ``compact`` never ``read`` in the cycle of a ``write``, and what was read is undefined after a write.

    Latency 1 cycle. A read of the word written in the same cycle returns the old value.

    With ``compact`` words lie across the single-port RAMs of an iCE40 UP5K: :class:`ConfigError` if they are wider
    or more than those.
    """

    def __init__(self, chip: ChipConfig):
        self.chip = chip
        self.width = chip.counter_bits * chip.array_synapses
        if chip.compact and (chip.counter_depth > SPRAM_WORDS or self.width > SPRAMS * SPRAM_BITS):
            raise ConfigError(
                f"counters: {chip.counter_depth} words of {self.width} bits, but single-port RAM holds {SPRAM_WORDS} "
                f"of {SPRAMS * SPRAM_BITS}"
            )
        super().__init__({"port": In(CounterSignature(chip))})

    def elaborate(self, platform) -> Module:
        m = Module()
        port = self.port
        read_data, write_data = port.read_data.as_value(), port.write_data.as_value()
        if self.chip.compact:
            parts = []
            for index, low in enumerate(range(0, self.width, SPRAM_BITS)):
                m.submodules[f"spram{index}"] = spram = Spram()
                m.d.comb += [
                    spram.address.eq(Mux(port.write, port.write_address, port.read_address)),
                    spram.select.eq(port.read | port.write),
                    spram.write.eq(port.write),
                    spram.write_data.eq(write_data[low : low + SPRAM_BITS]),
                    spram.mask.eq(~0),
                ]
                parts.append(spram.read_data)
            m.d.comb += read_data.eq(Cat(parts))
            return m
        m.submodules.memory = memory = Memory(shape=self.width, depth=self.chip.counter_depth, init=[])
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [
            read.en.eq(port.read),
            read.addr.eq(port.read_address),
            read_data.eq(read.data),
            write.en.eq(port.write),
            write.addr.eq(port.write_address),
            write.data.eq(write_data),
        ]
        return m
