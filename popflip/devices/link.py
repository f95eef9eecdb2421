"""The host's end of the link: frames in bytes, requests in flight, and recovery from lost, doubled or damaged bytes.

:mod:`popflip.hw.link.codec` defines the format; ``docs/protocol.md`` describes it.

Every request has a sequence number. The host sends requests ahead of their answers, as many as fit the chip's packet
buffer. The chip runs them in order. After a damaged request it refuses all later ones, because it expects another
number. After any fault the host asks the chip for the number it expects and continues there, so no request runs twice
and none is skipped.
"""

from __future__ import annotations

import secrets
import struct
from collections import deque
from dataclasses import dataclass
from typing import Protocol

from popflip.errors import ChipLost, DeviceError, LinkError
from popflip.hw.link.buffer import BUFFER_BYTES
from popflip.hw.link.codec import HEADER_BYTES, OPEN, OVERHEAD, SYNC, Frame, decode, encode, payload_length
from popflip.hw.link.commands import COMMANDS, PROTOCOL_VERSION, RESULTS, SESSION_BYTES, Command, Refusal, Result
from popflip.hw.link.identity import Identity
from popflip.hw.link.tables import NONCE_BITS

RETRIES = 8
"""Consecutive failed recoveries after which the link gives up."""
ATTEMPTS_TO_OPEN = 3
IN_FLIGHT = 64
"""Most unanswered requests: few of the 256 sequence numbers, so that a probe's number differs from all of theirs."""
PROBE_AHEAD = 128
"""Largest distance of a probe's sequence number from the next request's."""
LINE_FAULTS = frozenset({Result.BAD_HEADER, Result.TOO_LONG, Result.BAD_CRC, Result.BAD_SEQUENCE})
"""Refusals caused by damage on the line; all others are mistakes of the host."""


class Transport(Protocol):
    """Bytes to and from a chip."""

    def write(self, data: bytes, /) -> object:
        """Send all of ``data``."""

    def read(self, count: int, /) -> bytes:
        """Exactly the next ``count`` bytes. If too few come, raises :class:`TimeoutError` and keeps them for later."""

    def close(self) -> object:
        """Release the port or the simulation."""


class FrameReader:
    """Finds open frames and those of ``session`` in a transport's bytes, and skips all bytes between them."""

    def __init__(self, transport: Transport, session: int = OPEN):
        self.session = session
        self._transport = transport
        self._bytes = bytearray()

    def read(self) -> Frame:
        """The next undamaged frame. Raises :class:`TimeoutError` if none comes."""
        while True:
            self._skip_to_sync()
            for session in {self.session, OPEN}:
                length = payload_length(self._peek(HEADER_BYTES), session)
                if length is None:
                    continue
                try:
                    frame = decode(self._peek(OVERHEAD + length), session)
                except TimeoutError:  # cut short, or noise: a frame may begin inside
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
    """A posted request, and its answer's payload once it has arrived."""

    command: Command
    payload: bytes
    sequence: int = 0
    answer: bytes | None = None

    @property
    def reads(self) -> bool:
        """Whether the request only reads the chip, so that it may safely run again."""
        return COMMANDS[self.command].reads

    @property
    def size(self) -> int:
        """Bytes of the request's frame."""
        return OVERHEAD + len(self.payload)


class Link:
    """Numbered requests over ``transport`` to the chip called ``name`` in messages. ``identity`` describes the chip.

    A request that changes the chip waits until all requests that read it are answered: after a fault those may run
    again, and must give the same answers. Raises :class:`LinkError` if the chip does not answer or speaks another
    version of the protocol.
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
        """Send a request without waiting. :meth:`answer` returns its answer or raises its refusal."""
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
        """Wait until every request is answered."""
        while self._unanswered:
            self._receive()

    def reopen(self) -> None:
        """Forget all unanswered requests and open the link anew. Raises :class:`DeviceError` if another chip answers."""
        self._unanswered.clear()
        self._failures = 0
        identity = self._identify()
        if identity != self.identity:
            raise DeviceError(f"{self.name}: another chip answers; connect the one that the run began with")

    def close(self) -> None:
        """Close the transport."""
        self._transport.close()

    @property
    def payload_bytes(self) -> int:
        """Payload size of which two frames fit the chip's buffer: it receives one while the other runs."""
        return self._credit // 2 - OVERHEAD

    # ------------------------------------------------------------------------------------------------------------------

    def _room(self, request: Request) -> bool:
        size = request.size + sum(other.size for other in self._unanswered)
        return size <= self._credit and len(self._unanswered) < IN_FLIGHT

    def _send(self, request: Request) -> None:
        request.sequence = self._next
        self._next = (self._next + 1) % 256
        self._unanswered.append(request)
        self._transport.write(encode(request.sequence, request.command, request.payload, self._reader.session))

    def _receive(self) -> None:
        """Take the answer to the oldest request; recover if another answer or none comes."""
        oldest = self._unanswered[0]
        try:
            frame = self._reader.read()
        except TimeoutError:
            return self._recover("it does not answer")
        if frame.code != Result.OK:
            self._check_session(frame)
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
        """The error of a refused request. The chip refused all requests behind it for their numbers."""
        self._unanswered.clear()
        self._next = self._expected()
        reason = RESULTS[Result(frame.code)] if frame.code in RESULTS else f"reason {frame.code}"
        return LinkError(f"{self.name}: {request.command.name} was refused: {reason}")

    def _check_session(self, refusal: Frame) -> None:
        """Raise :class:`LinkError` if the chip that refused a request is not in this link's session."""
        session = Refusal.unpack(refusal.payload).session
        if session == OPEN:
            raise LinkError(f"{self.name}: it was restarted or reprogrammed during the run; start again")
        if session != self._reader.session:
            raise LinkError(f"{self.name}: another program has taken it over; end that one, and start again")

    def _recover(self, why: str) -> None:
        """Find out which requests ran, and send the others again."""
        self._failures += 1
        if self._failures > RETRIES:
            raise LinkError(f"{self.name}: {why}; gave up after {RETRIES} attempts to recover")
        expected = self._expected()
        waiting, self._unanswered = self._unanswered, deque()
        done = (expected - waiting[0].sequence) % 256
        if done > len(waiting):
            raise ChipLost(f"{self.name}: it was restarted or reprogrammed during the run; start again")
        self._next = expected
        for index, request in enumerate(waiting):
            if index < done and not request.reads:
                request.answer = b""
            else:
                self._send(request)

    def _expected(self) -> int:
        """The sequence number that the chip expects, learned by sending one that it does not expect."""
        for _ in range(RETRIES):
            self._flush()
            self._probes = (self._probes + 1) % (PROBE_AHEAD - IN_FLIGHT)
            number = (self._next + PROBE_AHEAD - self._probes) % 256
            self._transport.write(encode(number, Command.SIGNATURE, session=self._reader.session))
            try:
                while (frame := self._reader.read()).sequence != number:
                    pass
            except TimeoutError:
                continue
            if frame.code == Result.OK:
                return (number + 1) % 256
            self._check_session(frame)
            return Refusal.unpack(frame.payload).expected
        raise LinkError(f"{self.name}: stopped answering; gave up after {RETRIES} attempts; check the cable and power")

    def _flush(self) -> None:
        """End a frame that the chip may have received in part."""
        self._transport.write(bytes(self._credit))

    def _identify(self) -> Identity:
        """Begin a session; later requests are numbered from this one's number on."""
        session = OPEN
        for number in range(2 * ATTEMPTS_TO_OPEN):  # two for each: a refusal tells the session that must end
            own = session
            while own % 2**NONCE_BITS in (0, session % 2**NONCE_BITS):
                own = secrets.randbits(32)
            self._transport.write(encode(number, Command.IDENTIFY, struct.pack("<I", own), session))
            try:
                while (frame := self._reader.read()).sequence != number:
                    pass
                if frame.code != Result.OK:
                    session = Refusal.unpack(frame.payload).session
                    continue
                self._reader.session = int.from_bytes(frame.payload[:SESSION_BYTES], "little")
                identity = Identity.unpack(frame.payload[SESSION_BYTES:])
            except (TimeoutError, ValueError):
                self._flush()
                continue
            self._next = number + 1
            if identity.protocol != PROTOCOL_VERSION:
                raise LinkError(
                    f"{self.name}: it speaks version {identity.protocol} of the protocol, this program "
                    f"version {PROTOCOL_VERSION}; rebuild its bitstream"
                )
            return identity
        raise LinkError(f"{self.name}: no answer; check that its bitstream is Popflip's, and the baud rate")
