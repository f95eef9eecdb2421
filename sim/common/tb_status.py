"""Testbench of the register file and of the status words."""

import random

import cocotb

from popflip.hw.common.signature import bits_a_cycle
from popflip.hw.common.status import HELD_ELSEWHERE, RegisterFile, Status
from popflip.hw.registers import CYCLE_COUNTERS, registers, status_words
from popflip.sim.bench.networks import chip_of
from popflip.sim.bench.parts import Part, each_part
from popflip.sim.bench.runner import parameters
from popflip.sim.bench.streams import unpacker

CYCLES = 600
LONG = 4000  # enough for flips that come in most cycles to fill a lower half


async def check(part: Part, chip: dict, kind: str) -> None:
    draw = random.Random(f"{parameters()['seed']} {part.name}")
    await {"registers": check_registers, "status": check_status}[kind](part, chip_of(chip), draw)


async def check_registers(part: Part, config, draw: random.Random) -> None:
    """Registers start at the listed values and hold written ones. Writes to two registers raise a strobe instead."""
    listed = registers(config)
    values = {register.name: register.init for register in listed if register.name not in HELD_ELSEWHERE}
    wrong = parameters().get("wrong", {}).get(part.name)
    if wrong:
        values[wrong] += 1
    unpack = unpacker(RegisterFile(config).values.shape())
    for cycle in range(CYCLES):
        number = draw.randrange(len(listed))
        register = listed[number]
        value = draw.choice([register.low, register.high, draw.randint(register.low, register.high)])
        write = draw.random() < 0.7
        part.set("write", write)
        part.set("index", number)
        part.set("value", value & 0xFFFFFFFF)
        await part.settled()
        got = unpack(part.get("values"))
        assert got == values, f"cycle {cycle}: {got}, expected {values}"
        for name in HELD_ELSEWHERE:
            assert part.get(f"write_{name}") == (write and register.name == name), f"cycle {cycle}: {name}"
        if write and register.name not in HELD_ELSEWHERE:
            values[register.name] = value
        await part.next_cycle()


async def check_status(part: Part, config, draw: random.Random) -> None:
    """Each word includes all events before its request. In the cycle of a clear, events do not count."""
    words = status_words(config)
    forward = ("forward_busy", "forward_stall")
    events = ("samples", "batches", "errors", "correct", "learn_busy", "learn_stall", "select", "flip")
    assert {counter.name for counter in CYCLE_COUNTERS} <= {"total", *forward, *events}
    counts = {word.name: 0 for word in words}
    number, asked, least, before = 0, None, {}, {}
    shown, most = 0, 0
    most_flips = bits_a_cycle(config)
    for cycle in range(LONG):
        clear = asked is None and cycle < CYCLES and draw.random() < 0.01
        steps = {"total": 1, **{name: draw.randrange(2) for name in (*forward, *events)}}
        layer = draw.choice([0] * 9 + [draw.randrange(config.depth)])
        flips = draw.choice([0, draw.randint(1, most_flips), *[most_flips] * 8])
        read = asked is None and not clear and draw.random() < 0.3
        if asked is None:
            number = draw.randrange(len(words))
        counts |= {"signature": draw.getrandbits(32), "rng": draw.getrandbits(32)}
        part.set("clear", clear)
        for name in forward:
            part.set(name, steps[name])
        for name in events:
            part.set(f"events__{name}", steps[name])
        part.set("events__flips_layer", layer)
        part.set("events__flips", flips)
        part.set("crc", counts["signature"])
        part.set("rng", counts["rng"])
        part.set("index", number)
        part.set("read", read)
        await part.settled()
        if asked is not None and part.get("valid"):
            name, value = words[number].name, part.get("value")
            if name == parameters().get("wrong", {}).get(part.name):
                value += 1
            # The word was registered at the end of the previous cycle, so it includes the events before that cycle. The
            # lower half of a count was read a cycle earlier still.
            expected = (least if name in HELD_ELSEWHERE else before)[name]
            assert value == expected, f"cycle {cycle}: {name} is {value}, not {expected}"
            most = max(most, value if name not in HELD_ELSEWHERE else 0)
            asked, shown = None, shown + 1
        assert asked is None or cycle - asked <= Status(config).latency, f"cycle {cycle}: nothing shown"
        if read:
            asked = cycle
        before, least = least, dict(counts)
        for name, step in {**steps, f"flips{layer}": flips}.items():
            counts[name] += step
        if clear:
            counts = dict.fromkeys(counts, 0)
        await part.next_cycle()
    assert shown > LONG // (4 * len(words)), "hardly a word was shown"
    assert most_flips < 32 or most >= 1 << 16, "no count had a carry into its upper half"


@cocotb.test()
async def as_listed(dut):
    """Against the lists of registers and status words."""
    await each_part(dut, check)
