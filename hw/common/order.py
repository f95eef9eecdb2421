"""The chip's order of a stored set, number by number (golden ``order.permutation``)."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from popflip.golden.common.order import KEY_WORDS, MOST, ROUNDS, width


def start_layout(most: int) -> data.StructLayout:
    """A run through an order. ``highest``: the set's last sample, count − 1. ``first`` and ``last``: places in the
    order, ``first`` ≤ ``last`` ≤ ``highest``."""
    number = range(most)
    return data.StructLayout({"highest": number, "first": number, "last": number})


def scramble(half: Value, key: Value) -> Value:
    """The round function, 16 bits."""
    mixed = Value.cast(half ^ key)
    added = (mixed + (mixed << 7))[:16]
    folded = added ^ (added >> 6)
    again = (folded + (folded << 3))[:16]
    return again ^ (again >> 8)


class Order(wiring.Component):
    """A Feistel network on the even and the odd bits of a number, a round a cycle, and cycle walking.

    Parameters
    ----------
    most : int
        Most samples of a set.

    Members
    -------
    ``start`` : In(stream of :func:`start_layout`)
        Taken when the last number of the run before has left the network.
    ``load`` : In(1), ``word`` : In(32)
        ``load`` takes a word of the key; the last :data:`KEY_WORDS` words count. Only between runs.
    ``o`` : Out(stream of ``number`` and ``last``)
        The samples at places ``first`` to ``last``.

    A pass through the network takes :attr:`pass_cycles`; a number takes fewer than two passes on average, if the set
    has more than two samples. The next number is made while one waits.
    """

    pass_cycles = ROUNDS + 1  # and one cycle that compares with the highest number

    def __init__(self, most: int = MOST):
        self.bits = width(most)
        number = range(most)
        super().__init__(
            {
                "start": In(stream.Signature(start_layout(most))),
                "load": In(1),
                "word": In(32),
                "o": Out(stream.Signature(data.StructLayout({"number": number, "last": 1}))),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        run = Signal.like(self.start.payload)
        keys = Signal(32 * KEY_WORDS)  # the next round's lowest; they go round once in a pass
        mask, value = Signal(self.bits, name="mask"), Signal(self.bits, name="value")
        step = Signal(range(ROUNDS))
        number, free = self.o.payload.number, ~self.o.valid | self.o.ready
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.start.ready.eq(1)
                m.d.sync += [run.eq(self.start.payload), step.eq(0), value.eq(self.start.payload.first)]
                with m.If(self.load):
                    m.d.sync += keys.eq(Cat(keys[32:], self.word))
                with m.If(self.start.valid):
                    m.next = "MASK"
            with m.State("MASK"):
                highest = run.highest
                m.d.sync += mask.eq(Cat(*(highest[place:].any() for place in range(self.bits))) | 0b11)
                m.next = "ROUND"
            with m.State("ROUND"):
                self._round(m, value, mask, keys, step[0])
                m.d.sync += [keys.eq(keys.rotate_right(16)), step.eq(step + 1)]
                with m.If(step == ROUNDS - 1):
                    m.d.sync += step.eq(0)
                    m.next = "COMPARE"
            with m.State("COMPARE"):
                with m.If(value > run.highest):
                    m.next = "ROUND"
                with m.Elif(free):
                    m.d.sync += [number.eq(value), self.o.payload.last.eq(run.first == run.last), self.o.valid.eq(1)]
                    m.d.sync += [run.first.eq(run.first + 1), value.eq(run.first + 1)]
                    m.next = "ROUND"
                    with m.If(run.first == run.last):
                        m.next = "IDLE"
        return m

    def _round(self, m: Module, value: Value, mask: Value, keys: Value, odd_half: Value) -> None:
        """Change the odd bits from the even ones, or the other way round."""
        even, odd = value[0::2], value[1::2]
        mixed = scramble(Mux(odd_half, odd, even), keys[:16])
        with m.If(odd_half):
            m.d.sync += even.eq(even ^ (mixed & mask[0::2]))
        with m.Else():
            m.d.sync += odd.eq(odd ^ (mixed & mask[1::2]))
