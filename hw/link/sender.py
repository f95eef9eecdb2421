"""The frame sender: turns answers into frames."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from popflip.hw.link.codec import CHECKED_BYTES, HEADER_BYTES, SYNC, TRAILER_BYTES
from popflip.hw.link.commands import SESSION_BYTES, Result
from popflip.hw.link.crc import Crc32

ANSWER_HEADER = data.StructLayout({"sequence": 8, "result": Result, "length": 16, "open": 1})
"""Header of an answer; ``length`` is that of its payload in bytes, :data:`SESSION_BYTES` at least if it is open."""


class FrameSender(wiring.Component):
    """Sends an answer as a frame: a header and the payload that follows it.

    The frame is one of ``session``, unless it is open. The payload of an open one begins with ``session``, which
    replaces the first bytes of ``payload``.

    Members
    -------
    ``header`` : In(stream of :data:`ANSWER_HEADER`)
        Ready once the previous frame has left.
    ``payload`` : In(stream of 8)
        ``length`` bytes after each header.
    ``session`` : In(32)
        Number of the session; changes only between frames.
    ``tx`` : Out(stream of 8)

    Throughput: a byte a cycle. Latency: the first byte is offered one cycle after its header.
    """

    def __init__(self):
        super().__init__(
            {
                "header": In(stream.Signature(ANSWER_HEADER)),
                "payload": In(stream.Signature(8)),
                "session": In(32),
                "tx": Out(stream.Signature(8)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        header, payload, tx = self.header, self.payload, self.tx
        m.submodules.crc = crc = Crc32()

        sent = Signal()
        phase = Signal(range(HEADER_BYTES))
        answer = Signal(ANSWER_HEADER)  # `length` counts the payload bytes still to come
        session_byte = Signal(8)  # byte 0 in phase 1 … byte 3 in phase 4
        mask = Signal(8)
        m.d.comb += [
            sent.eq(tx.valid & tx.ready),
            session_byte.eq(self.session.rotate_left(8).word_select(phase[:2], 8)),
            crc.data.eq(tx.payload ^ mask),
        ]

        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [header.ready.eq(1), crc.start.eq(1)]
                m.d.sync += [phase.eq(0), answer.eq(header.payload)]
                with m.If(header.valid):
                    m.next = "HEADER"
            with m.State("HEADER"):
                m.d.comb += tx.valid.eq(1)
                content = [SYNC, answer.sequence, answer.result, answer.length[:8], answer.length[8:], crc.crc[:8]]
                with m.Switch(phase):
                    for index, byte in enumerate(content):
                        with m.Case(index):
                            m.d.comb += tx.payload.eq(byte)
                # A CRC adds its first four bytes to its start, so this equals a CRC that starts from the session.
                with m.If(~answer.open & (phase <= CHECKED_BYTES)):
                    m.d.comb += mask.eq(session_byte)
                with m.If(sent):
                    m.d.sync += phase.eq(phase + 1)
                    m.d.comb += crc.valid.eq(phase != 0)
                    with m.If(phase == HEADER_BYTES - 1):
                        m.d.sync += phase.eq(answer.open)
                        with m.If(answer.length == 0):
                            m.next = "TRAILER"
                        with m.Else():
                            m.next = "PAYLOAD"
            with m.State("PAYLOAD"):
                m.d.comb += [
                    tx.valid.eq(payload.valid),
                    tx.payload.eq(Mux(phase != 0, session_byte, payload.payload)),
                    payload.ready.eq(tx.ready),
                    crc.valid.eq(sent),
                ]
                with m.If(sent):
                    m.d.sync += answer.length.eq(answer.length - 1)
                    with m.If(phase != 0):
                        m.d.sync += phase.eq(Mux(phase == SESSION_BYTES, 0, phase + 1))
                    with m.If(answer.length == 1):
                        m.next = "TRAILER"
            with m.State("TRAILER"):
                m.d.comb += [tx.valid.eq(1), tx.payload.eq(crc.crc.word_select(phase[:2], 8))]
                with m.If(sent):
                    m.d.sync += phase.eq(phase + 1)
                    with m.If(phase == TRAILER_BYTES - 1):
                        m.next = "IDLE"
        return m
