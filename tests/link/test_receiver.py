"""The frame receiver, at two buffer sizes: damaged, cut and overlong frames, with and without stalls."""

from __future__ import annotations

import pytest

from popflip.hw.link.receiver import FrameReceiver
from popflip.sim.bench.parts import SideBySide

LONGEST = (11, 56)


@pytest.mark.parametrize("stall", [0, 0.4])
def test_entries_equal_the_model(testbench, stall):
    receivers = SideBySide({f"receiver{longest}": FrameReceiver(longest) for longest in LONGEST})
    parts = {f"receiver{longest}": {"longest": longest} for longest in LONGEST}
    testbench(receivers, "popflip.sim.link.tb_receiver", {"parts": parts, "seed": 1, "stall": stall, "count": 60})
