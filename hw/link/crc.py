"""CRC-32 of the bytes of a frame."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from popflip.hw.common.signature import crc_step

ONES = 2**32 - 1
RESIDUE = 0xDEBB20E3
"""Remainder after a message and its own CRC, whatever the message."""


class Crc32(wiring.Component):
    """``zlib.crc32`` of the bytes since ``start``, one a cycle.

    Half the logic of ``amaranth.lib.crc``: a start does not coincide with a byte, and the sums are shared.

    Members
    -------
    ``start`` : In(1)
        Forgets the bytes before; not together with ``valid``.
    ``valid`` : In(1), ``data`` : In(8)
        The next byte.
    ``crc`` : Out(32), ``match`` : Out(1)
        From the next cycle on. ``match``: the last four bytes are the CRC, lowest byte first, of those before them.
    """

    def __init__(self):
        super().__init__({"start": In(1), "valid": In(1), "data": In(8), "crc": Out(32), "match": Out(1)})

    def elaborate(self, platform) -> Module:
        m = Module()
        remainder = Signal(32, init=ONES)
        m.d.comb += [self.crc.eq(~remainder), self.match.eq(remainder == RESIDUE)]
        with m.If(self.start):
            m.d.sync += remainder.eq(ONES)
        with m.Elif(self.valid):
            m.d.sync += remainder.eq(crc_step(m, remainder, self.data))
        return m
