"""The frame sender: its bytes, its latency and its throughput."""

from __future__ import annotations

import pytest

from popflip.hw.link.sender import FrameSender
from popflip.sim.bench.parts import SideBySide


@pytest.mark.parametrize("stall", [0, 0.4])
def test_bytes_equal_the_codec(testbench, stall):
    parameters = {"parts": {"sender": {}}, "seed": 1, "stall": stall, "count": 60}
    testbench(SideBySide({"sender": FrameSender()}), "popflip.sim.link.tb_sender", parameters)
