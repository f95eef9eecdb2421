"""Testbench of the slots."""

import random

import cocotb

from popflip.sim.bench.networks import chip_of
from popflip.sim.bench.parts import Part, each_part
from popflip.sim.bench.runner import parameters

CYCLES = 600


async def check(part: Part, chip: dict) -> None:
    """The lowest free slot is offered, whatever is taken and freed at the same time."""
    slots = chip_of(chip).slots
    draw = random.Random(parameters()["seed"])
    taken: set[int] = set()
    fullest = 0
    for cycle in range(CYCLES):
        lively = (cycle // 60 % 3 + 1) / 4  # from mostly full to mostly empty
        freed = draw.sample(sorted(taken), min(len(taken), draw.choice([0, 1, 2]))) if draw.random() < lively else []
        ports = ("free", "slot"), ("free_also", "slot_also")
        for (strobe, number), slot in zip(ports, [*freed, None, None][:2], strict=True):
            part.set(f"freed__{strobe}", slot is not None)
            part.set(f"freed__{number}", draw.randrange(slots) if slot is None else slot)
        take = len(taken) < slots and draw.random() < 0.6
        part.set("take", take)
        await part.settled()
        assert part.get("available") == (len(taken) < slots), f"cycle {cycle}: available"
        assert part.get("empty") == (not taken), f"cycle {cycle}: empty"
        lowest = min(set(range(slots)) - taken, default=None)
        assert lowest is None or part.get("slot") == lowest, f"cycle {cycle}: slot {part.get('slot')}"
        taken = (taken | ({lowest} if take else set())) - set(freed)
        fullest = max(fullest, len(taken))
        await part.next_cycle()
    assert fullest == slots


@cocotb.test()
async def offers_the_lowest_free_slot(dut):
    """Against a set of the slots that are taken."""
    await each_part(dut, check)
