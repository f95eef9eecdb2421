"""The host's end of the link: frames as bytes, requests in flight, and recovery from bytes lost, doubled or damaged.

The format is data in :mod:`popflip.hw.link.frames`; ``python -m popflip.devices.link`` prints it as a page.

Requests are numbered and sent without waiting for answers, as long as all that is unanswered fits the chip's packet
buffer. The chip runs them in order and refuses every one after a damaged one, by its number. So after any fault the
host asks which number is expected and goes on from there: nothing runs twice, and nothing is left out.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from popflip.devices.base import DeviceError
from popflip.golden.config import PRESETS
from popflip.hw.config import ChipConfig
from popflip.hw.link.buffer import BUFFER_BYTES, longest_payload
from popflip.hw.link.frames import (
    COMMANDS,
    HEADER_BYTES,
    OVERHEAD,
    PROTOCOL_VERSION,
    REFUSAL,
    RESULTS,
    SYNC,
    TRAILER_BYTES,
    Command,
    CommandFormat,
    Field,
    Frame,
    Identity,
    Result,
    decode,
    encode,
    payload_length,
)
from popflip.hw.registers import registers, status_words

RETRIES = 8
"""Recoveries in a row that bring no answer before the link is given up."""
ATTEMPTS_TO_OPEN = 3
IN_FLIGHT = 64
"""Most requests unanswered: few enough of the 256 sequence numbers that a probe's is none of theirs."""
PROBE_AHEAD = 128
LINE_FAULTS = frozenset({Result.BAD_HEADER, Result.TOO_LONG, Result.BAD_CRC, Result.BAD_SEQUENCE})
"""Refusals that damage on the way explains; all others are mistakes of the host."""


class LinkError(DeviceError):
    """The link does not work, or the chip refused a request. The message says which and why."""


class Transport(Protocol):
    """Bytes to and from a chip."""

    def write(self, data: bytes, /) -> object:
        """Send all of ``data``."""

    def read(self, count: int, /) -> bytes:
        """The next ``count`` bytes, exactly. :class:`TimeoutError` if they do not come; what has come is kept."""

    def close(self) -> object:
        """Let go of what carries the bytes."""


class FrameReader:
    """Finds frames in what a transport brings, whatever lies between them."""

    def __init__(self, transport: Transport):
        self._transport = transport
        self._bytes = bytearray()

    def read(self) -> Frame:
        """The next undamaged frame. :class:`TimeoutError` if none comes."""
        while True:
            self._skip_to_sync()
            length = payload_length(self._peek(HEADER_BYTES))
            if length is not None:
                try:
                    frame = decode(self._peek(OVERHEAD + length))
                except TimeoutError:  # cut short, or no frame at all: another may begin inside
                    frame = None
                if frame is not None:
                    del self._bytes[: OVERHEAD + length]
                    return frame
            del self._bytes[0]

    def _skip_to_sync(self) -> None:
        place = self._bytes.find(SYNC)
        del self._bytes[: len(self._bytes) if place < 0 else place]

    def _peek(self, count: int) -> bytes:
        missing = count - len(self._bytes)
        if missing > 0:
            self._bytes += self._transport.read(missing)
        return bytes(self._bytes[:count])


@dataclass
class Request:
    """A request that was posted, and its answer's payload once it has come."""

    command: Command
    payload: bytes
    sequence: int = 0
    answer: bytes | None = None

    @property
    def reads(self) -> bool:
        """Whether only its answer matters: it may run again."""
        return COMMANDS[self.command].reads

    @property
    def size(self) -> int:
        """Bytes of its frame."""
        return OVERHEAD + len(self.payload)


class Link:
    """Numbered requests over a transport, as many at once as the chip takes. ``name`` is the chip's in messages.

    ``identity`` is what the chip said it is. Requests that change the chip wait until all that read it are answered:
    then running the latter again after a fault gives the same answers.
    """

    def __init__(self, transport: Transport, name: str = "the chip"):
        self.name = name
        self._transport = transport
        self._reader = FrameReader(transport)
        self._unanswered: deque[Request] = deque()
        self._next = 0
        self._credit = BUFFER_BYTES
        self._failures = 0
        self._probes = 0
        self.identity = self._identify()
        self._credit = self.identity.buffer_bytes

    def call(self, command: Command, payload: bytes = b"") -> bytes:
        """Run a request and return its answer's payload."""
        return self.answer(self.post(command, payload))

    def post(self, command: Command, payload: bytes = b"") -> Request:
        """Send a request. Its answer is waited for later, and a refusal raised then."""
        request = Request(command, payload)
        if not request.reads:
            while any(other.reads for other in self._unanswered):
                self._receive()
        while self._unanswered and not self._room(request):
            self._receive()
        self._send(request)
        return request

    def answer(self, request: Request) -> bytes:
        """Wait for a request's answer and return its payload."""
        while request.answer is None:
            self._receive()
        return request.answer

    def wait(self) -> None:
        """Wait until everything has been answered."""
        while self._unanswered:
            self._receive()

    def close(self) -> None:
        """Close the transport."""
        self._transport.close()

    @property
    def payload_bytes(self) -> int:
        """A payload size at which two frames fit the chip's buffer: one is received while the other runs."""
        return self._credit // 2 - OVERHEAD

    # ------------------------------------------------------------------------------------------------------------------

    def _room(self, request: Request) -> bool:
        size = request.size + sum(other.size for other in self._unanswered)
        return size <= self._credit and len(self._unanswered) < IN_FLIGHT

    def _send(self, request: Request) -> None:
        request.sequence = self._next
        self._next = (self._next + 1) % 256
        self._unanswered.append(request)
        self._transport.write(encode(request.sequence, request.command, request.payload))

    def _receive(self) -> None:
        """Take the next answer, or recover if it does not come or does not belong to the oldest request."""
        oldest = self._unanswered[0]
        try:
            frame = self._reader.read()
        except TimeoutError:
            return self._recover("it does not answer")
        if frame.sequence != oldest.sequence:
            return self._recover("its answers are damaged")
        if frame.code in LINE_FAULTS:
            return self._recover(f"it says {RESULTS[Result(frame.code)]}")
        self._failures = 0
        if frame.code != Result.OK:
            raise self._refusal(oldest, frame)
        self._unanswered.popleft()
        oldest.answer = frame.payload
        return None

    def _refusal(self, request: Request, frame: Frame) -> LinkError:
        """The error of a request refused for what it says. All behind it were refused for their numbers."""
        self._unanswered.clear()
        self._next = self._expected()
        reason = RESULTS[Result(frame.code)] if frame.code in RESULTS else f"reason {frame.code}"
        return LinkError(f"{self.name}: {request.command.name} was refused: {reason}")

    def _recover(self, why: str) -> None:
        """Find out what has run, and send again what has not."""
        self._failures += 1
        if self._failures > RETRIES:
            raise LinkError(f"{self.name}: {why}; gave up after {RETRIES} attempts to recover")
        expected = self._expected()
        waiting, self._unanswered = self._unanswered, deque()
        done = (expected - waiting[0].sequence) % 256
        if done > len(waiting):
            raise LinkError(f"{self.name}: it was restarted or reprogrammed during the run; start again")
        self._next = expected
        for index, request in enumerate(waiting):
            if index < done and not request.reads:
                request.answer = b""
            else:
                self._send(request)

    def _expected(self) -> int:
        """The sequence number the chip expects, asked with one that it does not."""
        for _ in range(RETRIES):
            self._flush()
            self._probes = (self._probes + 1) % (PROBE_AHEAD - IN_FLIGHT)
            number = (self._next + PROBE_AHEAD - self._probes) % 256
            self._transport.write(encode(number, Command.SIGNATURE))
            try:
                while (frame := self._reader.read()).sequence != number:
                    pass
            except TimeoutError:
                continue
            # Any refusal tells. Only a chip that was restarted can have expected this number and done as asked.
            return frame.payload[0] if frame.code != Result.OK else (number + 1) % 256
        raise LinkError(f"{self.name}: it does not answer any more; gave up after {RETRIES} attempts")

    def _flush(self) -> None:
        """End a frame that the chip may be in the middle of."""
        self._transport.write(bytes(self._credit))

    def _identify(self) -> Identity:
        """Ask what the chip is; numbers start behind this request's."""
        for number in range(ATTEMPTS_TO_OPEN):
            if number:
                self._flush()
            self._transport.write(encode(number, Command.IDENTIFY))
            try:
                while (frame := self._reader.read()).sequence != number or frame.code != Result.OK:
                    pass
                identity = Identity.unpack(frame.payload)
            except (TimeoutError, ValueError):
                continue
            self._next = number + 1
            if identity.protocol != PROTOCOL_VERSION:
                raise LinkError(
                    f"{self.name}: it speaks version {identity.protocol} of the protocol, this program "
                    f"version {PROTOCOL_VERSION}; rebuild it"
                )
            return identity
        raise LinkError(f"{self.name}: no answer; is it a popflip chip, and at this speed?")


# The page -------------------------------------------------------------------------------------------------------------


def page() -> str:
    """``docs/protocol.md``, made of the same data that the hardware and :class:`Link` are made of."""
    preset = "digits"
    chip = ChipConfig.of(PRESETS[preset].config)
    formats = COMMANDS.values()
    parts = dict.fromkeys(field for format in formats for field in (*format.request, *format.item, *format.answer))
    return "\n".join(
        (
            _INTRODUCTION,
            "## Commands\n",
            _table(("code", "command", "payload", "answer", ""), map(_command, formats)),
            "A part in brackets comes any number of times. The parts:\n",
            _fields(parts),
            _WORDS,
            "## Results\n",
            _table(("code", "result", "meaning"), ((f"{key:d}", key.name, text) for key, text in RESULTS.items())),
            "The payload of an answer that is not OK:\n",
            _fields(REFUSAL),
            "## Identity\n",
            _fields(Identity.FIELDS),
            "## Registers\n",
            f"Of preset `{preset}`; other networks differ in ranges, and have a `window` a hidden layer and a `k` a "
            "layer.\n",
            _table(
                ("number", "register", "lowest", "highest", "at power-up", ""),
                (
                    (str(number), f"`{word.name}`", str(word.low), str(word.high), str(word.init), word.summary)
                    for number, word in enumerate(registers(chip))
                ),
            ),
            "## Status words\n",
            "u32 each, wrapping. CYCLES sends those from `total` on, SIGNATURE the one of that name.\n",
            _table(
                ("number", "word", ""),
                ((str(number), f"`{word.name}`", word.summary) for number, word in enumerate(status_words(chip))),
            ),
            "## Example\n",
            _example(PRESETS[preset].config.batch),
        )
    )


def _example(batch: int) -> str:
    value = struct.pack("<BI", 0, batch)
    request, answer = encode(7, Command.CONFIGURE, value), encode(7, Result.OK)
    parts = (
        (request[:1], "SYNC"),
        (request[1:2], "sequence number 7"),
        (request[2:3], f"command {Command.CONFIGURE:d}, CONFIGURE"),
        (request[3:5], f"length {len(value)}"),
        (request[5:6], f"lowest byte of CRC-32 of `{request[1:5].hex(' ')}`"),
        (value[:1], "register 0, `batch`"),
        (value[1:], f"value {batch}"),
        (request[-TRAILER_BYTES:], f"CRC-32 of `{request[1:-TRAILER_BYTES].hex(' ')}`"),
    )
    return (
        f"Set register 0 to {batch}, and the answer OK:\n\n```\n{request.hex(' ')}\n{answer.hex(' ')}\n```\n\n"
        + _table(("bytes", "part"), ((f"`{part.hex(' ')}`", name) for part, name in parts))
    )


def _command(format: CommandFormat) -> tuple[str, ...]:
    payload = [field.name for field in format.request]
    if format.item:
        payload.append(f"[{', '.join(field.name for field in format.item)}]")
    answer = (field.name for field in format.answer)
    summary = format.summary + (" Waits until the chip is idle." if format.waits else "")
    return f"{format.command:d}", format.command.name, ", ".join(payload), ", ".join(answer), summary


def _fields(fields: Iterable[Field]) -> str:
    return _table(("field", "type", ""), ((field.name, field.type, field.summary) for field in fields))


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = (head, ("---",) * len(head), *rows)
    return "".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |\n" for line in lines)


_INTRODUCTION = f"""\
# Link protocol, version {PROTOCOL_VERSION}

This page is made from the code: `python -m popflip.devices.link > docs/protocol.md`.

The host sends requests, the chip answers each, in order. Both are frames on a stream of bytes: a UART (8 data bits, no
parity, 1 stop bit) on boards, and the same bytes into the simulated chip. Numbers are little-endian.

| bytes | part |
| --- | --- |
| 1 | SYNC, `{SYNC:02x}` |
| 1 | sequence number |
| 1 | command; in an answer the result |
| 2 | length of the payload in bytes |
| 1 | check: lowest byte of the CRC-32 of the four bytes before it |
| length | payload |
| 4 | CRC-32 (zlib's) of everything before it but SYNC |

- A request is carried out if check and CRC-32 match, its sequence number is the expected one, and every value in it is
  valid. Otherwise it changes nothing, and the answer says why. Each one carried out moves the expected number on by 1.
- The number in an answer is that of its request, as far as it could be read. After a damaged header the chip looks for
  the next SYNC.
- IDENTIFY says how large the chip's packet buffer is. As many frames may be unanswered as fit it; a payload longer than
  the buffer less {BUFFER_BYTES - longest_payload(BUFFER_BYTES)} bytes is refused.
- To recover from any fault: send zeros, as many as the buffer holds, which end a frame that was cut short; then a
  request with a number that cannot be the expected one. Its answer, BAD_SEQUENCE, tells which one is.
"""

_WORDS = """\
Chips of rule gft with 16 synapses a cycle or more take packed samples, in which bytes that are zero are left out. Bytes
of inputs go in groups of 8. A group is a mask, bit `i` set where byte `i` of the group is not zero, and those bytes in
order. Masks of zero at the end are left out, except that a sample has at least one byte. Any bytes are a sample: bytes
of inputs that are not reached are zero, those past the last one are ignored. A size has one byte, or two if label, all
bytes of inputs and their masks may be more than 255. The inputs `00 00 07 80 00 00 00 00 00 01` with label 4 are the
item `06 04 0c 07 80 02 01`.

A label has one byte, or two if there are more than 256 classes. Words are padded to whole bytes with zeros; the first
weight or counter is in the lowest bits. A weight has one bit (1: +1, 0: −1) or, ternary, two (two's complement), a
counter as many as mmax takes and a sign. Which word holds what is in `hw/config.py`. Lanes past the last synapse must
be written as zeros.
"""


if __name__ == "__main__":
    print(page(), end="")
