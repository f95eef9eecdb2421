"""The queue."""

from __future__ import annotations

from popflip.hw.stream import Queue
from popflip.sim.parts import SideBySide
from popflip.sim.tb_stream import WIDTH


def test_queue_keeps_order(testbench):
    depths = {f"deep{depth}": depth for depth in (1, 2, 3, 4, 7)}
    dut = SideBySide({name: Queue(WIDTH, depth) for name, depth in depths.items()})
    testbench(dut, "popflip.sim.tb_stream", {"parts": {name: {"depth": depth} for name, depth in depths.items()}})
