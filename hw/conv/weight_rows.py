"""Weight rows: a copy of the weights for learning, so that it takes no cycle from the MAC array.

Learning above the first layer reads a word of ``Pc`` rows with every visit, as often as forward reads its words. Where
the weights are few, a copy of them in as many banks as the counters have takes few block RAMs, since a bank holds words
of many rows. Elsewhere a read takes the banks from the array for a cycle.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In
from amaranth.utils import exact_log2

from popflip.hw.config import ChipConfig
from popflip.hw.conv.signatures import BlockReadSignature, RowWriteSignature, copy_depth
from popflip.hw.layouts import weight_word
from popflip.hw.lib.stream import delayed
from popflip.hw.memory.signatures import WeightRowSignature


class WeightRows(wiring.Component):
    """``Pc`` banks of weight words.

    Members
    -------
    ``written`` : In(RowWriteSignature)
        Every write to :class:`popflip.hw.memory.weights.Weights`.
    ``read`` : In(BlockReadSignature)

    A word is written two cycles after its write there at the latest, and nobody reads in these.
    """

    def __init__(self, chip: ChipConfig):
        self.chip = chip
        super().__init__({"written": In(RowWriteSignature(chip)), "read": In(BlockReadSignature(chip))})

    def elaborate(self, platform) -> Module:
        m = Module()
        chip, written, stages = self.chip, self.written, self.chip.memory_stages
        together = exact_log2(chip.learn_rows)
        address = delayed(m, Cat(written.bank[together:], written.address), stages)
        data = delayed(m, written.data.as_value(), stages)
        for index in range(chip.learn_rows):
            m.submodules[f"bank{index}"] = memory = Memory(
                shape=weight_word(chip).size, depth=copy_depth(chip), init=[]
            )
            write, read = memory.write_port(), memory.read_port()
            here = written.bank[:together] == index if together else 1
            m.d.comb += [
                write.en.eq(delayed(m, written.write & here, stages)),
                write.addr.eq(address),
                write.data.eq(data),
                read.en.eq(delayed(m, self.read.en, stages)),
                read.addr.eq(delayed(m, Cat(self.read.block, self.read.address), stages)),
                self.read.rows[index].as_value().eq(delayed(m, read.data, stages)),
            ]
        return m


def read_through(m: Module, rows: wiring.PureInterface, chip: ChipConfig) -> wiring.PureInterface:
    """A port for single rows of :class:`popflip.hw.memory.weights.Weights` that does the reads of ``rows``, a
    :class:`.BlockReadSignature`."""
    port = WeightRowSignature(chip).create()
    together = exact_log2(chip.learn_rows)
    m.d.comb += [
        port.read.eq(rows.en),
        port.read_bank.eq(rows.block << together),
        port.read_address.eq(rows.address),
        rows.rows.eq(port.read_rows if together else port.read_data),
    ]
    return port
