"""Row lists: the rows of a layer that have an error, and their errors.

There are two lists. The sweep of a layer reads one list, and the errors that it computes, rows of the layer below, go
into the other::

    (row, δ) ─▶ list `writing` ─ the sweep of the layer ends: swap ─▶ list `reading` ─▶ (row, δ)

A sweep may begin while its list still grows; then both numbers name the same list.
"""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value
from amaranth.lib.memory import Memory
from amaranth.utils import ceil_log2

from popflip.hw.config import ChipConfig
from popflip.hw.layouts import row_layout


class RowLists:
    """A part of :class:`.learn.Learn`. It adds its logic to that component's module ``m``.

    Attributes
    ----------
    ``push`` : write port; with ``en``, ``data`` is appended to list ``writing``.
    ``pull`` : read port of list ``reading``; its data follow a cycle after :meth:`read`.
    ``complete`` : list ``reading`` is complete.
    ``position`` : the next row to read; ``first`` and ``last`` say whether it is the list's first or last row.
    ``available`` : it may be read. Until the list is complete, its newest row waits, because it may be the last one.
    """

    def __init__(self, m: Module, chip: ChipConfig):
        self._m = m
        self.reading = Signal()
        self.writing = Signal()
        self.complete = Signal()
        capacity = max([2, *chip.rows[1 if chip.learn_rows > 1 else 0 : -1]])
        self._index_bits = ceil_log2(capacity)
        m.submodules.rows = rows = Memory(shape=row_layout(chip), depth=2 << self._index_bits, init=[])
        push, pull = rows.write_port(), rows.read_port()
        self.push, self.pull = push, pull
        self._length = Array(Signal(range(capacity + 1), name=f"length{index}") for index in range(2))
        m.d.comb += self.push.addr.eq(Cat(self._length[self.writing][: self._index_bits], self.writing))
        with m.If(self.push.en):
            m.d.sync += self._length[self.writing].eq(self._length[self.writing] + 1)

        self.position = Signal(range(capacity + 1))
        self._end = self._length[self.reading]
        self.first = self.position == 0
        self.last = self.complete & (self.position + 1 == self._end)
        self.available = Mux(self.complete, self.position != self._end, self.position + 1 < self._end)

    @property
    def empty(self) -> Value:
        """Whether list ``reading`` has no rows."""
        return self._end == 0

    def read(self, enable: Value) -> None:
        """Read the row at ``position`` and go to the next one, with ``enable``."""
        m = self._m
        m.d.comb += [self.pull.en.eq(enable), self.pull.addr.eq(Cat(self.position[: self._index_bits], self.reading))]
        with m.If(enable):
            m.d.sync += self.position.eq(Mux(self.last, 0, self.position + 1))

    def clear(self) -> list:
        """Statements that empty both lists. List ``reading`` is written next."""
        return [
            self.complete.eq(0),
            self.writing.eq(self.reading),
            self._length[0].eq(0),
            self._length[1].eq(0),
            self.position.eq(0),
        ]

    def finish(self) -> list:
        """Statements that complete list ``reading``. The other one is emptied and written next."""
        return [
            self.complete.eq(1),
            self.writing.eq(~self.reading),
            self._length[~self.reading].eq(0),
        ]

    def append(self, row: Value, delta: int) -> list:
        """Combinational statements that append a row."""
        return [self.push.en.eq(1), self.push.data.row.eq(row), self.push.data.delta.eq(delta)]
