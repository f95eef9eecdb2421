"""Frames on the link: their format, as data the host and the protocol page share, and the two components at its ends.

A frame, either way::

    SYNC · sequence u8 · command u8 (answer: result u8) · length u16 · check u8 │ payload │ CRC-32

Numbers are little-endian. The CRC-32 covers everything between it and SYNC. The check is the lowest byte of the CRC-32
of the four bytes before it: a damaged length is found before it swallows what follows.

A request runs only when both match, its sequence number is the one expected and every value in it is valid; otherwise
it changes nothing and the answer says why. An accepted request moves the expected number on by one.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, fields
from typing import NamedTuple

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out

from popflip.golden.config import Precision, Rule
from popflip.golden.errors import ConfigError
from popflip.hw.config import ChipConfig
from popflip.hw.link.buffer import BufferWriteSignature
from popflip.hw.link.crc import Crc32

PROTOCOL_VERSION = 5
SYNC = 0xA5
HEADER_BYTES = 6
CHECKED_BYTES = 4  # between SYNC and the check
TRAILER_BYTES = 4
OVERHEAD = HEADER_BYTES + TRAILER_BYTES
MAX_LENGTH = 2**16 - 1


# Frames as bytes ------------------------------------------------------------------------------------------------------


class Frame(NamedTuple):
    """A request (``code`` is a :class:`Command`) or an answer (a :class:`Result`)."""

    sequence: int
    code: int
    payload: bytes


def encode(sequence: int, code: int, payload: bytes = b"") -> bytes:
    """A frame as bytes."""
    checked = struct.pack("<BBH", sequence, code, len(payload))
    body = checked + _check(checked) + payload
    return bytes([SYNC]) + body + struct.pack("<I", zlib.crc32(body))


def payload_length(header: bytes) -> int | None:
    """Payload bytes behind a header of :data:`HEADER_BYTES`; None if it is damaged or none."""
    if header[0] != SYNC or _check(header[1:-1]) != header[-1:]:
        return None
    return struct.unpack_from("<H", header, 3)[0]


def decode(frame: bytes) -> Frame | None:
    """Inverse of :func:`encode`; None if ``frame`` is damaged."""
    if len(frame) < OVERHEAD or payload_length(frame[:HEADER_BYTES]) != len(frame) - OVERHEAD:
        return None
    if zlib.crc32(frame[1:-TRAILER_BYTES]) != int.from_bytes(frame[-TRAILER_BYTES:], "little"):
        return None
    return Frame(frame[1], frame[2], bytes(frame[HEADER_BYTES:-TRAILER_BYTES]))


def _check(checked: bytes) -> bytes:
    return struct.pack("<B", zlib.crc32(checked) & 0xFF)


# What they say --------------------------------------------------------------------------------------------------------


class Command(enum.IntEnum, shape=5):
    """What a request asks for. Chips that do not know the last ones look at four bits."""

    IDENTIFY = 1
    CONFIGURE = 2
    RESET = 3
    TRAIN = 4
    INFER = 5
    END_BATCH = 6
    READ_WEIGHTS = 7
    WRITE_WEIGHTS = 8
    READ_COUNTERS = 9
    WRITE_COUNTERS = 10
    STATUS = 11
    CYCLES = 12
    SIGNATURE = 13
    STORE = 14
    TRAIN_STORED = 15
    TRAIN_PACKED = 16
    INFER_PACKED = 17


class Result(enum.IntEnum, shape=4):
    """How a request went: done, or why nothing was changed."""

    OK = 0
    BAD_HEADER = 1
    TOO_LONG = 2
    BAD_CRC = 3
    BAD_SEQUENCE = 4
    UNKNOWN_COMMAND = 5
    BAD_LENGTH = 6
    BAD_REGISTER = 7
    BAD_VALUE = 8
    BAD_LABEL = 9
    BAD_ADDRESS = 10


RESULTS: dict[Result, str] = {
    Result.OK: "done",
    Result.BAD_HEADER: "the header's check does not match",
    Result.TOO_LONG: "the payload is longer than the chip's buffer",
    Result.BAD_CRC: "the CRC-32 does not match",
    Result.BAD_SEQUENCE: "not the expected sequence number",
    Result.UNKNOWN_COMMAND: "no such command",
    Result.BAD_LENGTH: "the payload is not what the command takes, or the answer would not fit a frame",
    Result.BAD_REGISTER: "no such register",
    Result.BAD_VALUE: "a value outside its range",
    Result.BAD_LABEL: "a label that is not a class",
    Result.BAD_ADDRESS: "words or samples outside the memory",
}


@dataclass(frozen=True)
class Field:
    """A part of a payload: its name, type (``u8``, ``u16``, ``u32``, or bytes named in words), and meaning."""

    name: str
    type: str
    summary: str

    @property
    def size(self) -> int:
        """Bytes of a number."""
        return int(self.type[1:]) // 8


@dataclass(frozen=True)
class CommandFormat:
    """A command's payloads: ``request`` once, then ``item`` any number of times; ``answer`` to the whole.

    ``reads``: the answer carries what the chip holds, and nothing on the chip changes. ``waits``: the chip first
    finishes the samples and the end of batch before it.
    """

    command: Command
    summary: str
    request: tuple[Field, ...] = ()
    item: tuple[Field, ...] = ()
    answer: tuple[Field, ...] = ()
    reads: bool = False
    waits: bool = False

    @property
    def request_bytes(self) -> int:
        """Bytes before the items."""
        return sum(field.size for field in self.request)


_PREDICTION = Field("prediction", "label", "one a sample")
_ADDRESS = Field("address", "u32", "first word")
_COUNT = Field("count", "u16", "words")
_LABEL = Field("label", "label", "class")
_INPUTS = Field("inputs", "inputs", "bit `i` of byte `q` is input `8q + i`; bits past the last input are ignored")
_SIZE = Field("size", "size", "bytes of the item that follow")
_PACKED = Field("packed inputs", "packed", "at least one byte; see below")
_WEIGHTS = Field("weights", "weight word", "`N` weights; word `a` is in bank `a mod P` at address `a div P`")
_COUNTERS = Field("counters", "counter word", "`N` counters; word `a` is in bank `a mod Pc` at address `a div Pc`")
_WORD = Field("word", "u32", "one a status word")

COMMANDS: dict[Command, CommandFormat] = {
    format.command: format
    for format in (
        CommandFormat(
            Command.IDENTIFY,
            "What the chip is. Taken with any sequence number; the next one expected is one more.",
            answer=(Field("identity", "identity", "see below"),),
            reads=True,
        ),
        CommandFormat(
            Command.CONFIGURE,
            "Write registers.",
            item=(Field("register", "u8", "number"), Field("value", "u32", "two's complement if it can be negative")),
            waits=True,
        ),
        CommandFormat(
            Command.RESET,
            "Zero counters, status words and signature, and draw initial weights.",
            request=(Field("rng", "u32", "first xorshift32 state, not 0"),),
            waits=True,
        ),
        CommandFormat(
            Command.TRAIN,
            "Learn samples. Answered once they are on the chip, which is before they are learned.",
            item=(_LABEL, _INPUTS),
        ),
        CommandFormat(
            Command.INFER,
            "Classify samples.",
            item=(_INPUTS,),
            answer=(_PREDICTION,),
            reads=True,
        ),
        CommandFormat(Command.END_BATCH, "Select and flip (lbe: nothing). Answered once it has begun."),
        CommandFormat(
            Command.READ_WEIGHTS,
            "Read weight words.",
            request=(_COUNT, _ADDRESS),
            answer=(_WEIGHTS,),
            reads=True,
            waits=True,
        ),
        CommandFormat(Command.WRITE_WEIGHTS, "Write weight words.", request=(_ADDRESS,), item=(_WEIGHTS,), waits=True),
        CommandFormat(
            Command.READ_COUNTERS,
            "Read counter words.",
            request=(_COUNT, _ADDRESS),
            answer=(_COUNTERS,),
            reads=True,
            waits=True,
        ),
        CommandFormat(
            Command.WRITE_COUNTERS, "Write counter words.", request=(_ADDRESS,), item=(_COUNTERS,), waits=True
        ),
        CommandFormat(Command.STATUS, "Read all status words.", answer=(_WORD,), reads=True, waits=True),
        CommandFormat(Command.CYCLES, "Read the cycle counters.", answer=(_WORD,), reads=True, waits=True),
        CommandFormat(Command.SIGNATURE, "Read the flip signature.", answer=(_WORD,), reads=True, waits=True),
        CommandFormat(
            Command.STORE,
            "Keep samples on the chip. Only where there is a store.",
            request=(Field("first", "u32", "number of the first sample in the store; the others follow it"),),
            item=(_LABEL, _INPUTS),
        ),
        CommandFormat(
            Command.TRAIN_STORED,
            "TRAIN, with samples of the store. Only where there is one. A sample never stored is one nobody knows.",
            item=(Field("sample", "u16", "number of a sample in the store"),),
        ),
        CommandFormat(
            Command.TRAIN_PACKED,
            "TRAIN, with packed samples. Only where the chip takes them.",
            item=(_SIZE, _LABEL, _PACKED),
        ),
        CommandFormat(
            Command.INFER_PACKED,
            "INFER, with packed samples. Only where the chip takes them.",
            item=(_SIZE, _PACKED),
            answer=(_PREDICTION,),
            reads=True,
        ),
    )
}

STORE_COMMANDS = (Command.STORE, Command.TRAIN_STORED)
"""Unknown to a chip without a store."""
PACKED_COMMANDS = (Command.TRAIN_PACKED, Command.INFER_PACKED)
"""Unknown to a chip that does not take packed samples."""


def commands_of(chip: ChipConfig) -> dict[Command, CommandFormat]:
    """The commands ``chip`` knows."""
    unknown = (() if chip.store_samples else STORE_COMMANDS) + (() if chip.packs else PACKED_COMMANDS)
    return {key: value for key, value in COMMANDS.items() if key not in unknown}


REFUSAL: tuple[Field, ...] = (Field("expected", "u8", "the sequence number the chip expects next"),)
"""Payload of an answer whose result is not OK."""
REFUSAL_BYTES = sum(field.size for field in REFUSAL)

RULES: tuple[Rule, ...] = (Rule.GFT, Rule.LBE)
PRECISIONS: tuple[Precision, ...] = (Precision.BINARY, Precision.TERNARY)


@dataclass(frozen=True)
class Identity:
    """Answer to IDENTIFY: what was built. ``layers`` follow the fixed fields, u16 each, inputs first."""

    protocol: int
    rule: int
    precision: int
    slots: int
    mmax: int
    dclip: int
    array_rows: int
    array_synapses: int
    classes: int
    learn_rows: int
    buffer_bytes: int
    store_samples: int
    clock_hz: int
    build_hash: bytes
    layers: tuple[int, ...]

    FORMAT = "<4B6H3I8sB"
    FIELDS = (
        Field("protocol", "u8", "version of this page"),
        Field("rule", "u8", ", ".join(f"{index} {rule}" for index, rule in enumerate(RULES))),
        Field("precision", "u8", ", ".join(f"{index} {precision}" for index, precision in enumerate(PRECISIONS))),
        Field("slots", "u8", "samples on the chip at once"),
        Field("mmax", "u16", "counters saturate at ±mmax; lbe: at −mmax − 1 and mmax"),
        Field("dclip", "u16", "gft: largest |δ| of a hidden neuron"),
        Field("array_rows", "u16", "rows a cycle, `P`"),
        Field("array_synapses", "u16", "synapses a cycle, `N`"),
        Field("classes", "u16", "classes"),
        Field("learn_rows", "u16", "rows a cycle in learning, `Pc`"),
        Field("buffer_bytes", "u32", "packet buffer: how much may be unanswered"),
        Field("store_samples", "u32", "training samples the store holds; 0: there is none"),
        Field("clock_hz", "u32", "clock; 0: simulated"),
        Field("build_hash", "8 bytes", "first bytes of a SHA-256 over what it was built from"),
        Field("widths", "u8", "how many widths follow"),
        Field("layers", "u16 each", "inputs, then the neurons of each layer"),
    )

    @classmethod
    def of(cls, chip: ChipConfig, buffer_bytes: int, clock_hz: int, build_hash: bytes) -> Identity:
        """The identity of a chip with this shape."""
        return cls(
            protocol=PROTOCOL_VERSION,
            rule=RULES.index(chip.rule),
            precision=PRECISIONS.index(chip.precision),
            slots=chip.slots,
            mmax=chip.mmax,
            dclip=chip.dclip,
            array_rows=chip.array_rows,
            array_synapses=chip.array_synapses,
            classes=chip.classes,
            learn_rows=chip.learn_rows,
            buffer_bytes=buffer_bytes,
            store_samples=chip.store_samples,
            clock_hz=clock_hz,
            build_hash=build_hash,
            layers=chip.layers,
        )

    def pack(self) -> bytes:
        """The bytes on the link."""
        *fixed, layers = (getattr(self, field.name) for field in fields(self))
        return struct.pack(self.FORMAT, *fixed, len(layers)) + struct.pack(f"<{len(layers)}H", *layers)

    @classmethod
    def unpack(cls, payload: bytes) -> Identity:
        """Inverse of :meth:`pack`. :class:`ValueError` if ``payload`` is none."""
        size = struct.calcsize(cls.FORMAT)
        if len(payload) < size or len(payload) != size + 2 * payload[size - 1]:
            raise ValueError(f"{len(payload)} bytes are not an identity")
        *fixed, widths = struct.unpack_from(cls.FORMAT, payload)
        return cls(*fixed, struct.unpack_from(f"<{widths}H", payload, size))

    def chip(self) -> ChipConfig:
        """The shape of the chip. :class:`ConfigError` if it is none this program knows."""
        if self.rule >= len(RULES) or self.precision >= len(PRECISIONS):
            raise ConfigError("the chip learns by a rule or holds weights this version does not know: rebuild it")
        return ChipConfig(
            layers=self.layers,
            precision=PRECISIONS[self.precision],
            mmax=self.mmax,
            dclip=self.dclip,
            array_rows=self.array_rows,
            array_synapses=self.array_synapses,
            slots=self.slots,
            rule=RULES[self.rule],
            classes=self.classes,
            store_samples=self.store_samples,
            learn_rows=self.learn_rows,
        )


# In hardware ----------------------------------------------------------------------------------------------------------

ANSWER_HEADER = data.StructLayout({"sequence": 8, "result": Result, "length": 16})
"""What an answer starts with."""


class FrameReceiver(wiring.Component):
    """Finds frames in the byte stream and stores each in the packet buffer with a verdict.

    An entry is a verdict (:class:`Result`), the four header bytes after SYNC, and the payload. An entry with a bad
    header or a length over ``longest`` ends after the header; the search for SYNC goes on behind it.

    Members
    -------
    ``rx`` : In(stream of 8)
        Not ready in the cycle a verdict is stored, nor while the buffer is full.
    ``buffer`` : Out(BufferWriteSignature)

    One byte a cycle; an entry is committed two cycles after its frame's last byte.
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
        left = Signal(16)  # the length as it arrives, then payload bytes to come
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
                    m.d.comb += buffer.write.eq(1)  # keeps the verdict's place
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


class FrameSender(wiring.Component):
    """Makes an answer of a header and the payload that follows it.

    Members
    -------
    ``header`` : In(stream of :data:`ANSWER_HEADER`)
        Taken when the answer before it has been sent.
    ``payload`` : In(stream of 8)
        ``length`` bytes after each header.
    ``tx`` : Out(stream of 8)

    One byte a cycle, the first one cycle after its header.
    """

    def __init__(self):
        super().__init__(
            {
                "header": In(stream.Signature(ANSWER_HEADER)),
                "payload": In(stream.Signature(8)),
                "tx": Out(stream.Signature(8)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        header, payload, tx = self.header, self.payload, self.tx
        m.submodules.crc = crc = Crc32()

        sent = Signal()
        phase = Signal(range(HEADER_BYTES))
        answer = Signal(ANSWER_HEADER)  # `length` counts down while the payload goes
        m.d.comb += [sent.eq(tx.valid & tx.ready), crc.data.eq(tx.payload)]

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
                with m.If(sent):
                    m.d.sync += phase.eq(phase + 1)
                    m.d.comb += crc.valid.eq(phase != 0)
                    with m.If(phase == HEADER_BYTES - 1):
                        m.d.sync += phase.eq(0)
                        with m.If(answer.length == 0):
                            m.next = "TRAILER"
                        with m.Else():
                            m.next = "PAYLOAD"
            with m.State("PAYLOAD"):
                m.d.comb += [
                    tx.valid.eq(payload.valid),
                    tx.payload.eq(payload.payload),
                    payload.ready.eq(tx.ready),
                    crc.valid.eq(sent),
                ]
                with m.If(sent):
                    m.d.sync += answer.length.eq(answer.length - 1)
                    with m.If(answer.length == 1):
                        m.next = "TRAILER"
            with m.State("TRAILER"):
                m.d.comb += [tx.valid.eq(1), tx.payload.eq(crc.crc.word_select(phase[:2], 8))]
                with m.If(sent):
                    m.d.sync += phase.eq(phase + 1)
                    with m.If(phase == TRAILER_BYTES - 1):
                        m.next = "IDLE"
        return m
