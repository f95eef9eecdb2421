"""Testbench of the counter memory."""

import random

import cocotb

from popflip.sim.memories import chip_of
from popflip.sim.parts import Part, each_part
from popflip.sim.runner import parameters

CYCLES = 600


async def check(part: Part, chip: dict) -> None:
    """Words come back as they were written, a read in a write's cycle gets what was there before."""
    config = chip_of(chip)
    bits = config.counter_bits * config.array_synapses
    draw = random.Random(parameters()["seed"])
    words = [0] * config.counter_depth
    held = [None] * config.read_latency  # the word read last, as it was in the cycles before
    for cycle in range(CYCLES):
        read, write = draw.random() < 0.7, draw.random() < 0.6
        address = draw.randrange(len(words))
        write_address = address if draw.random() < 0.3 else draw.randrange(len(words))
        value = draw.getrandbits(bits)
        part.set("port__read", read)
        part.set("port__read_address", address)
        part.set("port__write", write)
        part.set("port__write_address", write_address)
        part.set("port__write_data", value)
        await part.settled()
        assert held[0] is None or part.get("port__read_data") == held[0], f"cycle {cycle}: not the word read last"
        held = [*held[1:], words[address] if read else held[-1]]
        if write:
            words[write_address] = value
        await part.next_cycle()


@cocotb.test()
async def equals_a_list(dut):
    """Against a list of words."""
    await each_part(dut, check)
