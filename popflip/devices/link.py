"""The host's end of the link: requests in flight, one session with one chip, and recovery from faults of the line.

:mod:`popflip.hw.link.codec` defines the format; ``docs/protocol.md`` describes it. ::

    ChipDevice ─▶ Link ─┬─▶ open_session  number of the session, identity of the chip    session.py
                        ├─▶ Formats       lengths of answers, cycles, smaller requests   requests.py
                        ├─▶ Pace          sizes and waits on a bad line                  pace.py
                        └─▶ FrameReader ─▶ Transport                                     frames.py, transport.py

Every request has a sequence number. The host sends requests ahead of their answers, as many as fit the chip's packet
buffer. The chip runs them in order. After a damaged request it refuses all later ones, because it expects another
number. After any fault the host asks the chip for the number it expects and continues there, so no request runs twice
and none is skipped.

The checksums of requests and answers continue from the number of the session, which host and chip draw together when
the host opens the link. A chip that was restarted, or that another host has opened, therefore executes nothing. Its
refusals, which anyone can read, name the session that it is in.
"""

from __future__ import annotations

from collections import deque

from popflip.devices.frames import FrameReader
from popflip.devices.pace import RETRIES, Pace
from popflip.devices.requests import Formats, Request
from popflip.devices.session import open_session
from popflip.devices.transport import PortLost, PortStuck, Transport
from popflip.errors import ChipLost, DeviceError, LinkError
from popflip.hw.link.codec import OPEN, OVERHEAD, Frame, encode
from popflip.hw.link.commands import REFUSAL_BYTES, RESULTS, Command, Refusal, Result

IN_FLIGHT = 64
"""Most unanswered requests: few of the 256 sequence numbers, so that a probe's number differs from all of theirs."""
PROBE_AHEAD = 128
"""Largest distance of a probe's sequence number from the next request's."""
PROBES_APART = 32
"""Probes between two of the same number: a late answer to an old one is not taken for that to a new one."""
GUARD = 16
"""Zeros ahead of a probe, which end a frame that lost a few bytes."""
TOO_LONG = 1024
"""Bytes by which an answer may be too long and still be read, so that the host can say so. What announces more is taken
for noise."""
LEAST_FLUSH = 64
"""Zeros ahead of a second probe; each further one has twice as many, until they fill the chip's buffer."""
LINE_FAULTS = frozenset({Result.BAD_HEADER, Result.TOO_LONG, Result.BAD_CRC, Result.BAD_SEQUENCE, Result.BAD_SESSION})
"""Refusals caused by damage on the line; all others are mistakes of the host."""
DAMAGED_HEADER = frozenset({Result.BAD_HEADER, Result.TOO_LONG})
"""Refusals whose sequence number may be damaged too."""


class Link:
    """Numbered requests over ``transport`` to the chip called ``name`` in messages.

    ``identity`` is what the chip tells about itself, ``chip`` the shape that follows from it.

    A request that changes the chip waits until all requests that read it are answered: after a fault those may run
    again, and must give the same answers.

    Every method raises :class:`ChipLost` once it is clear that the chip no longer holds what the host sent to it, and
    :class:`LinkError` if the chip does not answer, refuses a request, or speaks another version of the protocol.
    """

    def __init__(self, transport: Transport, name: str = "the chip"):
        self.name = name
        self._transport = transport
        self._reader = FrameReader(transport)
        self._unsent: deque[Request] = deque()
        self._unanswered: deque[Request] = deque()
        self._recent_probes: deque[int] = deque(maxlen=PROBES_APART)
        self.identity, self._next = open_session(transport, self._reader, name)
        self.chip = self.identity.chip()
        self._formats = Formats(self.chip)
        self._pace = Pace(self.identity.buffer_bytes)

    def call(self, command: Command, payload: bytes = b"") -> bytes:
        """Run a request and return its answer's payload."""
        return self.answer(self.post(command, payload))

    def post(self, command: Command, payload: bytes = b"") -> Request:
        """Send a request without waiting. :meth:`answer` returns its answer or raises its refusal."""
        request = self._formats.request(command, payload)
        self._unsent.append(request)
        while self._unsent:
            self._advance()
        return request

    def answer(self, request: Request) -> bytes:
        """Wait for a request's answer and return its payload."""
        while (answer := request.answer) is None:
            if not self._unsent and not self._unanswered:
                raise LinkError(f"{self.name}: {request.command.name} was dropped after an earlier error")
            self._advance()
        return answer

    def wait(self) -> None:
        """Wait until every request is answered."""
        while self._unsent or self._unanswered:
            self._advance()

    def reopen(self) -> None:
        """Drop all requests and begin a new session. Raises :class:`DeviceError` if another chip answers."""
        self._drop()
        identity, self._next = open_session(self._transport, self._reader, self.name)
        if identity != self.identity:
            raise DeviceError(f"{self.name}: another chip answers; connect the one that the run began with")
        self._pace = Pace(identity.buffer_bytes)

    def lost(self, why: str) -> ChipLost:
        """The error of a chip that does not hold what the host sent to it. Drops all requests."""
        self._drop()
        return ChipLost(f"{self.name}: {why}; its state is not that of this run")

    def close(self) -> None:
        """Close the transport."""
        self._transport.close()

    @property
    def payload_bytes(self) -> int:
        """Payload size of which two frames fit the chip's buffer: it receives one while the other runs."""
        return self.identity.buffer_bytes // 2 - OVERHEAD

    # Requests and answers ---------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Send the next request if it may go; otherwise take an answer."""
        if self._unsent and self._may_send(self._next_unsent()):
            self._send()
        else:
            self._receive()

    def _next_unsent(self) -> Request:
        """The request to send next, no larger than the line allows at present."""
        request = self._unsent[0]
        parts = self._formats.divide(request, self._pace.payload)
        if len(parts) > 1:
            request.parts = parts
            self._unsent.popleft()
            self._unsent.extendleft(reversed(parts))
        return parts[0]

    def _may_send(self, request: Request) -> bool:
        if not self._unanswered:
            return True
        if not request.reads and any(other.reads for other in self._unanswered):
            return False
        size = request.size + sum(other.size for other in self._unanswered)
        return size <= self._pace.ahead and len(self._unanswered) < IN_FLIGHT

    def _send(self) -> None:
        request = self._unsent.popleft()
        request.sequence = self._next
        self._next = (self._next + 1) % 256
        self._unanswered.append(request)
        try:
            self._transport.write(self._frame(request.sequence, request.command, request.payload))
        except PortStuck:
            self._recover("the port takes no bytes")
        except PortLost:
            self._transport.restore()
            self._recover("its port went away")

    def _frame(self, sequence: int, command: int, payload: bytes = b"") -> bytes:
        return encode(sequence, command, payload, self._reader.session)

    def _receive(self) -> None:
        """Take an answer; recover if it is a refusal or none comes."""
        deadline = self._deadline(self._unanswered[0].answer_bytes)
        try:
            while not self._take(self._reader.read(deadline, self._longest_answer())):
                if self._transport.now >= deadline:
                    raise TimeoutError
        except TimeoutError:
            self._recover("it does not answer", self._longest_frame())
        except PortLost:
            self._transport.restore()
            self._recover("its port went away")

    def _deadline(self, expected: int) -> float:
        """When an answer of ``expected`` bytes to the requests on their way must have come."""
        cycles = self._formats.busy_cycles + sum(request.cycles for request in self._unanswered)
        return self._transport.deadline(OVERHEAD + expected, cycles, self.identity.clock_hz, self._pace.patience)

    def _longest_answer(self) -> int:
        """Most payload bytes of a frame that is worth waiting for, even if it is too long for an answer."""
        return TOO_LONG + max((request.answer_bytes for request in self._unanswered), default=0)

    def _longest_frame(self) -> int:
        return max((request.size for request in self._unanswered), default=0)

    def _take(self, frame: Frame) -> bool:
        """Act on an answer. Returns False if it is the repetition of an earlier one."""
        place = (frame.sequence - self._unanswered[0].sequence) % 256
        known = place < len(self._unanswered)
        if frame.code == Result.OK:
            known = known and frame.session != OPEN
            if known:
                self._settle(place, frame.payload)
            return known
        ours = self._refusal(frame).session == self._reader.session
        if ours and not known and frame.code not in DAMAGED_HEADER:
            return False  # a request came twice
        if ours and frame.code not in LINE_FAULTS:
            self._refused(self._unanswered[place], frame.code)
        self._recover(f"it says: {_reason(frame.code)}")
        return True

    def _settle(self, place: int, payload: bytes) -> None:
        """Take the answer of the unanswered request at ``place``. It shows that the chip ran all those before it."""
        before = [self._unanswered.popleft() for _ in range(place)]
        request = self._unanswered.popleft()
        if len(payload) != request.answer_bytes:
            raise self.lost(
                f"it answers {request.command.name} with {len(payload)} bytes instead of {request.answer_bytes}"
            )
        request.received = payload
        if before:
            self._pace.fault(max(max(len(other.payload), other.answer_bytes) for other in before))
            self._run_again(before, len(before))
        self._pace.progress()

    def _run_again(self, requests: list[Request], done: int) -> None:
        """Prepare to send those of ``requests`` again that the chip did not run or that must be read again.

        The chip ran the first ``done`` of them.
        """
        again = [request for index, request in enumerate(requests) if index >= done or request.reads]
        for request in requests[:done]:
            if not request.reads:
                request.received = b""
        self._unsent.extendleft(reversed(again))

    def _refused(self, request: Request, code: int) -> None:
        """Raise the error of a refused request. The chip refused all requests behind it for their numbers."""
        self._drop()
        self._next = self._synchronise("it refused a request")
        self._pace.progress()
        raise LinkError(f"{self.name}: {request.command.name} was refused: {_reason(code)}")

    # Faults -----------------------------------------------------------------------------------------------------------

    def _drop(self) -> None:
        self._unsent.clear()
        self._unanswered.clear()

    def _refusal(self, frame: Frame) -> Refusal:
        """What a refusal says."""
        try:
            return Refusal.unpack(frame.payload)
        except ValueError as error:
            raise self.lost(str(error)) from None

    def _recover(self, why: str, unfinished: int = 0) -> None:
        """Find out which requests ran, and prepare to send the others again.

        ``unfinished`` : bytes of the longest frame that the chip may have received in part.
        """
        self._pace.fault(max((max(len(each.payload), each.answer_bytes) for each in self._unanswered), default=0))
        expected = self._synchronise(why, unfinished)
        waiting = list(self._unanswered)
        done = (expected - self._next + len(waiting)) % 256
        if done > len(waiting):
            raise self.lost(f"it expects request {expected}, which the host has not reached")
        self._unanswered.clear()
        self._next = expected
        self._run_again(waiting, done)
        if done:
            self._pace.progress()

    def _synchronise(self, why: str, unfinished: int = 0) -> int:
        """The sequence number that the chip expects, learned by sending some that it does not expect."""
        zeros = GUARD + unfinished
        probes: set[int] = set()
        while True:
            self._pace.failed()
            if self._pace.exhausted:
                self._drop()
                raise LinkError(f"{self.name}: {why}; gave up after {RETRIES} attempts; check the cable and power")
            number = self._probe_number()
            probes.add(number)
            try:
                self._transport.write(bytes(zeros) + self._frame(number, Command.SIGNATURE))
                return self._expected(probes)
            except TimeoutError:
                zeros = min(2 * max(zeros, LEAST_FLUSH), self.identity.buffer_bytes)
            except PortLost:
                self._transport.restore()

    def _probe_number(self) -> int:
        """A sequence number that neither the chip expects nor a request or a recent probe has."""
        numbers = ((self._next + ahead) % 256 for ahead in range(IN_FLIGHT + 1, PROBE_AHEAD))
        number = next(number for number in numbers if number not in self._recent_probes)
        self._recent_probes.append(number)
        return number

    def _expected(self, probes: set[int]) -> int:
        """The expected number in the refusal of one of ``probes``. Takes late answers on the way."""
        deadline = self._deadline(REFUSAL_BYTES)
        while True:
            frame = self._reader.read(deadline, self._longest_answer())
            if frame.code != Result.OK and frame.sequence in probes:
                refusal = self._refusal(frame)
                if refusal.session == self._reader.session:
                    return refusal.expected
                raise self.lost("it was restarted" if refusal.session == OPEN else "another program opened it")
            if frame.code == Result.OK and self._unanswered:
                self._take(frame)
            if self._transport.now >= deadline:
                raise TimeoutError


def _reason(code: int) -> str:
    """What a refusal says."""
    return RESULTS[Result(code)] if code in RESULTS else f"reason {code}"
