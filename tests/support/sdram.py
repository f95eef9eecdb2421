"""Shared by the tests of the SDRAM controller: a chip with times that all bind, and short runs without a compiler."""

from __future__ import annotations

from typing import Any

from amaranth.sim import Simulator

from popflip.hw.memory.sdram import Sdram
from popflip.hw.memory.sdram_part import SdramPart, Time
from popflip.sim.memory.sdram_board import SdramBoard
from popflip.sim.memory.tb_sdram import Run

HZ = 100e6
HARD = SdramPart(
    name="a chip whose times all bind",
    document="none",
    rows=4,
    columns=8,
    data_bits=16,
    rcd=Time(35),
    rp=Time(25),
    ras=Time(115),
    rc=Time(195),
    rfc=Time(145),
    rrd=Time(105),
    wr=Time(cycles=6),
    mrd=Time(115),
    refreshes=8,
    fastest=((2, 100e6), (3, 150e6)),
    refresh_ns=12_000,
    power_up_ns=295,
)
"""Each time is longer than what the others and the controller's own pace leave, and none is a number of cycles."""


class PythonPart:
    """What :class:`popflip.sim.bench.parts.Part` offers, on Amaranth's own simulator: no build, but slow cycles."""

    name = "controller"

    def __init__(self, context: Any, dut: SdramBoard):
        self._context, self._dut = context, dut

    def get(self, port: str) -> int:
        """The bits of ``port``."""
        return self._context.get(getattr(self._dut, port).as_value())

    def set(self, port: str, bits: int) -> None:
        """Drive input ``port``."""
        self._context.set(getattr(self._dut, port).as_value(), bits)

    async def next_cycle(self) -> None:
        """Wait for the next cycle."""
        await self._context.tick()


def run_python(controller: Sdram, hz: float, requests: int, *, seed: int = 1, stall: float = 0.2, idle: int = 0) -> Run:
    """Run ``requests`` random requests, then ``idle`` cycles. Raises what the model and the testbench raise."""
    dut = SdramBoard(controller)
    simulator = Simulator(dut)
    simulator.add_clock(1 / hz)
    runs = []

    async def testbench(context: Any) -> None:
        runs.append(Run(PythonPart(context, dut), controller.part, hz, controller.longest, seed, stall))
        await runs[0].go(requests, None)
        await runs[0].idle(idle)

    simulator.add_testbench(testbench)
    simulator.run()
    return runs[0]
