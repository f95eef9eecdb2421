"""Small parts for Amaranth streams and pipelines."""

from __future__ import annotations

from amaranth.hdl import Array, Module, Mux, ShapeLike, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out


def delayed(m: Module, value, cycles: int):
    """``value`` as it was ``cycles`` ago, through as many registers."""
    for _ in range(cycles):
        before, value = value, Signal.like(value, name="delayed", name_suffix="")
        m.d.sync += value.eq(before)
    return value


class Queue(wiring.Component):
    """A first-in first-out queue in flip-flops, for a few narrow entries where a block of memory would be wasted.

    Parameters
    ----------
    depth : int
        Entries it holds.
    registered : bool
        The first entry has a register of its own, so that no choice between entries lies behind ``o``, and the others
        are words of a memory where there is one so small; depth 2 or more. No cycle differs.

    Members
    -------
    ``i`` : In(stream.Signature(shape)), ``o`` : Out(stream.Signature(shape))
        An entry leaves :attr:`latency` cycles after it came at the earliest. Full throughput: a queue that is full
        takes no entry in the cycle in which one leaves, so use a depth of at least 2.
    """

    latency = 1

    def __init__(self, shape: ShapeLike, depth: int, *, registered: bool = False):
        self.depth, self.registered = depth, registered
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform) -> Module:
        m = Module()
        depth = self.depth - self.registered  # of the ring
        head = Signal(range(depth))
        tail = Signal(range(depth))
        level = Signal(range(depth + 1))

        taken = self.i.valid & self.i.ready
        if self.registered and depth > 1:
            m.submodules.memory = memory = Memory(shape=len(Value.cast(self.i.payload)), depth=depth, init=[])
            write, read = memory.write_port(), memory.read_port(domain="comb")
            m.d.comb += [write.en.eq(taken), write.addr.eq(tail), write.data.eq(self.i.payload), read.addr.eq(head)]
            first = read.data
        else:
            entries = Array(Signal.like(self.i.payload, name=f"entry{index}") for index in range(depth))
            with m.If(taken):
                m.d.sync += entries[tail].eq(self.i.payload)
            first = entries[head]
        if self.registered:  # what comes past the ring is written there too, and overwritten
            free = ~self.o.valid | self.o.ready
            put, get = taken & ~(free & (level == 0)), free & (level != 0)
            with m.If(free):
                m.d.sync += [
                    self.o.valid.eq((level != 0) | self.i.valid),
                    Value.cast(self.o.payload).eq(Mux(level != 0, first, self.i.payload)),
                ]
        else:
            put, get = taken, self.o.valid & self.o.ready
            m.d.comb += [self.o.valid.eq(level != 0), self.o.payload.eq(first)]
        m.d.comb += self.i.ready.eq(level != depth)
        m.d.sync += level.eq(level + put - get)
        with m.If(put):
            m.d.sync += tail.eq(_next(tail, depth))
        with m.If(get):
            m.d.sync += head.eq(_next(head, depth))
        return m


def group_layout(item: ShapeLike, count: int, tag: ShapeLike) -> data.StructLayout:
    """Up to ``count`` items, lowest first, and what belongs to all of them. ``final``: number of the last one that
    means something. ``last``: no more groups belong together with this one."""
    return data.StructLayout({"items": data.ArrayLayout(item, count), "final": range(count), "last": 1, "tag": tag})


def item_layout(item: ShapeLike, tag: ShapeLike) -> data.StructLayout:
    """An item of a group; ``first`` and ``last`` of the groups that belong together."""
    return data.StructLayout({"item": item, "first": 1, "last": 1, "tag": tag})


class Unroll(wiring.Component):
    """Groups of items become a stream of single ones.

    Members
    -------
    ``i`` : In(stream of :func:`group_layout`), ``o`` : Out(stream of :func:`item_layout`)

    An item a cycle, without a gap between groups; an item leaves :attr:`latency` cycles after its group came at the
    earliest.
    """

    latency = 1

    def __init__(self, item: ShapeLike, count: int, tag: ShapeLike):
        self.item, self.count = item, count
        super().__init__(
            {
                "i": In(stream.Signature(group_layout(item, count, tag))),
                "o": Out(stream.Signature(item_layout(item, tag))),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        group = Signal.like(self.i.payload)
        number = Signal(range(self.count))
        first = Signal(init=1)
        ends_group = number == group.final
        items = group.items.as_value()
        taken = self.o.valid & self.o.ready
        m.d.comb += [
            self.i.ready.eq(~self.o.valid | (taken & ends_group)),
            self.o.payload.item.eq(group.items[0]),
            self.o.payload.first.eq(first),
            self.o.payload.last.eq(ends_group & group.last),
            self.o.payload.tag.eq(group.tag),
        ]
        with m.If(taken):
            m.d.sync += [
                items.eq(items >> len(items) // self.count),
                number.eq(Mux(ends_group, 0, number + 1)),
                first.eq(self.o.payload.last),
            ]
        with m.If(self.i.ready):
            m.d.sync += self.o.valid.eq(self.i.valid)
            with m.If(self.i.valid):
                m.d.sync += group.eq(self.i.payload)
        return m


def _next(index: Signal, depth: int):
    return Mux(index == depth - 1, 0, index + 1)
