"""Small parts for Amaranth streams and pipelines."""

from __future__ import annotations

from amaranth.hdl import Array, Module, Mux, ShapeLike, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out


def delayed(m: Module, value, cycles: int):
    """``value`` as it was ``cycles`` ago, through as many registers."""
    for _ in range(cycles):
        before, value = value, Signal.like(value, name="delayed", name_suffix="")
        m.d.sync += value.eq(before)
    return value


class Queue(wiring.Component):
    """A first-in first-out queue in flip-flops, for a few narrow entries where a block of memory would be wasted.

    Members
    -------
    ``i`` : In(stream.Signature(shape)), ``o`` : Out(stream.Signature(shape))
        An entry leaves :attr:`latency` cycles after it came at the earliest. Full throughput: a queue that is full
        takes no entry in the cycle in which one leaves, so use a depth of at least 2.
    """

    latency = 1

    def __init__(self, shape: ShapeLike, depth: int):
        self.depth = depth
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform) -> Module:
        m = Module()
        entries = Array(Signal.like(self.i.payload, name=f"entry{index}") for index in range(self.depth))
        head = Signal(range(self.depth))
        tail = Signal(range(self.depth))
        level = Signal(range(self.depth + 1))

        put = self.i.valid & self.i.ready
        get = self.o.valid & self.o.ready
        m.d.comb += [
            self.i.ready.eq(level != self.depth),
            self.o.valid.eq(level != 0),
            self.o.payload.eq(entries[head]),
        ]
        m.d.sync += level.eq(level + put - get)
        with m.If(put):
            m.d.sync += [entries[tail].eq(self.i.payload), tail.eq(_next(tail, self.depth))]
        with m.If(get):
            m.d.sync += head.eq(_next(head, self.depth))
        return m


def _next(index: Signal, depth: int):
    return Mux(index == depth - 1, 0, index + 1)
