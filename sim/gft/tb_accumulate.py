"""Testbench of the accumulate stage."""

import random

import cocotb
import numpy as np

from popflip.golden.gft.accumulate import accumulate
from popflip.hw.gft.accumulate import Accumulate
from popflip.hw.layouts import update_layout
from popflip.sim.bench.memories import ReadPort, SinglePort, WritePort
from popflip.sim.bench.networks import chip_of
from popflip.sim.bench.parts import Part, each_part
from popflip.sim.bench.runner import parameters
from popflip.sim.bench.streams import pack
from popflip.sim.bench.words import fields


async def check(part: Part, chip: dict) -> None:
    """Updates of random words, often at the shortest interval allowed, end in golden's counters."""
    options = parameters()
    config, component = chip_of(chip), Accumulate(chip_of(chip))
    rng, draw = np.random.default_rng(options["seed"]), random.Random(options["seed"])
    lanes, depth, dclip = config.array_synapses, config.counter_map.depth, config.dclip
    m = rng.integers(-config.mmax, config.mmax + 1, (depth, lanes)).astype(np.int16)
    counters = {address: fields(word, config.counter_bits) for address, word in enumerate(m)}
    reads = ReadPort(
        part,
        "counters__read",
        ("counters__read_address",),
        ("counters__read_data",),
        lambda address: [counters[address]],
        latency=config.read_latency,
    )
    ports = ("counters__write_address", "counters__write_data")
    writes = WritePort(part, "counters__write", ports, lambda address, word: counters.update({address: word}))

    if config.compact:
        SinglePort(part, "counters__read", "counters__write", "counters__read_data")
    part.set("valid", 0)
    await part.next_cycle()  # from here on the ports have values
    recent: list[int | None] = [None] * (component.latency - 1)  # addresses that must not come again yet
    updates: list[tuple[int, int, np.ndarray]] = []
    order: list[int] = []  # of the addresses
    for cycle in range(options["cycles"]):
        # The oldest address is allowed again in this cycle: choose it often.
        free = sorted(set(range(depth)) - set(recent))
        valid = bool(free) and draw.random() < 0.8
        if config.compact and recent[-1] is not None:  # never two in a row
            valid = False
        part.set("valid", valid)
        if valid:
            again = [address for address in order[-component.latency :][:1] if address in free]
            address = again[0] if again and draw.random() < 0.5 else draw.choice(free)
            delta = draw.choice([-dclip, dclip, draw.randint(1, dclip), -draw.randint(1, dclip)])
            a = rng.choice(np.array([-1, 0, 1], np.int8), lanes) if draw.random() < 0.8 else np.ones(lanes, np.int8)
            positive = (a > 0) | (a == 0) & (rng.random(lanes) < 0.5)  # does not matter where not enabled
            inputs = {"enable": fields(a != 0, 1), "positive": fields(positive, 1)}
            update = {"address": address, "delta": delta, "lanes": inputs}
            part.set("i", pack(update_layout(config), update))
            updates.append((address, delta, a))
            order.append(address)
        else:
            part.scramble("i", draw)
        in_flight = any(address is not None for address in recent)
        await part.settled()
        if config.compact:  # a write that no read delays is a cycle earlier
            in_flight = writes.count < len(updates) - valid
        assert part.get("busy") == in_flight, f"cycle {cycle}: busy"
        recent = [*recent[1:], address if valid else None]
        await part.next_cycle()
    part.set("valid", 0)
    for _ in range(component.latency):
        await part.next_cycle()

    for address, delta, a in updates:
        m[address : address + 1] = accumulate(
            m[address : address + 1], np.array([[delta]], np.int32), a[None], config.mmax
        )
    assert len(reads.requests) == writes.count == len(updates)
    if part.name in options.get("wrong", {}):
        m[options["wrong"][part.name], 0] ^= 1
    for address, word in enumerate(m):
        expected = fields(word, config.counter_bits)
        assert counters[address] == expected, f"word {address}: {counters[address]:#x}, expected {expected:#x}"


@cocotb.test()
async def equals_golden(dut):
    """An update in most cycles."""
    await each_part(dut, check)
