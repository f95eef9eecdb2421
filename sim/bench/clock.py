"""The clock of a testbench, and what happens in each of its cycles.

One task calls all :class:`Agent` objects, in plain Python: to wake a coroutine costs as much as a dozen such calls.
In a cycle,

1. at the falling edge, coroutines that wait for it go on, and then all agents :meth:`~Agent.drive` their inputs;
2. when all signals are stable, all agents :meth:`~Agent.look`;
3. after the rising edge, which is past the moment that registers take their values, some cycles have a probe: what
   streams offer must not depend on ``ready``.
"""

from __future__ import annotations

import random
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly, RisingEdge, Timer
from cocotb.utils import get_sim_time

from popflip.sim.bench import ports

PERIOD = 10  # ns
PROBES = 0.25  # share of the cycles with a probe

_agents: list[Agent] = []
"""Of the test that runs. A simulator runs one test after the other, on one design."""


class Agent:
    """Takes part in every cycle from its making to the end of the test. To be made after :func:`start`."""

    probed = False
    """Whether the agent takes part in probes."""

    def __init__(self) -> None:
        _agents.append(self)

    def drive(self) -> None:
        """Set inputs."""

    def look(self) -> None:
        """Read the values that the registers take at the end of the cycle."""

    def set_ready(self, ready: int) -> None:
        """Set ``ready`` of a stream for a probe."""

    def compare_offer(self, ready: int) -> None:
        """Compare what the stream offers with that at the other value of ``ready``. First comes 0, then 1."""


async def start(dut: Any) -> None:
    """Start the clock and reset ``dut`` for two cycles. Returns at a falling edge with reset low."""
    _agents.clear()
    ports.forget()
    dut.rst.value = 1
    Clock(dut.clk, PERIOD, unit="ns").start()
    for _ in range(3):
        await FallingEdge(dut.clk)
    dut.rst.value = 0
    cocotb.start_soon(_run(dut))


def cycle() -> int:
    """Number of the current clock cycle. It changes at falling edges, as inputs do."""
    return int(get_sim_time("ns") + PERIOD // 2) // PERIOD


async def wait(dut: Any, cycles: int) -> None:
    """Wait for the falling edge ``cycles`` cycles from this one, and wake only then."""
    if cycles > 0:
        await Timer(cycles * PERIOD - PERIOD // 2, unit="ns")
        await FallingEdge(dut.clk)


async def _run(dut: Any) -> None:
    """All cycles. To wait for the rising edge puts this task behind the others that wait for the falling edge."""
    draw = random.Random("probes")
    rising, falling, stable = RisingEdge(dut.clk), FallingEdge(dut.clk), ReadOnly()
    while True:
        await rising
        if draw.random() < PROBES:
            await _probe([agent for agent in _agents if agent.probed])
        await falling
        for agent in _agents:
            agent.drive()
        await stable
        for agent in _agents:
            agent.look()


async def _probe(agents: list[Agent]) -> None:
    """All streams at once: what they offer must depend on no ``ready``."""
    for ready in (0, 1):
        for agent in agents:
            agent.set_ready(ready)
        await Timer(1, unit="ns")
        for agent in agents:
            agent.compare_offer(ready)
