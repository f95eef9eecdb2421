"""The source of a sample's bytes: the packet buffer, for plain and packed samples, or the sample store."""

from __future__ import annotations

from amaranth.hdl import Const, Module, Mux, Signal, Value

from popflip.hw.link.commands import PACKED_COMMANDS, Command
from popflip.hw.link.datapath import Datapath


class SampleBytes:
    """The current byte of a sample for the trainer.

    ``byte``: its value. ``last``: it ends the sample. ``padded``: it ends a plain sample, so bits past the last input
    must be cleared. ``stored``: it comes from the store. ``counts_label``: ``bytes_left`` includes the label's bytes.

    On chips with packed samples, ``packed``: it is a packed sample's; ``size``: a register that checker and executor
    fill with the size of the item. ``bytes_left`` counts a packed sample's bytes from its size down to 1.
    """

    def __init__(self, m: Module, datapath: Datapath):
        self.stored: Value = Const(0)
        self.byte: Value = datapath.reader.data
        self.last: Value = datapath.last_byte
        if datapath.chip.store_samples:
            self._from_store(m, datapath)
        self.counts_label, self.padded = self.stored, self.last
        if datapath.chip.packs:
            self._packed(m, datapath)

    def _from_store(self, m: Module, datapath: Datapath) -> None:
        """The store delivers a byte in the cycle after its request."""
        store, label, classes = datapath.store, datapath.label, datapath.chip.classes
        samples = datapath.trainer.samples
        self.stored = datapath.is_one_of(Command.TRAIN_STORED)
        last_requested = Signal()
        self.byte = Mux(self.stored, store.read_data, datapath.reader.data)
        self.last = Mux(self.stored, last_requested, datapath.last_byte)
        with m.If(datapath.next_byte):
            m.d.sync += last_requested.eq(datapath.last_byte)
        m.d.comb += [
            store.sample.eq(datapath.address),
            store.byte.eq(datapath.bytes_left),
            store.read.eq(datapath.next_byte),
            store.write_data.eq(datapath.reader.data),
        ]
        # A position never written holds any label.
        with m.If(label[: len(samples.label)] >= classes):
            m.d.comb += samples.label.eq(label[: len(samples.label) - 1])

    def _packed(self, m: Module, datapath: Datapath) -> None:
        self.size = Signal(8 * datapath.chip.size_bytes)
        self.packed = datapath.constant("packed", dict.fromkeys(PACKED_COMMANDS, 1))
        left = datapath.bytes_left
        self.counts_label = self.stored | self.packed
        self.padded = self.last & ~self.packed
        self.last = Mux(self.packed, (left[1:] == 0) & left[0], self.last)
        samples = datapath.trainer.samples
        m.d.comb += [samples.packed.eq(self.packed), samples.last.eq(self.last)]
