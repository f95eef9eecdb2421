"""The commands and results of the link, as data.

The chip's controller, the host and ``docs/protocol.md`` are all made from these tables.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

from amaranth.lib import enum

from popflip.hw.config import ChipConfig

PROTOCOL_VERSION = 7
"""Changes with these tables, the frame format or the identity."""


class Command(enum.IntEnum, shape=5):
    """Code of a request. Chips that know none from 16 on decode only the lower four bits; the others must be 0."""

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
    TRAIN_SET = 18
    INFER_SET = 19


class Result(enum.IntEnum, shape=4):
    """Outcome of a request. All but OK mean that the request changed nothing, and tell why."""

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
    BAD_SESSION = 11


RESULTS: dict[Result, str] = {
    Result.OK: "done",
    Result.BAD_HEADER: "the header's check does not match",
    Result.TOO_LONG: "the payload is longer than the chip's buffer",
    Result.BAD_CRC: "the CRC-32 does not match",
    Result.BAD_SEQUENCE: "not the expected sequence number",
    Result.UNKNOWN_COMMAND: "no such command",
    Result.BAD_LENGTH: "the payload does not fit the command, or the answer does not fit a frame",
    Result.BAD_REGISTER: "no such register",
    Result.BAD_VALUE: "a value outside its range",
    Result.BAD_LABEL: "a label that is not a class",
    Result.BAD_ADDRESS: "words or samples outside the memory",
    Result.BAD_SESSION: "no session has begun, or the request belongs to an earlier one",
}


@dataclass(frozen=True)
class Field:
    """Part of a payload. ``type`` is ``u8``, ``u16`` or ``u32``, or names a format that the protocol page describes."""

    name: str
    type: str
    summary: str

    @property
    def size(self) -> int:
        """Bytes of the field; only for numbers."""
        return int(self.type[1:]) // 8


@dataclass(frozen=True)
class CommandFormat:
    """A command's payloads.

    A request has the fields of ``request`` once, then those of ``item`` any number of times. Its answer repeats
    ``answer`` as often as there are items or words.

    ``reads``: the answer has a payload, and the trainer does not change. ``waits``: the chip finishes all earlier
    samples and the end of a batch first.
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
        """Bytes of a request before its items."""
        return sum(field.size for field in self.request)


_PREDICTION = Field("prediction", "label", "predicted class of each sample")
_ADDRESS = Field("address", "u32", "address of the first word")
_COUNT = Field("count", "u16", "number of words")
_LABEL = Field("label", "label", "class of the sample")
_INPUTS = Field("inputs", "inputs", "bit `i` of byte `q` is input `8q + i`; bits past the last input are ignored")
_SIZE = Field("size", "size", "number of bytes that follow in this item")
_PACKED = Field("packed inputs", "packed", "one byte or more; see below")
_WEIGHTS = Field("weights", "weight word", "`N` weights; word `a` is in bank `a mod P` at address `a div P`")
_COUNTERS = Field("counters", "counter word", "`N` counters; word `a` is in bank `a mod Pc` at address `a div Pc`")
_WORD = Field("word", "u32", "status word")
_SAMPLES = Field("samples", "u16", "samples of a piece, not 0")
_PLACE = Field("place", "u32", "place of the first sample in the order, from 0; the others follow it")
_SESSION = Field("session", "u32", "number of the chip's session, 0 if it has none")

COMMANDS: dict[Command, CommandFormat] = {
    format.command: format
    for format in (
        CommandFormat(
            Command.IDENTIFY,
            "Begin a session and read the identity. Any sequence number is accepted; the next one must follow it.",
            request=(Field("number", "u32", "the host's part of the session number; its lower half is not 0"),),
            answer=(_SESSION, Field("identity", "identity", "see below")),
            reads=True,
        ),
        CommandFormat(
            Command.CONFIGURE,
            "Write registers.",
            item=(
                Field("register", "u8", "number of the register"),
                Field("value", "u32", "two's complement if the register is signed"),
            ),
            waits=True,
        ),
        CommandFormat(
            Command.RESET,
            "Clear counters, status words and signature, then draw initial weights.",
            request=(Field("rng", "u32", "initial xorshift32 state, not 0"),),
            waits=True,
        ),
        CommandFormat(
            Command.TRAIN,
            "Train on samples. The answer means that the chip has received them, not that it has learned them.",
            item=(_LABEL, _INPUTS),
        ),
        CommandFormat(
            Command.INFER,
            "Classify samples.",
            item=(_INPUTS,),
            answer=(_PREDICTION,),
            reads=True,
        ),
        CommandFormat(
            Command.END_BATCH, "End the batch: select and flip (lbe: no effect). The answer means that this has begun."
        ),
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
            "Keep samples in the sample store. Only chips with a store.",
            request=(Field("first", "u32", "position of the first sample in the store; the others follow it"),),
            item=(Field("stored sample", "stored", "an item of TRAIN_PACKED if the chip packs, else one of TRAIN"),),
        ),
        CommandFormat(
            Command.TRAIN_STORED,
            "Train on samples of the store. Only chips with a store. Positions never written hold undefined samples.",
            item=(Field("sample", "number", "position of a sample in the store"),),
        ),
        CommandFormat(
            Command.TRAIN_PACKED,
            "Train on packed samples, like TRAIN. Only chips that support packing.",
            item=(_SIZE, _LABEL, _PACKED),
        ),
        CommandFormat(
            Command.INFER_PACKED,
            "Classify packed samples, like INFER. Only chips that support packing.",
            item=(_SIZE, _PACKED),
            answer=(_PREDICTION,),
            reads=True,
        ),
        CommandFormat(
            Command.TRAIN_SET,
            "Train on the stored set in the chip's order: for each item a piece of it, which ends a batch; without "
            "items one piece, which ends none (lbe: always so). Only chips that walk.",
            request=(_SAMPLES, _PLACE),
            item=(Field("schedule", "schedule", "u32 for each layer: register `k` of the batch that ends here"),),
        ),
        CommandFormat(
            Command.INFER_SET,
            "Classify samples of the stored set in the chip's order. Only chips that walk.",
            request=(_SAMPLES, _PLACE),
            answer=(_PREDICTION,),
            reads=True,
        ),
    )
}

SET_COMMANDS = (Command.TRAIN_SET, Command.INFER_SET)
"""Unknown to a chip that does not walk through its set."""
STORE_COMMANDS = (Command.STORE, Command.TRAIN_STORED)
"""Unknown to a chip without a store."""
PACKED_COMMANDS = (Command.TRAIN_PACKED, Command.INFER_PACKED)
"""Unknown to a chip that does not support packed samples."""


def commands_of(chip: ChipConfig) -> dict[Command, CommandFormat]:
    """The commands ``chip`` knows."""
    unknown = (
        *(() if chip.store_samples else STORE_COMMANDS),
        *(() if chip.packs else PACKED_COMMANDS),
        *(() if chip.walks else SET_COMMANDS),
    )
    return {key: value for key, value in COMMANDS.items() if key not in unknown}


REFUSAL: tuple[Field, ...] = (_SESSION, Field("expected", "u8", "sequence number of the next request"))
"""Payload of an answer that is not OK."""
REFUSAL_BYTES = sum(field.size for field in REFUSAL)
SESSION_BYTES = _SESSION.size
"""Bytes of the session number, with which the payload of every open answer begins."""


class Refusal(NamedTuple):
    """What a refusal tells about the chip. ``session`` is 0 if no session has begun since the chip's power-up."""

    session: int
    expected: int

    def pack(self) -> bytes:
        """The payload of the refusal."""
        return struct.pack("<IB", *self)

    @classmethod
    def unpack(cls, payload: bytes) -> Refusal:
        """Inverse of :meth:`pack`. Raises :class:`ValueError` if ``payload`` has another size."""
        if len(payload) != REFUSAL_BYTES:
            raise ValueError(f"{len(payload)} bytes are not a refusal")
        return cls(*struct.unpack("<IB", payload))
