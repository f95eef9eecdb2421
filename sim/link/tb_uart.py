"""Testbench of the UART: bytes on the line in both directions, missing stop bits, glitches, and a line held low."""

import random
from itertools import pairwise

import cocotb

from popflip.sim.bench import clock
from popflip.sim.bench.parts import Part, each_part
from popflip.sim.bench.runner import parameters

BITS = 10  # of a byte on the line


async def send(part: Part, byte: int, bit_cycles: float, stop: int = 1) -> None:
    """Send a byte on the line, at the speed of ``bit_cycles``."""
    bits = [0, *(byte >> place & 1 for place in range(8)), stop]
    for index, bit in enumerate(bits):
        part.set("rx_pin", bit)
        await clock.wait(part.dut, round((index + 1) * bit_cycles) - round(index * bit_cycles))


async def receives(part: Part, divisor: int) -> None:
    """Exactly the bytes with a stop bit arrive, at speeds up to 3 % off."""
    draw = random.Random(f"{parameters()['seed']} {part.name}")
    part.set("rx_pin", 1)
    sink = part.sink("rx", 8, stall=0.3, seed=1)
    expected = []
    for number in range(120):
        byte = draw.choice([0x00, 0xFF, 0x55, 0xAA, draw.randrange(256)])
        # A speed error moves each edge by a fraction of a cycle; below 8 cycles per bit that rounds to a whole one.
        off = draw.choice([0.97, 1, 1.03]) if divisor >= 8 else 1
        fault = draw.choice(["none"] * 6 + ["stop", "glitch", "break"])
        if fault == "stop":
            await send(part, byte, divisor, stop=0)
            part.set("rx_pin", 1)
            await clock.wait(part.dut, divisor)
        elif fault == "glitch":
            part.set("rx_pin", 0)
            await clock.wait(part.dut, max(1, divisor // 2 - 2))
            part.set("rx_pin", 1)
            await clock.wait(part.dut, divisor)
        elif fault == "break":
            part.set("rx_pin", 0)
            await clock.wait(part.dut, divisor * draw.randrange(11, 40))
            part.set("rx_pin", 1)
            await clock.wait(part.dut, divisor)
        else:
            await send(part, byte, divisor * off)
            expected.append(byte)
            await clock.wait(part.dut, draw.choice([0, 0, 1, draw.randrange(3 * divisor)]))
        assert number < 100 or expected
    await clock.wait(part.dut, 4 * divisor)
    assert sink.monitor.items == expected


async def drops_what_is_not_taken(part: Part, divisor: int) -> None:
    """The first byte waits until it is taken; bytes that arrive meanwhile are lost, and the next one is intact."""
    part.set("rx_pin", 1)
    part.set("rx__ready", 0)
    for byte in (1, 2, 3):
        await send(part, byte, divisor)
    await clock.wait(part.dut, 4 * divisor)
    sink = part.sink("rx", 8, stall=0)
    await clock.wait(part.dut, 4)
    await send(part, 4, divisor)
    assert await sink.receive(2) == [1, 4]


async def sends(part: Part, divisor: int) -> None:
    """The line carries each byte with its start and stop bit, without gaps if bytes arrive fast enough."""
    draw = random.Random(f"{parameters()['seed']} {part.name}")
    part.set("rx_pin", 1)
    source = part.source("tx", 8, stall=parameters()["stall"], seed=1)
    sent = [draw.randrange(256) for _ in range(20)]
    source.send(*sent)
    starts, seen, cycle = [], [], 0

    async def level() -> int:
        nonlocal cycle
        await part.next_cycle()
        await part.settled()
        cycle += 1
        return part.get("tx_pin")

    while len(seen) < len(sent):
        if await level():
            assert cycle < 100 * BITS * divisor, "nothing more comes"
            continue
        starts.append(cycle)
        levels = [0, *[await level() for _ in range(BITS * divisor - 1)]]
        bits = [levels[index * divisor : (index + 1) * divisor] for index in range(BITS)]
        assert all(len(set(bit)) == 1 for bit in bits), "an edge within a bit"
        assert (bits[0][0], bits[-1][0]) == (0, 1)
        seen.append(sum(bit[0] << place for place, bit in enumerate(bits[1:-1])))
    assert seen == sent
    if not parameters()["stall"]:
        assert {later - earlier for earlier, later in pairwise(starts)} == {BITS * divisor}


CHECKS = {check.__name__: check for check in (receives, drops_what_is_not_taken, sends)}


@cocotb.test()
async def line(dut):
    """The check that the parameters name."""
    await each_part(dut, CHECKS[parameters()["check"]])
