"""Begin a session with a chip: the number that its frames are checked with, and the chip's identity."""

from __future__ import annotations

import secrets
import struct
from collections.abc import Sequence

from popflip.devices.frames import FrameReader
from popflip.devices.transport import PortLost, PortStuck, Transport
from popflip.errors import LinkError
from popflip.hw.link.codec import OPEN, OVERHEAD, Frame, encode
from popflip.hw.link.commands import PROTOCOL_VERSION, SESSION_BYTES, Command, Refusal, Result
from popflip.hw.link.identity import Identity
from popflip.hw.link.tables import NONCE_BITS

OPENING = ((0, 1), (2048, 1), (2048, 2), (4096, 2), (8192, 4), (256, 4))
"""Zeros ahead of each attempt that follows a silent one, and its patience. The zeros end a frame that the program
before this one left unfinished: short ones soon, the longest that a chip takes with the last but one."""
MOST_ATTEMPTS = 24
"""Attempts once a refusal has shown that a chip is there."""
OPENING_PATIENCE = 240
"""Allowances of a wait that opening a chip may take in all: two minutes on a serial line. A port that goes away may be
absent for one of them."""
LONGEST_ANSWER = SESSION_BYTES + Identity.longest()
"""Most bytes of an answer to IDENTIFY."""
MOST_BYTES = sum(zeros for zeros, _ in OPENING) + MOST_ATTEMPTS * (OVERHEAD + LONGEST_ANSWER)
"""More bytes than are sent and received until a session has begun."""
OURS = 2**NONCE_BITS - 1
"""Bits of a session's number that the host alone draws."""


class NoAnswer(LinkError):
    """No chip answers, whatever the reason. The message says what to check."""


def open_session(
    transport: Transport, reader: FrameReader, name: str, opening: Sequence[tuple[int, int]] = OPENING
) -> tuple[Identity, int]:
    """The identity of the chip called ``name``, and the sequence number that it expects next.

    ``opening`` : the zeros and the patience of each attempt, like :data:`OPENING`. ``reader`` then reads frames of the
    new session. Raises :class:`NoAnswer` if no chip answers in time (:func:`opening_deadline`), and
    :class:`LinkError` if the port takes no bytes or a chip of another version of the protocol answers.
    """
    latest = opening_deadline(transport)
    reader.session = OPEN  # until a refusal tells another one
    ours: set[int] = set()  # lower halves of the numbers sent
    silent, heard = 0, False
    for number in range(MOST_ATTEMPTS):
        if (silent >= len(opening) and not heard) or transport.now >= latest:
            break
        zeros, patience = opening[min(silent, len(opening) - 1)]
        session = _number(reader.session)
        ours.add(session & OURS)
        try:
            payload = struct.pack("<I", session)
            transport.write(bytes(zeros) + encode(number, Command.IDENTIFY, payload, reader.session))
            deadline = transport.deadline(OVERHEAD + LONGEST_ANSWER, 0, 0, patience)
            answer = _answer(transport, reader, deadline, number, ours, name)
        except PortStuck:
            raise LinkError(f"{name}: the port takes no bytes; unplug it and plug it in again") from None
        except TimeoutError:
            silent += 1
        except PortLost:
            transport.restore()
        else:
            if answer is not None:
                reader.session = int.from_bytes(answer.payload[:SESSION_BYTES], "little")
                return _known(answer.payload[SESSION_BYTES:], name), (answer.sequence + 1) % 256
            heard = True
    raise NoAnswer(f"{name}: no answer; check that its bitstream is Popflip's, and the baud rate")


def opening_deadline(transport: Transport) -> float:
    """The latest time, on the clock of ``transport``, at which another attempt to open a chip begins."""
    return transport.deadline(MOST_BYTES, 0, 0, OPENING_PATIENCE)


def _number(ends: int) -> int:
    """A random number for a session after the one of number ``ends``; their lower halves differ, and none is 0."""
    while True:
        number = secrets.randbits(32)
        if number & OURS not in (0, ends & OURS):
            return number


def _answer(
    transport: Transport, reader: FrameReader, deadline: float, number: int, ours: set[int], name: str
) -> Frame | None:
    """The answer to this or an earlier IDENTIFY, with one of ``ours`` as the lower half of the session's number.

    None if the chip refused request ``number``, or an earlier one because it is in another session; ``reader`` then has
    the session that the chip is in.
    """
    while True:
        frame = reader.read(deadline, LONGEST_ANSWER)
        if frame.code == Result.OK:
            if frame.session == OPEN and int.from_bytes(frame.payload[:SESSION_BYTES], "little") & OURS in ours:
                return frame
        else:
            session = _session(frame, name)
            changed = session != reader.session
            reader.session = session
            if changed or frame.sequence == number:
                return None
        if transport.now >= deadline:
            raise TimeoutError


def _session(refusal: Frame, name: str) -> int:
    """The session that a refusal names."""
    try:
        return Refusal.unpack(refusal.payload).session
    except ValueError:  # until version 5 refusals named no session
        raise LinkError(f"{name}: it speaks an older version of the protocol; rebuild its bitstream") from None


def _known(payload: bytes, name: str) -> Identity:
    """The identity in ``payload``, of the version of the protocol that this program speaks."""
    version = payload[0] if payload else 0
    if version != PROTOCOL_VERSION:
        raise LinkError(
            f"{name}: it speaks version {version} of the protocol, this program version {PROTOCOL_VERSION}; "
            "rebuild its bitstream"
        )
    try:
        return Identity.unpack(payload)
    except ValueError as error:
        raise LinkError(f"{name}: its identity is damaged ({error}); rebuild its bitstream") from None
