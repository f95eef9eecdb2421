"""Single-port RAM: the large memories of an iCE40 UP5K, which either read or write a word in a cycle."""

from __future__ import annotations

from amaranth.hdl import ClockSignal, Const, Instance, Module
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

SPRAM_BITS = 16  # in a word
SPRAM_WORDS = 2**14
SPRAM_BYTES = SPRAM_WORDS * SPRAM_BITS // 8
SPRAMS = 4  # on an iCE40 UP5K


class Spram(wiring.Component):
    """``SB_SPRAM256KA``: 16 k words of 16 bits. ``lib.memory`` cannot infer it, because it initialises every memory.

    Without a platform it is a block memory that behaves the same.

    Members
    -------
    ``address`` : In(14), ``select`` : In(1)
        Reads, or with ``write`` writes. Read data stay until the next ``select``; after a write they are undefined.
    ``write`` : In(1), ``write_data`` : In(16), ``mask`` : In(4)
        Bit ``i`` of ``mask`` enables the write of bits ``4i … 4i+3`` of ``write_data``.
    ``read_data`` : Out(16)
    """

    def __init__(self):
        super().__init__(
            {
                "address": In(range(SPRAM_WORDS)),
                "select": In(1),
                "write": In(1),
                "write_data": In(SPRAM_BITS),
                "mask": In(4),
                "read_data": Out(SPRAM_BITS),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        if platform is not None:
            m.submodules.ram = Instance(
                "SB_SPRAM256KA",
                i_CLOCK=ClockSignal(),
                i_ADDRESS=self.address,
                i_CHIPSELECT=self.select,
                i_WREN=self.write,
                i_DATAIN=self.write_data,
                i_MASKWREN=self.mask,
                i_STANDBY=Const(0),
                i_SLEEP=Const(0),
                i_POWEROFF=Const(1),  # active low
                o_DATAOUT=self.read_data,
            )
            return m
        m.submodules.memory = memory = Memory(shape=data.ArrayLayout(4, 4), depth=SPRAM_WORDS, init=[])
        write, read = memory.write_port(granularity=1), memory.read_port()
        m.d.comb += [
            write.addr.eq(self.address),
            write.data.as_value().eq(self.write_data),
            write.en.eq((self.select & self.write).replicate(4) & self.mask),
            read.addr.eq(self.address),
            read.en.eq(self.select & ~self.write),
            self.read_data.eq(read.data),
        ]
        return m
