"""Testbench of the building blocks for streams."""

import random
from itertools import pairwise

import cocotb

from popflip.hw.lib.stream import Queue, Unroll, group_layout, item_layout
from popflip.sim.bench.parts import Part, each_part
from popflip.sim.bench.runner import parameters

WIDTH = 6  # bits of an entry, and of an item
TAG = 3  # bits
ENTRIES = 120


async def check_queue(part: Part, depth: int, seed: int, stalls: list[float]) -> None:
    """All entries come out, in order."""
    source = part.source("i", WIDTH, stall=stalls[0], seed=seed)
    sink = part.sink("o", WIDTH, stall=stalls[1], seed=seed)
    draw = random.Random(f"{seed} {depth}")
    entries = [draw.getrandbits(WIDTH) for _ in range(ENTRIES)]
    source.send(*entries)
    if stalls[1] == 1:  # nothing leaves: the queue holds `depth` entries
        for _ in range(4 * depth + 8):
            await part.next_cycle()
        assert source.monitor.items == entries[:depth]
        return
    assert await sink.receive(ENTRIES) == entries
    taken, left = source.monitor.cycles, sink.monitor.cycles
    if stalls == [0, 0]:
        assert [after - before for before, after in zip(taken, left, strict=True)] == [Queue.latency] * ENTRIES
        assert left[-1] - left[0] == (ENTRIES - 1) * (1 if depth > 1 else 2)


async def check_unroll(part: Part, count: int, seed: int, stalls: list[float]) -> None:
    """Every valid item comes out, in order, with the tag of its group."""
    source = part.source("i", group_layout(WIDTH, count, TAG), stall=stalls[0], seed=seed)
    sink = part.sink("o", item_layout(WIDTH, TAG), stall=stalls[1], seed=seed)
    draw = random.Random(f"{seed} {count}")
    groups, expected, first = [], [], 1
    for _ in range(ENTRIES // 2):
        items = [draw.getrandbits(WIDTH) for _ in range(count)]
        group = {
            "items": items,
            "final": draw.randrange(count),
            "last": draw.randrange(2),
            "tag": draw.getrandbits(TAG),
        }
        groups.append(group)
        for number, item in enumerate(items[: group["final"] + 1]):
            last = int(number == group["final"]) & group["last"]
            expected.append({"item": item, "first": first, "last": last, "tag": group["tag"]})
            first = last
    wrong = parameters().get("wrong", {}).get(part.name)
    if wrong is not None:
        expected[wrong]["item"] ^= 1
    source.send(*groups)
    if stalls[1] == 1:  # nothing leaves: the component holds one group
        for _ in range(8):
            await part.next_cycle()
        assert source.monitor.items == groups[:1]
        return
    for number, (got, wanted) in enumerate(zip(await sink.receive(len(expected)), expected, strict=True)):
        assert got == wanted, f"item {number}: {got}, expected {wanted}"
    if stalls == [0, 0]:
        sizes = [group["final"] + 1 for group in groups]
        taken, left = source.monitor.cycles, sink.monitor.cycles
        assert left[0] - taken[0] == Unroll.latency
        assert [after - before for before, after in pairwise(taken)] == sizes[:-1]
        assert left[-1] - left[0] == len(expected) - 1


async def check(part: Part, kind: str, size: int, seed: int, stalls: list[float]) -> None:
    await (check_unroll if kind.startswith("unroll") else check_queue)(part, size, seed, stalls)


@cocotb.test()
async def no_stalls(dut):
    """At the stated latency, an entry a cycle."""
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
