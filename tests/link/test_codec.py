"""Frames as bytes."""

from __future__ import annotations

import pytest

from popflip.hw.link.codec import Frame, decode, encode
from popflip.hw.link.commands import Command


@pytest.mark.parametrize("payload", [b"", b"\0", b"\xa5" * 7, bytes(range(256))])
def test_decode_inverts_encode(payload):
    assert decode(encode(200, Command.TRAIN, payload)) == Frame(200, Command.TRAIN, payload)


def test_example_frame():
    frame = encode(7, Command.CONFIGURE, bytes([0, 0, 1, 0, 0]))
    assert frame.hex(" ") == "a5 07 02 05 00 8e 00 00 01 00 00 72 4a 38 42"


def test_every_wrong_bit_is_found():
    frame = encode(3, Command.RESET, b"seed")
    for bit in range(8 * len(frame)):
        damaged = bytearray(frame)
        damaged[bit // 8] ^= 1 << bit % 8
        assert decode(bytes(damaged)) is None
