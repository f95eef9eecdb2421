"""Testbench of the queue."""

import random

import cocotb

from popflip.hw.stream import Queue
from popflip.sim.parts import Part, each_part

WIDTH = 6  # bits of an entry
ENTRIES = 120


async def check(part: Part, depth: int, seed: int, stalls: list[float]) -> None:
    """What goes in comes out, in order."""
    source = part.source("i", WIDTH, stall=stalls[0], seed=seed)
    sink = part.sink("o", WIDTH, stall=stalls[1], seed=seed)
    draw = random.Random(f"{seed} {depth}")
    entries = [draw.getrandbits(WIDTH) for _ in range(ENTRIES)]
    source.send(*entries)
    if stalls[1] == 1:  # nothing leaves: it holds as many as it is deep
        for _ in range(4 * depth + 8):
            await part.next_cycle()
        assert source.monitor.items == entries[:depth]
        return
    assert await sink.receive(ENTRIES) == entries
    taken, left = source.monitor.cycles, sink.monitor.cycles
    if stalls == [0, 0]:
        assert [after - before for before, after in zip(taken, left, strict=True)] == [Queue.latency] * ENTRIES
        assert left[-1] - left[0] == (ENTRIES - 1) * (1 if depth > 1 else 2)


@cocotb.test()
async def no_stalls(dut):
    """An entry leaves as soon as it can, and one leaves a cycle."""
    await each_part(dut, check, seed=1, stalls=[0, 0])


@cocotb.test()
async def random_stalls(dut):
    """Often full."""
    await each_part(dut, check, seed=2, stalls=[0.3, 0.4])


@cocotb.test()
async def slow_source(dut):
    """Often empty."""
    await each_part(dut, check, seed=3, stalls=[0.8, 0.1])


@cocotb.test()
async def blocked(dut):
    """Full, and nothing moves."""
    await each_part(dut, check, seed=4, stalls=[0, 1])
