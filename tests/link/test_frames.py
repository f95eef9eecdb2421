"""Frames into the chip and out of it, and the buffer they wait in."""

from __future__ import annotations

import pytest

from popflip.golden.config import Config
from popflip.hw.config import ChipConfig
from popflip.hw.link.buffer import PacketBuffer, buffer_bytes, longest_payload
from popflip.hw.link.frames import COMMANDS, RESULTS, Command, FrameReceiver, FrameSender, Result
from popflip.sim.bench.parts import SideBySide

LONGEST = (11, 56)
DEPTHS = (16, 64)


@pytest.mark.parametrize("stall", [0, 0.4])
def test_frames(testbench, stall):
    parts = {
        "sender": ({"what": "sends"}, FrameSender()),
        **{
            f"receiver{longest}": ({"what": "receives", "longest": longest}, FrameReceiver(longest))
            for longest in LONGEST
        },
        **{f"buffer{depth}": ({"what": "keeps", "depth": depth}, PacketBuffer(depth)) for depth in DEPTHS},
    }
    descriptions = {name: description for name, (description, _) in parts.items()}
    dut = SideBySide({name: component for name, (_, component) in parts.items()})
    testbench(dut, "popflip.sim.link.tb_frames", {"parts": descriptions, "seed": 1, "stall": stall, "count": 60})


@pytest.mark.parametrize(
    ("layers", "lanes", "wanted", "depth"),
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
def test_buffer_holds_a_frame_of_one_item(layers, lanes, wanted, depth):
    chip = ChipConfig.of(Config(layers=layers, k0=(1,) * (len(layers) - 1)), 2, lanes)
    assert buffer_bytes(chip, wanted) == depth
    assert longest_payload(depth) == depth - 8


def test_every_command_and_result_is_described():
    assert set(COMMANDS) == set(Command)
    assert set(RESULTS) == set(Result)
