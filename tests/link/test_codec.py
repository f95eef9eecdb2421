"""Frames as bytes."""

from __future__ import annotations

import random

import pytest

from popflip.hw.link.codec import HEADER_BYTES, OPEN, Frame, decode, encode, payload_length
from popflip.hw.link.commands import Command, Refusal


@pytest.mark.parametrize("payload", [b"", b"\0", b"\xa5" * 7, bytes(range(256))])
@pytest.mark.parametrize("session", [OPEN, 1, 0xFFFF_FFFF])
def test_decode_inverts_encode(payload, session):
    frame = encode(200, Command.TRAIN, payload, session)
    assert decode(frame, session) == Frame(200, Command.TRAIN, payload, session)


def test_example_of_a_session():
    assert encode(7, Command.CONFIGURE, bytes([0, 0, 1, 0, 0]), 0xBEEF_CAFE).hex(" ") == (
        "a5 07 02 05 00 24 00 00 01 00 00 36 4e 69 f3"
    )


def test_a_frame_is_whole_in_its_own_session_only():
    """Whatever the two sessions are: a CRC-32 maps different starts to different ends."""
    draw = random.Random(1)
    headers = 0
    for _ in range(2000):
        session = draw.getrandbits(32)
        others = [OPEN, session ^ 1 << draw.randrange(32), draw.getrandbits(32)]
        frame = encode(draw.randrange(256), draw.randrange(18), draw.randbytes(draw.randrange(40)), session)
        assert decode(frame, session) is not None
        assert [decode(frame, other) for other in others] == [None] * 3
        headers += sum(payload_length(frame[:HEADER_BYTES], other) is not None for other in others)
    assert headers < 6000 / 128, "about one header in 256 passes in another session"


def test_a_refusal_has_its_own_size():
    assert Refusal.unpack(Refusal(0x1234_5678, 9).pack()) == (0x1234_5678, 9)
    for size in (0, 1, 4, 6):
        with pytest.raises(ValueError, match=f"^{size} bytes are not a refusal$"):
            Refusal.unpack(bytes(size))


def test_example_frame():
    frame = encode(7, Command.CONFIGURE, bytes([0, 0, 1, 0, 0]))
    assert frame.hex(" ") == "a5 07 02 05 00 8e 00 00 01 00 00 72 4a 38 42"


def test_every_wrong_bit_is_found():
    frame = encode(3, Command.RESET, b"seed")
    for bit in range(8 * len(frame)):
        damaged = bytearray(frame)
        damaged[bit // 8] ^= 1 << bit % 8
        assert decode(bytes(damaged)) is None
