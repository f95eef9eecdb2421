"""Testbench of the popcount."""

import random
from collections import deque

import cocotb

from popflip.hw.lib.popcount import Popcount
from popflip.sim.bench.parts import Part, each_part
from popflip.sim.bench.runner import parameters


async def check(part: Part, width: int) -> None:
    """A count a cycle, after the latency that the component states."""
    draw = random.Random(parameters()["seed"])
    edges = [0, (1 << width) - 1, *(1 << bit for bit in range(width))]
    counts: deque[int] = deque()
    for cycle in range(len(edges) + 200):
        bits = edges[cycle] if cycle < len(edges) else draw.getrandbits(width)
        part.set("i", bits)
        await part.settled()
        if len(counts) == Popcount(width).latency:
            expected = counts.popleft()
            assert part.get("o") == expected, f"cycle {cycle}: {part.get('o')}, expected {expected}"
        counts.append(bits.bit_count())
        await part.next_cycle()


@cocotb.test()
async def counts_ones(dut):
    """All widths side by side."""
    await each_part(dut, check)
