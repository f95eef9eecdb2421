"""Testbench of the packet buffer: a ring of bytes, against a list of all bytes ever written."""

import random

import cocotb

from popflip.sim.bench.parts import Part, each_part
from popflip.sim.bench.runner import parameters


async def keeps(part: Part, depth: int) -> None:
    """Random writes, commits, steps, rewinds and marks; the model is a list and four positions in it."""
    draw = random.Random(parameters()["seed"])
    content: list[int] = []
    entry = mark = cursor = 0  # first byte of the open entry, oldest byte kept, byte under the cursor
    readable = 0  # bytes committed before this cycle's data were read
    fullest = wraps = 0
    for cycle in range(4000):
        full = len(content) - mark == depth
        fullest += full
        write = not full and draw.random() < 0.7
        commit = not write and len(content) > entry and draw.random() < 0.3
        byte = draw.randrange(256)
        step = min(draw.choice([0, 1, 1, 1, 3, depth - 1]), entry - cursor)
        rewind, marks = draw.random() < 0.05, draw.random() < (0.3 if cycle // 100 % 2 else 0.01)
        for port, value in (("write", write), ("commit", commit), ("data", byte)):
            part.set(f"writer__{port}", value)
        for port, value in (("step", step), ("rewind", rewind), ("mark", marks)):
            part.set(f"reader__{port}", value)
        await part.settled()
        assert part.get("writer__full") == full, f"cycle {cycle}: full"
        assert part.get("reader__available") == (cursor != entry), f"cycle {cycle}: available"
        if cursor < readable:
            assert part.get("reader__data") == content[cursor], f"cycle {cycle}: data"
        readable = entry
        cursor, mark = mark if rewind else cursor + step, cursor if marks else mark
        if write:
            content.append(byte)
        if commit:
            content[entry] = byte
            entry = len(content)
        wraps = len(content) // depth
        await part.next_cycle()
    assert fullest > 10 and wraps > 10


@cocotb.test()
async def bytes_stay_in_order(dut):
    """Buffers side by side."""
    await each_part(dut, keeps)
