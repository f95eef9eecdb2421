"""Testbench of the memory of activations."""

import random

import cocotb

from popflip.golden.config import Rule
from popflip.hw.layouts import activation_words
from popflip.sim.bench.memories import ActivationMemory
from popflip.sim.bench.networks import chip_of
from popflip.sim.bench.parts import Part, each_part
from popflip.sim.bench.runner import parameters

CYCLES = 800
READERS = ("forward", "learn")


async def check(part: Part, chip: dict) -> None:
    """Both readers see, in words of ``N``, the neurons written ``P`` at a time. A read in the cycle of a write returns
    the old value. Only GFT's copy for learning holds ``in_window``.
    """
    config = chip_of(chip)
    rows, lanes, words = config.array_rows, config.array_synapses, activation_words(config)
    seed = parameters()["seed"]
    draw = random.Random(seed)
    memory = ActivationMemory(config, seed)
    everything = [
        (slot, word, place)
        for slot in range(config.slots)
        for word in range(0, words, max(1, rows // lanes))
        for place in range(max(1, lanes // rows))
    ]
    held: dict[str, tuple[int, int] | None] = dict.fromkeys(READERS)
    for cycle in range(len(everything) + CYCLES):
        fills = cycle < len(everything)
        write = fills or draw.random() < 0.5
        slot, word, place = everything[cycle] if fills else draw.choice(everything)
        if not fills and rows > lanes:
            word = min(words - 1, word + draw.randrange(rows // lanes))  # its low bits are ignored
        active, in_window = draw.getrandbits(rows), draw.getrandbits(rows)
        for port, value in {
            "slot": slot,
            "word": word,
            "part": place,
            "active": active,
            "in_window": in_window,
        }.items():
            part.set(f"store__{port}", value)
        part.set("store__write", write)
        requests = {}
        for reader in READERS:
            reads = not fills and draw.random() < 0.6
            same = draw.random() < 0.3
            requests[reader] = (
                slot if same else draw.randrange(config.slots),
                word if same else draw.randrange(words),
                reads,
            )
            part.set(f"{reader}__slot", requests[reader][0])
            part.set(f"{reader}__word", requests[reader][1])
            part.set(f"{reader}__en", reads)
        await part.settled()
        wrong = cycle == parameters().get("wrong", {}).get(part.name)
        for reader, expected in held.items():
            if expected is not None:
                assert part.get(f"{reader}__active") == expected[0] ^ wrong, f"cycle {cycle}, {reader}: active"
                if reader == "learn" and config.rule == Rule.GFT:
                    assert part.get("learn__in_window") == expected[1], f"cycle {cycle}: in_window"
        for reader, (from_slot, from_word, reads) in requests.items():
            if reads:
                held[reader] = memory.read(from_slot, from_word, config.fold if reader == "forward" else 1)
        if write:
            memory.write(slot, word, place, active, in_window)
        await part.next_cycle()


@cocotb.test()
async def equals_a_model(dut):
    """Against a model in Python."""
    await each_part(dut, check)
