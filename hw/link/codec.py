"""The frame format, and frames as bytes.

A frame, in either direction::

    SYNC · sequence u8 · command u8 (answer: result u8) · length u16 · check u8 │ payload │ CRC-32

Numbers are little-endian. The CRC-32 covers everything between it and SYNC. The check is the lowest byte of the CRC-32
of the four bytes before it; it exposes a damaged length before the receiver waits for that many bytes.

Both checksums continue from the number of the session, ``zlib.crc32(content, session)``, so that a frame is whole only
for a receiver of the same session. Frames with the session number :data:`OPEN` are *open*: anyone can read them.

The chip runs a request only if both checksums match, its sequence number is the expected one and every value in it is
valid. Otherwise the request changes nothing and the answer says why. Each accepted request increments the expected
number.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

SYNC = 0xA5
OPEN = 0
"""Session number of open frames: refusals, answers to IDENTIFY, and requests to a chip that has no session."""
HEADER_BYTES = 6
CHECKED_BYTES = 4  # between SYNC and the check
TRAILER_BYTES = 4
OVERHEAD = HEADER_BYTES + TRAILER_BYTES
"""Bytes of a frame without its payload."""
MAX_LENGTH = 2**16 - 1
"""Most payload bytes that a header can announce."""


class Frame(NamedTuple):
    """A request or an answer; ``code`` is a :class:`.Command` or a :class:`.Result`."""

    sequence: int
    code: int
    payload: bytes
    session: int = OPEN


def encode(sequence: int, code: int, payload: bytes = b"", session: int = OPEN) -> bytes:
    """The bytes of a frame of ``session``."""
    checked = struct.pack("<BBH", sequence, code, len(payload))
    body = checked + _check(checked, session) + payload
    return bytes([SYNC]) + body + struct.pack("<I", zlib.crc32(body, session))


def payload_length(header: bytes, session: int = OPEN) -> int | None:
    """Payload bytes that a header of :data:`HEADER_BYTES` bytes announces.

    None if the header is damaged or of another session. One header in 256 of another session passes; its CRC-32 does
    not.
    """
    if header[0] != SYNC or _check(header[1:-1], session) != header[-1:]:
        return None
    return struct.unpack_from("<H", header, 3)[0]


def decode(frame: bytes, session: int = OPEN) -> Frame | None:
    """The frame in exactly these bytes; None if they are damaged or of another session."""
    if len(frame) < OVERHEAD or payload_length(frame[:HEADER_BYTES], session) != len(frame) - OVERHEAD:
        return None
    if zlib.crc32(frame[1:-TRAILER_BYTES], session) != int.from_bytes(frame[-TRAILER_BYTES:], "little"):
        return None
    return Frame(frame[1], frame[2], bytes(frame[HEADER_BYTES:-TRAILER_BYTES]), session)


def _check(checked: bytes, session: int) -> bytes:
    return struct.pack("<B", zlib.crc32(checked, session) & 0xFF)
