"""Block scan: reads the words of a layer in blocks of ``Pc`` rows, for passes that take words in any order."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from popflip.hw.config import ChipConfig
from popflip.hw.lib.lookup import of_layer
from popflip.hw.lib.stream import delayed


class BlockScan(wiring.Component):
    """Requests all words of a layer, the words of ``Pc`` rows at a time, in the order of the counters' addresses.

    Members
    -------
    ``start`` : In(stream of range(L))
        A layer; taken when the last block of the previous layer has been requested.
    ``read`` : Out(1), ``weight_address``, ``weight_bank``, ``counter_address`` : Out
        Request of a block; address and bank are those of its first row.
    ``valid`` : Out(1), ``last`` : Out(1)
        ``valid``: the data of a block arrive, :attr:`.ChipConfig.read_latency` cycles after its request. ``last``: it
        is the layer's last block.

    Throughput: a block every cycle.
    """

    def __init__(self, chip: ChipConfig):
        self.chip = chip
        super().__init__(
            {
                "start": In(stream.Signature(range(chip.depth))),
                "read": Out(1),
                "weight_address": Out(range(chip.weight_map.depth)),
                "weight_bank": Out(range(chip.array_rows)),
                "counter_address": Out(range(chip.counter_map.depth)),
                "valid": Out(1),
                "last": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        chip = self.chip
        shift = exact_log2(chip.learn_rows)
        running, last = Signal(), Signal()
        layer = Signal(range(chip.depth))
        block = Signal(range(max(chip.counter_map.bank_rows)))  # of the word
        left = Signal(range(max(chip.words)))  # words after this one
        first = Signal(range(chip.weight_map.depth))  # address of the word's first block
        ends_word = block == of_layer(layer, [rows - 1 for rows in chip.counter_map.bank_rows])
        m.d.comb += [
            self.read.eq(running),
            self.start.ready.eq(~running),
            self.weight_bank.eq(block << shift),
            last.eq(running & ends_word & (left == 0)),
            self.valid.eq(delayed(m, running, chip.read_latency)),
            self.last.eq(delayed(m, last, chip.read_latency)),
        ]
        with m.If(running):
            m.d.sync += [self.counter_address.eq(self.counter_address + 1), block.eq(block + 1), running.eq(~last)]
            with m.If(ends_word):
                m.d.sync += [block.eq(0), left.eq(left - 1), first.eq(first + 1), self.weight_address.eq(first + 1)]
            with m.Elif(self.weight_bank == chip.array_rows - chip.learn_rows):
                m.d.sync += self.weight_address.eq(self.weight_address + of_layer(layer, chip.weight_map.row_stride))
        with m.Elif(self.start.valid):
            m.d.sync += [
                running.eq(1),
                layer.eq(self.start.payload),
                block.eq(0),
                left.eq(of_layer(self.start.payload, [words - 1 for words in chip.words])),
                first.eq(of_layer(self.start.payload, chip.weight_map.base)),
                self.weight_address.eq(of_layer(self.start.payload, chip.weight_map.base)),
                self.counter_address.eq(of_layer(self.start.payload, chip.counter_map.base)),
            ]
        return m
