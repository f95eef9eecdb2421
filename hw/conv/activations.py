"""Activations with positions: groups of hidden activations, and whether each neuron is within its window."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In
from amaranth.utils import ceil_log2

from popflip.hw.config import ChipConfig
from popflip.hw.conv.fields import Fields
from popflip.hw.conv.signatures import (
    BlankSignature,
    GroupReadSignature,
    GroupWriteSignature,
    WindowReadSignature,
)


class ConvActivations(wiring.Component):
    """Memory of the activations of the samples on the chip (:mod:`.fields`).

    Members
    -------
    ``store`` : In(GroupWriteSignature), ``blank`` : In(BlankSignature)
        ``blank`` waits while ``store`` writes.
    ``forward``, ``learn`` : In(GroupReadSignature), ``windows`` : In(WindowReadSignature)
        The readers. Each unit of a word has a copy of the memory, since its address is its own.

    Latency 1 cycle. A read of the group written in the same cycle returns the old value.
    """

    def __init__(self, chip: ChipConfig):
        self.chip, self.fields = chip, Fields(chip)
        super().__init__(
            {
                "store": In(GroupWriteSignature(chip)),
                "blank": In(BlankSignature(chip)),
                "forward": In(GroupReadSignature(chip)),
                "learn": In(GroupReadSignature(chip)),
                "windows": In(WindowReadSignature(chip)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.d.comb += self.blank.ready.eq(~self.store.write)
        for name in ("forward", "learn"):
            port = getattr(self, name)
            for unit in range(self.fields.units):
                data = self._copy(m, f"{name}{unit}", self.store.active, 0, port.en, port.groups[unit], port.slot)
                m.d.comb += port.active[unit].eq(data)
        windows = self.windows
        data = self._copy(m, "windows", self.store.in_window, 1, windows.en, windows.group, windows.slot)
        m.d.comb += windows.in_window.eq(data)
        return m

    def _copy(
        self, m: Module, name: str, written: Value, blank: int, enable: Value, group: Value, slot: Value
    ) -> Value:
        """Add a memory of what is ``written``, or of bits ``blank``. Returns the data of its read port."""
        store, width, rows = self.store, self.fields.group, self.chip.array_rows
        stride = ceil_log2(self.fields.depth)
        m.submodules[name] = memory = Memory(shape=width, depth=self.chip.slots << stride, init=[])
        parts = width // rows
        write, read = memory.write_port(granularity=rows if parts > 1 else None), memory.read_port()
        m.d.comb += [
            write.addr.eq(Cat(self.blank.group[:stride], self.blank.slot)),
            write.data.eq(blank * ((1 << width) - 1)),
            write.en.eq(self.blank.write.replicate(parts)),
            read.en.eq(enable),
            read.addr.eq(Cat(group[:stride], slot)),
        ]
        with m.If(store.write):
            m.d.comb += [
                write.addr.eq(Cat(store.group[:stride], store.slot)),
                write.data.eq(written.replicate(parts)),
                write.en.eq(1 << store.part if parts > 1 else 1),
            ]
        return read.data
