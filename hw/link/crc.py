"""CRC-32 of a frame's bytes, one byte a cycle."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from popflip.hw.common.signature import crc_step

ONES = 2**32 - 1
RESIDUE = 0xDEBB20E3
"""The remainder after a message and its own CRC, the same for every message and every start."""


class Crc32(wiring.Component):
    """``zlib.crc32(bytes since start, session)``.

    Takes half the logic of ``amaranth.lib.crc``: ``start`` never coincides with a byte, and equal sums are shared.

    Members
    -------
    ``start`` : In(1), ``session`` : In(32)
        Discards all earlier bytes, and continues from ``session``. Never together with ``valid``.
    ``valid`` : In(1), ``data`` : In(8)
        The next byte.
    ``crc`` : Out(32), ``match`` : Out(1)
        Include a byte from the cycle after it. ``match``: the last four bytes are the CRC of all bytes before them,
        lowest byte first.
    """

    def __init__(self):
        super().__init__(
            {"start": In(1), "session": In(32), "valid": In(1), "data": In(8), "crc": Out(32), "match": Out(1)}
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        remainder = Signal(32, init=ONES)
        m.d.comb += [self.crc.eq(~remainder), self.match.eq(remainder == RESIDUE)]
        with m.If(self.start):
            m.d.sync += remainder.eq(~self.session)
        with m.Elif(self.valid):
            m.d.sync += remainder.eq(crc_step(m, remainder, self.data))
        return m
