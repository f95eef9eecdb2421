"""The frame receiver: finds frames in the byte stream and checks them."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from popflip.hw.link.buffer import BufferWriteSignature
from popflip.hw.link.codec import CHECKED_BYTES, SYNC, TRAILER_BYTES
from popflip.hw.link.commands import Result
from popflip.hw.link.crc import Crc32


class FrameReceiver(wiring.Component):
    """Stores each frame of a byte stream in the packet buffer, with a verdict.

    An entry is the verdict (:class:`Result`), the four header bytes after SYNC, and the payload. After a bad header or
    a length over ``longest`` the entry has no payload, and the search for SYNC continues behind the header.

    Members
    -------
    ``rx`` : In(stream of 8)
        Not ready in the cycle that stores a verdict, nor while the buffer is full.
    ``buffer`` : Out(BufferWriteSignature)

    Throughput: a byte a cycle. Latency: the verdict is committed two cycles after a frame's last byte.
    """

    def __init__(self, longest: int):
        self.longest = longest
        super().__init__({"rx": In(stream.Signature(8)), "buffer": Out(BufferWriteSignature())})

    def elaborate(self, platform) -> Module:
        m = Module()
        rx, buffer = self.rx, self.buffer
        m.submodules.crc = crc = Crc32()

        take = Signal()
        phase = Signal(range(CHECKED_BYTES + 1))
        left = Signal(16)  # the length, then the payload bytes still to come
        verdict = Signal(Result)
        m.d.comb += [
            take.eq(rx.valid & rx.ready),
            buffer.data.eq(rx.payload),
            crc.data.eq(rx.payload),
        ]

        with m.FSM():
            with m.State("HUNT"):
                m.d.comb += [rx.ready.eq(~buffer.full), crc.start.eq(1)]
                m.d.sync += [phase.eq(0), verdict.eq(Result.OK)]
                with m.If(take & (rx.payload == SYNC)):
                    m.d.comb += buffer.write.eq(1)  # reserves the byte of the verdict
                    m.next = "HEADER"
            with m.State("HEADER"):
                m.d.comb += [rx.ready.eq(~buffer.full), crc.valid.eq(take)]
                with m.If(take):
                    m.d.sync += phase.eq(phase + 1)
                    with m.If(phase != CHECKED_BYTES):
                        m.d.comb += buffer.write.eq(1)
                        m.d.sync += left.eq(Cat(left[8:], rx.payload))
                    with m.Else():
                        m.d.sync += phase.eq(0)
                        with m.If(rx.payload != crc.crc[:8]):
                            m.d.sync += verdict.eq(Result.BAD_HEADER)
                            m.next = "VERDICT"
                        with m.Elif(left > self.longest):
                            m.d.sync += verdict.eq(Result.TOO_LONG)
                            m.next = "VERDICT"
                        with m.Elif(left == 0):
                            m.next = "TRAILER"
                        with m.Else():
                            m.next = "PAYLOAD"
            with m.State("PAYLOAD"):
                m.d.comb += [rx.ready.eq(~buffer.full), crc.valid.eq(take), buffer.write.eq(take)]
                with m.If(take):
                    m.d.sync += left.eq(left - 1)
                    with m.If(left == 1):
                        m.next = "TRAILER"
            with m.State("TRAILER"):
                m.d.comb += [rx.ready.eq(1), crc.valid.eq(take)]
                with m.If(take):
                    m.d.sync += phase.eq(phase + 1)
                    with m.If(phase == TRAILER_BYTES - 1):
                        m.next = "VERDICT"
            with m.State("VERDICT"):
                m.d.comb += [
                    buffer.commit.eq(1),
                    buffer.data.eq(Mux((verdict != Result.OK) | crc.match, verdict, Result.BAD_CRC)),
                ]
                m.next = "HUNT"
        return m
