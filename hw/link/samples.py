"""The source of a sample's bytes: the packet buffer, for plain and packed samples, or the sample store."""

from __future__ import annotations

from amaranth.hdl import Const, Module, Mux, Signal, Value

from popflip.hw.link.commands import PACKED_COMMANDS, SET_COMMANDS, Command
from popflip.hw.link.datapath import Datapath


class SampleBytes:
    """The current byte of a sample for the trainer.

    ``byte``: its value. ``valid``: it is there. ``last``: it ends the sample. ``padded``: it ends a plain sample, so
    bits past the last input must be cleared. ``stored``: it comes from the store; ``walked``: by the chip's own order.

    ``in_sizes``: the request's items are packed samples, each behind its size. ``bytes_left`` counts their bytes from
    the size down to 1, those of the label included. ``item_ends``: the reader's byte ends an item of samples. On chips
    with packed samples, ``packed``: it is a packed sample's; ``size``: a register that checker and executor fill with
    the size of the item.
    """

    def __init__(self, m: Module, datapath: Datapath):
        chip, samples = datapath.chip, datapath.trainer.samples
        self.stored: Value = Const(0)
        self.walked: Value = Const(0)
        self.in_sizes: Value = Const(0)
        self.packed: Value = Const(0)
        self.byte: Value = datapath.reader.data
        self.valid: Value = Const(1)
        self.item_ends: Value = datapath.last_byte
        if chip.packs:
            self._packed(datapath)
        self.last = self.item_ends
        if chip.store_samples:
            self._from_store(m, datapath)
        self.padded = (self.last if chip.store_samples else datapath.last_byte) & ~self.packed
        if chip.packs:
            m.d.comb += [samples.packed.eq(self.packed), samples.last.eq(self.last)]

    def _packed(self, datapath: Datapath) -> None:
        chip, left = datapath.chip, datapath.bytes_left
        items = (*PACKED_COMMANDS, *((Command.STORE,) if chip.store_samples else ()))
        stored = (Command.TRAIN_STORED, *SET_COMMANDS)
        known = [key for key in (*PACKED_COMMANDS, *stored) if key in datapath.commands]
        self.size = Signal(8 * chip.size_bytes)
        self.in_sizes = datapath.constant("in_sizes", dict.fromkeys(items, 1))
        self.packed = datapath.constant("packed", dict.fromkeys(known, 1)) if chip.store_samples else self.in_sizes
        self.item_ends = Mux(self.in_sizes, (left[1:] == 0) & left[0], datapath.last_byte)

    def _from_store(self, m: Module, datapath: Datapath) -> None:
        store, label, classes = datapath.store, datapath.label, datapath.chip.classes
        samples = datapath.trainer.samples
        self.stored = datapath.is_one_of(Command.TRAIN_STORED)
        if datapath.chip.walks:
            self.walked = datapath.is_one_of(*SET_COMMANDS)
            self.stored |= self.walked
        self.byte = Mux(self.stored, store.samples.payload.byte, datapath.reader.data)
        self.valid = ~self.stored | store.samples.valid
        self.last = Mux(self.stored, store.samples.payload.last, self.item_ends)
        m.d.comb += [
            store.numbers.payload.eq(datapath.address),
            store.position.eq(datapath.address),
            store.written.payload.byte.eq(datapath.reader.data),
        ]
        # A position never written holds any label.
        with m.If(label[: len(samples.label)] >= classes):
            m.d.comb += samples.label.eq(label[: len(samples.label) - 1])
