"""Popcount: the number of ones in N bits, a pipelined adder tree."""

from __future__ import annotations

from amaranth.hdl import Module, Signal, ValueLike
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

LEAF = 8
"""Bits counted before the first register."""


def add_tree(values: list[ValueLike]):
    """Sum of ``values``: a balanced, combinational tree of adders."""
    while len(values) > 1:
        values = [
            values[index] + values[index + 1] if index + 1 < len(values) else values[index]
            for index in range(0, len(values), 2)
        ]
    return values[0]


class Popcount(wiring.Component):
    """``o = Σ i[b]``.

    Parameters
    ----------
    width : int
        Bits counted.

    Members
    -------
    ``i`` : In(width), ``o`` : Out(range(width + 1))

    Latency :attr:`latency` cycles: a register after groups of 8 bits and, with more than one group, one after their
    sum. A result every cycle.
    """

    def __init__(self, width: int):
        self.width = width
        self.latency = latency(width)
        super().__init__({"i": In(width), "o": Out(range(width + 1))})

    def elaborate(self, platform) -> Module:
        m = Module()
        counts = []
        for start in range(0, self.width, LEAF):
            bits = self.i[start : start + LEAF]
            count = Signal(range(len(bits) + 1), name=f"count{start}")
            m.d.sync += count.eq(add_tree(list(bits)))
            counts.append(count)
        if len(counts) == 1:
            m.d.comb += self.o.eq(counts[0])
        else:
            m.d.sync += self.o.eq(add_tree(counts))
        return m


def latency(width: int) -> int:
    """Cycles from ``width`` bits to their count."""
    return 1 if width <= LEAF else 2
