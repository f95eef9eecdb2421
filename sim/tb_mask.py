"""Testbench of the random masks."""

from itertools import pairwise

import cocotb

from popflip.golden.config import WORD
from popflip.golden.mask import bernoulli_words
from popflip.golden.prng import Xorshift32
from popflip.sim.memories import chip_of
from popflip.sim.parts import Part, each_part
from popflip.sim.runner import parameters


async def check(part: Part, chip: dict, stall: float) -> None:
    """The masks of all layers, for several probabilities, and the random words they take."""
    options = parameters()
    config = chip_of(chip)
    lanes = max(config.array_synapses, WORD)
    starts = part.source("start", range(config.depth), stall=stall, seed=1)
    words = part.source("words", WORD, stall=stall, seed=2)
    sink = part.sink("o", lanes, stall=stall, seed=3)
    golden, raw = Xorshift32(options["seed"]), Xorshift32(options["seed"])
    for n in options["n"]:
        part.set("n", n)
        draws = 0 if n == 256 else 8 - ((n & -n).bit_length() - 1)
        for layer, (rows, row_words) in enumerate(zip(config.rows, config.mask_words, strict=True)):
            masks = bernoulli_words(golden, n, rows * row_words).tolist()
            if part.name in options.get("wrong", {}):
                masks[-1] ^= 1
            words.send(*raw.draws(draws * len(masks)).tolist())
            starts.send(layer)
            first = len(sink.monitor.items)
            width = lanes // WORD
            groups = [
                masks[row * row_words : (row + 1) * row_words][start : start + width]
                for row in range(rows)
                for start in range(0, row_words, width)
            ]
            got = await sink.receive(len(groups))
            for index, (mask, group) in enumerate(zip(got, groups, strict=True)):
                expected = sum(part << WORD * place for place, part in enumerate(group))
                mask &= (1 << WORD * len(group)) - 1
                assert mask == expected, f"n {n}, layer {layer}, mask {index}: {mask:#x}, expected {expected:#x}"
            await words.drain()
            await part.settled()
            assert not part.get("words__ready"), f"n {n}, layer {layer}: draws past the last mask"
            await part.next_cycle()
            if stall == 0:
                cycles = [starts.monitor.cycles[-1], *sink.monitor.cycles[first:]]
                assert [after - before for before, after in pairwise(cycles)] == [
                    max(draws, 1) * len(group) + (index == 0) for index, group in enumerate(groups)
                ], f"n {n}, layer {layer}: not a cycle a word drawn"


@cocotb.test()
async def equals_golden(dut):
    """With stalls."""
    await each_part(dut, check, stall=0.3)


@cocotb.test()
async def equals_golden_at_full_speed(dut):
    """Without stalls, in as many cycles as words are drawn."""
    await each_part(dut, check, stall=0)
