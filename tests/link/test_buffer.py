"""The packet buffer: its content, and its size for a chip."""

from __future__ import annotations

import pytest

from popflip.golden.config import Config
from popflip.hw.config import ChipConfig
from popflip.hw.link.buffer import PacketBuffer, buffer_bytes, longest_payload
from popflip.sim.bench.parts import SideBySide

DEPTHS = (16, 64)


def test_bytes_stay_in_order(testbench):
    buffers = SideBySide({f"buffer{depth}": PacketBuffer(depth) for depth in DEPTHS})
    parts = {f"buffer{depth}": {"depth": depth} for depth in DEPTHS}
    testbench(buffers, "popflip.sim.link.tb_buffer", {"parts": parts, "seed": 1})


@pytest.mark.parametrize(
    ("layers", "lanes", "least", "depth"),
    [
        ((5, 2), 4, 16, 16),  # four bytes of counters and their address
        ((5, 2), 4, 512, 512),
        ((5, 2), 4, 513, 1024),
        ((4096, 2), 4, 16, 1024),  # a sample
        ((5, 2), 64, 16, 128),  # a word of counters
        ((503 * 8, 2), 4, 16, 512),  # the largest sample that fits
        ((504 * 8, 2), 4, 16, 1024),
    ],
)
def test_buffer_holds_a_frame_of_one_item(layers, lanes, least, depth):
    chip = ChipConfig.of(Config(layers=layers, k0=(1,) * (len(layers) - 1)), 2, lanes)
    assert buffer_bytes(chip, least) == depth
    assert longest_payload(depth) == depth - 8
