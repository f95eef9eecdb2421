"""Testbench of the store's memories: random reads and writes against an array of bytes."""

import random

import cocotb

from popflip.sim.bench.parts import Part, each_part
from popflip.sim.bench.runner import parameters


async def bytes_in_and_out(part: Part, depth: int, banks: int, content: str, seed: int, count: int) -> None:
    """A read byte is valid in the next cycle and stays until the next read or write."""
    draw = random.Random(f"{seed} {part.name}")
    known = dict(enumerate(bytes.fromhex(content)))
    expected = None
    done = {"read": 0, "write": 0, "bank": set()}
    for _ in range(count):
        await part.next_cycle()
        command = draw.choice(["read", "read", "write", "idle", "both"])
        written = draw.choice([*known] or [0])  # half of all reads find a known byte
        address = draw.choice([written, written ^ 1, draw.randrange(depth), 0, depth - 1]) % depth
        value = draw.randrange(256)
        part.set("port__read", command in ("read", "both"))
        part.set("port__write", command in ("write", "both"))
        part.scramble("port__address", draw)
        part.scramble("port__write_data", draw)
        if command != "idle":
            part.set("port__address", address)
            part.set("port__write_data", value)
            done["bank"].add(address * banks // depth)
        await part.settled()
        if expected is not None:
            assert part.get("port__read_data") == expected
        if command == "read":
            expected = known.get(address)
            done["read"] += expected is not None
        elif command != "idle":
            known[address], expected = value, None
            done["write"] += 1
    assert min(done["read"], done["write"]) > count // 5, "too few reads find a known byte"
    assert done["bank"] == set(range(banks))


@cocotb.test()
async def memories_hold_what_is_written(dut):
    """Memories side by side."""
    await each_part(dut, bytes_in_and_out, seed=parameters()["seed"], count=parameters()["count"])
