"""Testbench of the counter memory."""

import random

import cocotb

from popflip.sim.bench.networks import chip_of
from popflip.sim.bench.parts import Part, each_part
from popflip.sim.bench.runner import parameters
from popflip.sim.bench.words import fields

CYCLES = 600


async def check(part: Part, chip: dict) -> None:
    """Words written through the port or the banks come back through both. A read in the cycle of a write returns the
    old value.

    Compact: a cycle has a read or a write, and read data are undefined after a write.
    """
    config = chip_of(chip)
    width, count = config.counter_bits * config.array_synapses, config.learn_rows
    draw = random.Random(parameters()["seed"])
    banks = [[0] * config.counter_map.depth for _ in range(count)]
    # Requests of the cycles before: the word that each bank shows, and the bank that the port shows.
    held: list[tuple[list[int | None], int | None]] = [([None] * count, None)] * config.read_latency
    for cycle in range(CYCLES):
        one = draw.random() < 0.5  # word at a time, or all banks
        shown, bank = list(held[-1][0]), held[-1][1]
        read_bank, write_bank = draw.randrange(count), draw.randrange(count)
        written = {}
        for port in ["port", *(f"banks__bank{index}" for index in range(count))]:
            active = (port == "port") == one
            read, write = active and draw.random() < 0.7, active and draw.random() < 0.6
            write = write and not (config.compact and read)
            address = draw.randrange(config.counter_map.depth)
            write_address = address if draw.random() < 0.3 else draw.randrange(config.counter_map.depth)
            value = draw.getrandbits(width)
            for name, number in {
                "read": read,
                "read_address": address,
                "write": write,
                "write_address": write_address,
                "write_data": value,
            }.items():
                part.set(f"{port}__{name}", number)
            if port == "port":
                part.set("port__read_bank", read_bank)
                part.set("port__write_bank", write_bank)
                if read:
                    shown, bank = [words[address] for words in banks], read_bank
            elif read:
                index = int(port.removeprefix("banks__bank"))
                shown[index] = banks[index][address]
            if write:
                written[write_bank if port == "port" else int(port.removeprefix("banks__bank"))] = write_address, value
        await part.settled()
        words, of_port = held[0]
        for index, word in enumerate(words):
            got = part.get(f"banks__bank{index}__read_data")
            assert word is None or got == word, f"cycle {cycle}: not the word read last from bank {index}"
        if of_port is not None and words[of_port] is not None:
            got = part.get("port__read_data")
            assert got == words[of_port], f"cycle {cycle}: not the word read last"
        if count > 1 and None not in words:
            assert part.get("port__read_rows") == fields(words, width), f"cycle {cycle}: not the words read last"
        if config.compact and written:
            shown = [None] * count
        held = [*held[1:], (shown, bank)]
        for index, (address, value) in written.items():
            banks[index][address] = value
        await part.next_cycle()


@cocotb.test()
async def equals_lists(dut):
    """Against a list of words for each bank."""
    await each_part(dut, check)
