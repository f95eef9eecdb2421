"""Building blocks for Amaranth streams and pipelines."""

from __future__ import annotations

from amaranth.hdl import Array, Module, Mux, ShapeLike, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out


def delayed(m: Module, value, cycles: int):
    """``value`` as it was ``cycles`` cycles ago: a chain of as many registers."""
    for _ in range(cycles):
        before, value = value, Signal.like(value, name="delayed", name_suffix="")
        m.d.sync += value.eq(before)
    return value


class Queue(wiring.Component):
    """A first-in first-out queue in flip-flops, for a few narrow entries that would waste a block memory.

    Members
    -------
    ``i`` : In(stream.Signature(shape)), ``o`` : Out(stream.Signature(shape))
        An entry leaves :attr:`latency` cycles after it came at the earliest. A full queue takes no entry in the cycle
        in which one leaves, so full throughput needs a depth of 2.
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


class RegisteredQueue(Queue):
    """A :class:`Queue` for wide entries, cycle for cycle the same. Depth 2 or more.

    The first entry has a register of its own, and the others lie in a memory (LUT RAM where the FPGA has it), so that
    ``o`` passes no multiplexer.
    """

    def elaborate(self, platform) -> Module:
        m = Module()
        depth = self.depth - 1  # of the ring before the register
        head = Signal(range(depth))
        tail = Signal(range(depth))
        level = Signal(range(depth + 1))
        payload = Value.cast(self.i.payload)

        put = self.i.valid & self.i.ready
        free = ~self.o.valid | self.o.ready
        stays, get = put & ~(free & (level == 0)), free & (level != 0)
        if depth > 1:
            m.submodules.memory = memory = Memory(shape=len(payload), depth=depth, init=[])
            write, read = memory.write_port(), memory.read_port(domain="comb")
            # An entry that bypasses the ring is written too, and later overwritten.
            m.d.comb += [write.en.eq(put), write.addr.eq(tail), write.data.eq(payload), read.addr.eq(head)]
            first = read.data
        else:
            first = Signal(len(payload))
            with m.If(put):
                m.d.sync += first.eq(payload)
        m.d.comb += self.i.ready.eq(level != depth)
        m.d.sync += level.eq(level + stays - get)
        with m.If(stays):
            m.d.sync += tail.eq(_next(tail, depth))
        with m.If(get):
            m.d.sync += head.eq(_next(head, depth))
        with m.If(free):
            m.d.sync += [
                self.o.valid.eq((level != 0) | self.i.valid),
                Value.cast(self.o.payload).eq(Mux(level != 0, first, payload)),
            ]
        return m


def group_layout(item: ShapeLike, count: int, tag: ShapeLike) -> data.StructLayout:
    """A group of up to ``count`` items, lowest first, with a ``tag`` for all of them. ``final``: index of the last
    valid item. ``last``: the group is the last one of its frame."""
    return data.StructLayout({"items": data.ArrayLayout(item, count), "final": range(count), "last": 1, "tag": tag})


def item_layout(item: ShapeLike, tag: ShapeLike) -> data.StructLayout:
    """One item with its ``tag``. ``first``, ``last``: of its frame."""
    return data.StructLayout({"item": item, "first": 1, "last": 1, "tag": tag})


class Unroll(wiring.Component):
    """Turns groups into a stream of single items.

    Parameters
    ----------
    ahead : bool
        Compute a cycle ahead whether an item is its group's last. One more register makes the path shorter.

    Members
    -------
    ``i`` : In(stream of :func:`group_layout`), ``o`` : Out(stream of :func:`item_layout`)

    An item a cycle, without gaps between groups. A group's first item leaves :attr:`latency` cycles after the group
    came at the earliest.
    """

    latency = 1

    def __init__(self, item: ShapeLike, count: int, tag: ShapeLike, *, ahead: bool = False):
        self.item, self.count, self.ahead = item, count, ahead
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
        ends_group = Signal() if self.ahead else number == group.final
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
                *([ends_group.eq(number + 1 == group.final)] if self.ahead else []),
            ]
        with m.If(self.i.ready):
            m.d.sync += self.o.valid.eq(self.i.valid)
            with m.If(self.i.valid):
                m.d.sync += group.eq(self.i.payload)
                if self.ahead:
                    m.d.sync += ends_group.eq(self.i.payload.final == 0)
        return m


def _next(index: Signal, depth: int):
    return Mux(index == depth - 1, 0, index + 1)
