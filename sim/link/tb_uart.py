"""Testbench of the UART: bytes on the line in both directions, missing stop bits, glitches, a line held low, and clocks
that differ. The parameter ``divisor`` is a fraction as text.
"""

import random
from fractions import Fraction
from itertools import accumulate, pairwise

import cocotb

from popflip.hw.link.uart import sent_bits
from popflip.sim.bench import clock
from popflip.sim.bench.parts import Part, each_part
from popflip.sim.bench.runner import parameters


async def send(part: Part, byte: int, bit_cycles: float, stop: int = 1) -> None:
    """Send a byte on the line, at the speed of ``bit_cycles``."""
    bits = [0, *(byte >> place & 1 for place in range(8)), stop]
    for index, bit in enumerate(bits):
        part.set("rx_pin", bit)
        await clock.wait(part.dut, round((index + 1) * bit_cycles) - round(index * bit_cycles))


async def tolerates(part: Part, divisor: str) -> None:
    """Bytes arrive whole from a sender whose clock is ``off``, without gaps, with ``jitter`` at each edge, in bits."""
    draw = random.Random(f"{parameters()['seed']} {part.name}")
    exact = float(Fraction(divisor))
    if exact > parameters()["longest"]:  # the more cycles, the smaller the part that they round off
        return
    part.set("rx_pin", 1)
    await clock.wait(part.dut, 12 * round(exact))  # the line was low in the reset
    sink, sent = part.sink("rx", 8, stall=0, seed=1), []
    for off in parameters()["off"]:
        content = [draw.choice([0x00, 0xFF, 0x55, 0xAA, draw.randrange(256)]) for _ in range(50)]
        await send_from_another_clock(part, content, exact / (1 + off), parameters()["jitter"], draw)
        sent += content
    assert sink.monitor.items == sent


async def send_from_another_clock(
    part: Part, content: list[int], period: float, jitter: float, draw: random.Random
) -> None:
    """Send bytes, bits of ``period`` cycles; each edge is off by up to ``jitter`` bits. The line is idle afterwards."""
    bits = [1]
    for byte in content:
        bits += [0, *(byte >> place & 1 for place in range(8)), 1, *[1] * draw.choice([0, 0, 0, 1, 2])]
    phase, cycle = draw.random(), 0
    for index, bit in enumerate(bits, 1):  # a cycle sees the level at its beginning
        part.set("rx_pin", bit)
        edge = (index + phase + draw.uniform(-jitter, jitter)) * period
        if (passed := int(edge) + 1 - cycle) > 0:
            await clock.wait(part.dut, passed)
            cycle += passed
    await clock.wait(part.dut, 4 * round(period))


async def receives(part: Part, divisor: str) -> None:
    """Exactly the bytes with a stop bit arrive, at speeds up to 3 % off."""
    exact = float(Fraction(divisor))
    cycles = round(exact)
    draw = random.Random(f"{parameters()['seed']} {part.name}")
    part.set("rx_pin", 1)
    sink = part.sink("rx", 8, stall=0.3, seed=1)
    await clock.wait(part.dut, 12 * cycles)  # the line was low in the reset
    expected = []
    for number in range(120):
        byte = draw.choice([0x00, 0xFF, 0x55, 0xAA, draw.randrange(256)])
        # A speed error moves each edge by a fraction of a cycle; below 8 cycles per bit that rounds to a whole one.
        off = draw.choice([0.97, 1, 1.03]) if exact >= 8 else 1
        fault = draw.choice(["none"] * 6 + ["stop", "glitch", "break"])
        if fault == "stop":
            await send(part, byte, exact, stop=0)
            part.set("rx_pin", 1)
            await clock.wait(part.dut, cycles)
        elif fault == "glitch":
            part.set("rx_pin", 0)
            await clock.wait(part.dut, max(1, cycles // 2 - 2))
            part.set("rx_pin", 1)
            await clock.wait(part.dut, cycles)
        elif fault == "break":
            part.set("rx_pin", 0)
            await clock.wait(part.dut, cycles * draw.randrange(11, 40))
            part.set("rx_pin", 1)
            await clock.wait(part.dut, cycles)
        else:
            await send(part, byte, exact * off)
            expected.append(byte)
            await clock.wait(part.dut, draw.choice([0, 0, 1, draw.randrange(3 * cycles)]))
        assert number < 100 or expected
    await clock.wait(part.dut, 4 * cycles)
    assert sink.monitor.items == expected


async def drops_what_is_not_taken(part: Part, divisor: str) -> None:
    """The first byte waits until it is taken; bytes that arrive meanwhile are lost, and the next one is intact."""
    exact = float(Fraction(divisor))
    part.set("rx_pin", 1)
    part.set("rx__ready", 0)
    await clock.wait(part.dut, 12 * round(exact))  # the line was low in the reset
    for byte in (1, 2, 3):
        await send(part, byte, exact)
    await clock.wait(part.dut, 4 * round(exact))
    sink = part.sink("rx", 8, stall=0)
    await clock.wait(part.dut, 4)
    await send(part, 4, exact)
    assert await sink.receive(2) == [1, 4]


async def sends(part: Part, divisor: str) -> None:
    """The line carries each byte with its start and stop bit, without gaps if bytes arrive fast enough."""
    draw = random.Random(f"{parameters()['seed']} {part.name}")
    part.set("rx_pin", 1)
    source = part.source("tx", 8, stall=parameters()["stall"], seed=1)
    sent = [draw.randrange(256) for _ in range(20)]
    source.send(*sent)
    lengths = sent_bits(Fraction(divisor))
    starts, seen, cycle = [], [], 0

    async def level() -> int:
        nonlocal cycle
        await part.next_cycle()
        await part.settled()
        cycle += 1
        return part.get("tx_pin")

    while len(seen) < len(sent):
        if await level():
            assert cycle < 100 * sum(lengths), "nothing more comes"
            continue
        starts.append(cycle)
        levels = [0, *[await level() for _ in range(sum(lengths) - 1)]]
        bits = [levels[end - length : end] for end, length in zip(accumulate(lengths), lengths, strict=True)]
        assert all(len(set(bit)) == 1 for bit in bits), "an edge within a bit"
        assert (bits[0][0], bits[-1][0]) == (0, 1)
        seen.append(sum(bit[0] << place for place, bit in enumerate(bits[1:-1])))
    assert seen == sent
    if not parameters()["stall"]:
        assert {later - earlier for earlier, later in pairwise(starts)} == {sum(lengths)}


CHECKS = {check.__name__: check for check in (receives, tolerates, drops_what_is_not_taken, sends)}


@cocotb.test()
async def line(dut):
    """The check that the parameters name."""
    await each_part(dut, CHECKS[parameters()["check"]])
