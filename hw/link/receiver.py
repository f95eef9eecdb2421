"""The frame receiver: finds frames in the byte stream and checks them."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from popflip.hw.link.buffer import BufferWriteSignature
from popflip.hw.link.codec import CHECKED_BYTES, SYNC, TRAILER_BYTES
from popflip.hw.link.commands import Result
from popflip.hw.link.crc import Crc32

VERDICT = data.StructLayout({"result": Result, "epoch": 1})
"""First byte of an entry: the outcome of the frame's checks, and the ``epoch`` of its session."""


class FrameReceiver(wiring.Component):
    """Stores each frame of a byte stream in the packet buffer, with a verdict.

    An entry is the verdict (:data:`VERDICT`), the four header bytes after SYNC, and the payload. After a bad header or
    a length over ``longest`` the entry has no payload, and the search for SYNC continues behind the header. So it may
    find a frame inside a payload; that one fails its checks unless its author knew the session.

    Members
    -------
    ``rx`` : In(stream of 8)
        Not ready in the cycle that stores a verdict, nor while the buffer is full.
    ``session`` : In(32), ``epoch`` : In(1)
        Number of the session, 0 for none; a bit that changes whenever the number does. A frame belongs to the session
        in which its SYNC came.
    ``buffer`` : Out(BufferWriteSignature)

    Throughput: a byte a cycle. Latency: the verdict is committed two cycles after a frame's last byte.
    """

    def __init__(self, longest: int):
        self.longest = longest
        super().__init__(
            {
                "rx": In(stream.Signature(8)),
                "session": In(32),
                "epoch": In(1),
                "buffer": Out(BufferWriteSignature()),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        rx, buffer = self.rx, self.buffer
        m.submodules.crc = crc = Crc32()

        take = Signal()
        phase = Signal(range(CHECKED_BYTES + 1))
        left = Signal(16)  # the length, then the payload bytes still to come
        result = Signal(Result)
        epoch = Signal()
        verdict = Signal(VERDICT)
        m.d.comb += [
            crc.session.eq(self.session),
            verdict.result.eq(Mux((result != Result.OK) | crc.match, result, Result.BAD_CRC)),
            verdict.epoch.eq(epoch),
            take.eq(rx.valid & rx.ready),
            buffer.data.eq(rx.payload),
            crc.data.eq(rx.payload),
        ]

        with m.FSM():
            with m.State("HUNT"):
                m.d.comb += [rx.ready.eq(~buffer.full), crc.start.eq(1)]
                m.d.sync += [phase.eq(0), result.eq(Result.OK), epoch.eq(self.epoch)]
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
                            m.d.sync += result.eq(Result.BAD_HEADER)
                            m.next = "VERDICT"
                        with m.Elif(left > self.longest):
                            m.d.sync += result.eq(Result.TOO_LONG)
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
                m.d.comb += [buffer.commit.eq(1), buffer.data.eq(verdict)]
                m.next = "HUNT"
        return m
