"""Random words: the xorshift32 generator, the source of all randomness in a run (golden ``prng.Xorshift32``)."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from popflip.golden.common.prng import Xorshift32


def steps(state: Value, count: int) -> list[Value]:
    """The ``count`` words after ``state``.

    A step is linear over GF(2): each bit of every later word is the parity of some bits of the state. So the logic of
    the last word is about as deep as that of the first.
    """
    images = []  # of each bit of the state, word after word
    for bit in range(32):
        prng = Xorshift32(1 << bit)
        images.append([prng.draw() for _ in range(count)])
    return [
        Cat(Cat(state[bit] for bit in range(32) if images[bit][step] >> place & 1).xor() for place in range(32))
        for step in range(count)
    ]


class Prng(wiring.Component):
    """``x ^= x<<13; x ^= x>>17; x ^= x<<5`` (mod 2**32); the new ``x`` is the word drawn.

    Parameters
    ----------
    most : int
        Most words drawn in a cycle.

    Members
    -------
    ``load`` : In(1), ``load_state`` : In(32)
        Sets the state at the end of the cycle, and takes precedence over a draw. Never 0, which xorshift cannot leave.
    ``state`` : Out(32)
        The word drawn last.
    ``words`` : Out(stream of 32 · most)
        The next words, the first one lowest; always valid.
    ``more`` : In(range(most))
        How many words are drawn besides the first when ``words`` is taken.

    Throughput: a draw every cycle.
    """

    def __init__(self, most: int = 1):
        self.most = most
        super().__init__(
            {
                "load": In(1),
                "load_state": In(32),
                "state": Out(32, init=1),
                "words": Out(stream.Signature(32 * most)),
                "more": In(range(most)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        words = [Signal(32, name=f"word{index}") for index in range(self.most)]
        m.d.comb += [word.eq(value) for word, value in zip(words, steps(self.state, self.most), strict=True)]
        m.d.comb += [self.words.payload.eq(Cat(words)), self.words.valid.eq(1)]
        with m.If(self.load):
            m.d.sync += self.state.eq(self.load_state)
        with m.Elif(self.words.ready):
            m.d.sync += self.state.eq(Array(words)[self.more])
        return m
