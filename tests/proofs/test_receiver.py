"""Proofs that the frame receiver never acts on a bad frame, and takes every good one.

Run by ``make proof``; not part of the default run of the tests.
"""

from __future__ import annotations

from types import ModuleType

import pytest
from amaranth.hdl import Assert, Cat, Module, Mux, Signal, Value
from formal import Verdict, inputs_of, missing_tools, mutant, opened, prove

from popflip.hw.link import crc, receiver
from popflip.hw.link.codec import CHECKED_BYTES, HEADER_BYTES, SYNC, TRAILER_BYTES
from popflip.hw.link.commands import Result

pytestmark = [
    pytest.mark.proof,
    pytest.mark.skipif(
        bool(missing_tools()), reason=f"not installed: {', '.join(missing_tools())} (extras build, proof)"
    ),
]

LONGEST = 2
"""Payload bytes of a frame, at most: enough for a first, a middle and a last byte with the trailer."""
POLYNOMIAL = 0xEDB88320


def crc_of(m: Module, remainder: Value, byte: Value) -> Value:
    """The remainder of CRC-32 after ``byte``, by its definition: bit by bit."""
    state = (remainder ^ byte)[:32]
    for _ in range(8):
        after = Signal(32)
        m.d.comb += after.eq(Mux(state[0], POLYNOMIAL, 0) ^ (state >> 1))
        state = after
    return state


def trailer_proof() -> tuple[Module, list[Value]]:
    """The remainder after four bytes is :data:`.crc.RESIDUE` exactly if they are the CRC of what came before them."""
    m = Module()
    remainder, trailer = Signal(32), Signal(32)
    after: Value = remainder
    for place in range(0, 32, 8):
        after = crc_of(m, after, trailer[place : place + 8])
    m.d.comb += Assert((after == crc.RESIDUE) == (trailer == (~remainder)[:32]))
    return m, [remainder, trailer]


class Observer:
    """Follows the bytes of the stream by the definition of a frame, apart from the receiver.

    ``place``: bytes of the frame so far, 0 between frames. ``ended``: all came. ``bad_check``, ``too_long``: its check
    is wrong, or its length too long. ``remainder``: the CRC of the bytes behind SYNC, from the session in which SYNC
    came. ``length``: the last two bytes before the check. ``epoch``: that of SYNC. ``written``: bytes of the entry.
    """

    def __init__(self, m: Module, dut: receiver.FrameReceiver):
        self.taken = dut.rx.valid & dut.rx.ready
        byte = dut.rx.payload
        self.place, self.length = Signal(5), Signal(16)
        self.remainder = Signal(32)
        self.bad_check, self.too_long, self.epoch, self.ended = Signal(), Signal(), Signal(), Signal()
        self.written = Signal(5)
        after = crc_of(m, self.remainder, byte)
        self.last = HEADER_BYTES + self.length[:2] + TRAILER_BYTES - 1
        m.d.sync += self.written.eq(Mux(dut.buffer.commit, 0, self.written + dut.buffer.write))
        with m.If(dut.buffer.commit):
            m.d.sync += [self.place.eq(0), self.bad_check.eq(0), self.too_long.eq(0), self.ended.eq(0)]
        with m.Elif(self.taken & (self.place == 0)), m.If(byte == SYNC):
            m.d.sync += [self.place.eq(1), self.remainder.eq(~dut.session), self.epoch.eq(dut.epoch)]
        with m.Elif(self.taken):
            m.d.sync += [self.place.eq(self.place + 1), self.remainder.eq(after)]
            with m.If(self.place <= CHECKED_BYTES):
                m.d.sync += self.length.eq(Cat(self.length[8:], byte))
            with m.If(self.place == HEADER_BYTES - 1):
                wrong = byte != (~self.remainder)[:8]
                too_long = ~wrong & (self.length > LONGEST)
                m.d.sync += [self.bad_check.eq(wrong), self.too_long.eq(too_long), self.ended.eq(wrong | too_long)]
            with m.If((self.place >= HEADER_BYTES) & (self.place == self.last)):
                m.d.sync += self.ended.eq(1)

    @property
    def verdict(self) -> Value:
        """The result that the frame deserves once it has ended."""
        whole = Mux(self.remainder == crc.RESIDUE, Result.OK, Result.BAD_CRC)
        return Mux(self.bad_check, Result.BAD_HEADER, Mux(self.too_long, Result.TOO_LONG, whole))


def receiver_proof(module: ModuleType) -> tuple[Module, list[Value]]:
    """Whatever bytes come, with whatever stalls, and whenever the session changes: the verdict of each frame is the one
    that its bytes deserve, in the session and epoch in which its SYNC came. The entry holds its bytes.
    """
    m = Module()
    dut = module.FrameReceiver(LONGEST)
    state = opened(m, dut)
    buffer, seen = dut.buffer, Observer(m, dut)
    hunt, header, payload, trailer, verdict = (
        state["fsm_state"] == code(state["fsm_state"], name)
        for name in ("HUNT", "HEADER", "PAYLOAD", "TRAILER", "VERDICT")
    )
    told = module.VERDICT(buffer.data[: module.VERDICT.size])
    m.d.comb += [
        # What must be so.
        Assert(~buffer.write | ~buffer.full),
        Assert(~(buffer.write & buffer.commit)),
        Assert(~buffer.write | (seen.taken & (buffer.data == dut.rx.payload))),
        Assert(buffer.commit == seen.ended),
        Assert(~buffer.commit | (told.result == seen.verdict)),
        Assert(~buffer.commit | (told.epoch == seen.epoch)),
        Assert(~buffer.commit | (seen.written == 5 + Mux(seen.bad_check | seen.too_long, 0, seen.length[:2]))),
        # How the receiver's registers follow the observer's: the states from which induction starts.
        Assert(hunt | header | payload | trailer | verdict),
        Assert(hunt == (seen.place == 0)),
        Assert(header == ((seen.place > 0) & (seen.place < HEADER_BYTES))),
        Assert(verdict == seen.ended),
        Assert(payload == (body(seen) & (seen.place < HEADER_BYTES + seen.length[:2]))),
        Assert(trailer == (body(seen) & (seen.place >= HEADER_BYTES + seen.length[:2]))),
        Assert(~header | (state["phase"] == seen.place - 1)),
        Assert(~trailer | (state["phase"] == seen.place - HEADER_BYTES - seen.length[:2])),
        Assert(~payload | (state["phase"] == 0)),
        Assert(~header | (seen.place < 2) | (state["left"][8:] == seen.length[8:])),
        Assert(~header | (seen.place < 3) | (state["left"] == seen.length)),
        Assert(~payload | (state["left"] == HEADER_BYTES + seen.length - seen.place)),
        Assert(hunt | verdict | (state["result"] == Result.OK)),
        Assert(~verdict | (state["result"] == Mux(seen.bad_check | seen.too_long, seen.verdict, Result.OK))),
        Assert(hunt | (state["epoch"] == seen.epoch)),
        Assert(hunt | (state["crc.remainder"] == seen.remainder)),
        Assert((seen.bad_check | seen.too_long) <= seen.ended),
        Assert(~(seen.bad_check & seen.too_long)),
        Assert((seen.place < HEADER_BYTES) | (seen.length <= LONGEST) | seen.bad_check | seen.too_long),
        Assert((seen.place <= HEADER_BYTES) | (seen.place <= seen.last + 1)),
        Assert(~body(seen) | (seen.place <= seen.last)),
        Assert(seen.written == Mux(seen.place > 5, 5 + stored(seen), seen.place)),
    ]
    return m, list(inputs_of(dut))


def body(seen: Observer) -> Value:
    """The payload or the trailer of a frame with a good header comes next."""
    return (seen.place >= HEADER_BYTES) & ~seen.ended


def stored(seen: Observer) -> Value:
    """Payload bytes in the entry so far."""
    came, whole = seen.place - HEADER_BYTES, seen.length[:2]
    return Mux(seen.bad_check | seen.too_long, 0, Mux(came < whole, came, whole)[:5])


def code(register: Signal, name: str) -> int:
    """The number of a state machine's state."""
    codes = {register.decoder(number).split("/")[0]: number for number in range(5)}
    return codes[name]


def test_the_trailer_is_the_crc(tmp_path):
    assert prove(*trailer_proof(), 1, tmp_path) == Verdict.PROVEN


def test_the_receiver_never_acts_on_a_bad_frame(tmp_path):
    assert prove(*receiver_proof(receiver), 2, tmp_path) == Verdict.PROVEN


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("crc.session.eq(self.session)", "crc.session.eq(0)"),
        ("crc.session.eq(self.session)", "crc.session.eq(self.session[:31])"),
        ("verdict.epoch.eq(epoch)", "verdict.epoch.eq(self.epoch)"),
        ("rx.payload != crc.crc[:8]", "rx.payload != crc.crc[8:16]"),
        ("(result != Result.OK) | crc.match", "(result != Result.OK) | 1"),
        ("left > self.longest", "left > self.longest + 1"),
        ("phase == TRAILER_BYTES - 1", "phase == TRAILER_BYTES - 2"),
        ("rx.ready.eq(~buffer.full), crc.start", "rx.ready.eq(1), crc.start"),
    ],
    ids=[
        "open frames",
        "half a session",
        "today's epoch",
        "another check",
        "no CRC",
        "too long",
        "cut short",
        "overflows",
    ],
)
def test_receiver_proof_finds_a_fault(tmp_path, old, new):
    assert prove(*receiver_proof(mutant(receiver, old, new)), 14, tmp_path) == Verdict.DISPROVED
