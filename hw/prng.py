"""Random words: the xorshift32 generator all of a run's randomness comes from (golden ``prng.Xorshift32``)."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out


class Prng(wiring.Component):
    """``x ^= x<<13; x ^= x>>17; x ^= x<<5`` (mod 2**32); the new ``x`` is the word drawn.

    Members
    -------
    ``load`` : In(1), ``load_state`` : In(32)
        Sets the state at the end of the cycle, whatever is drawn in it. Never 0, which xorshift does not leave.
    ``state`` : Out(32)
        The word drawn last.
    ``words`` : Out(stream of 32)
        The word that comes next; always valid.

    A word every cycle.
    """

    def __init__(self):
        super().__init__(
            {"load": In(1), "load_state": In(32), "state": Out(32, init=1), "words": Out(stream.Signature(32))}
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        first, second = Signal(32), Signal(32)
        m.d.comb += [
            first.eq(self.state ^ (self.state << 13)),
            second.eq(first ^ (first >> 17)),
            self.words.payload.eq(second ^ (second << 5)),
            self.words.valid.eq(1),
        ]
        with m.If(self.load):
            m.d.sync += self.state.eq(self.load_state)
        with m.Elif(self.words.ready):
            m.d.sync += self.state.eq(self.words.payload)
        return m
