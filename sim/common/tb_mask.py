"""Testbench of the random masks."""

import random
from itertools import pairwise

import cocotb

from popflip.golden.common.mask import bernoulli_words
from popflip.golden.common.prng import Xorshift32
from popflip.golden.config import WORD, Rule
from popflip.hw.common.mask import draws
from popflip.sim.bench.networks import chip_of
from popflip.sim.bench.parts import EachCycle, Part, each_part
from popflip.sim.bench.runner import parameters
from popflip.sim.bench.words import fields


class Words(EachCycle):
    """The next random words, as many as are taken at most, offered now and then; those taken are counted."""

    def __init__(self, part: Part, most: int, seed: int, stall: float):
        self.golden, self.drawn = Xorshift32(seed), 0
        self._most, self._stall, self._random = most, stall, random.Random(part.name)
        self._offered = False
        self._taken = 0
        super().__init__(part)

    def drive(self) -> None:
        self.golden.draws(self._taken)
        self.drawn += self._taken
        if self._taken or not self._offered:
            self._offered = self._random.random() >= self._stall
        self.part.set("words__valid", self._offered)
        self.part.set("words__payload", fields(Xorshift32(self.golden.state).draws(self._most), WORD))

    def look(self) -> None:
        self._taken = 1 + self.part.get("more") if self._offered and self.part.get("words__ready") else 0


async def check(part: Part, chip: dict, stall: float) -> None:
    """The masks of all layers, or of some rows of them, for several probabilities, and the random words they take."""
    options = parameters()
    config = chip_of(chip)
    lanes, most = max(config.array_synapses, WORD), draws(config)
    starts = part.source("start", range(config.depth), stall=stall, seed=1)
    words = Words(part, most, options["seed"], stall)
    sink = part.sink("o", lanes, stall=stall, seed=3)
    golden = Xorshift32(options["seed"])
    lbe = config.rule == Rule.LBE
    for n in [*([0] if lbe else []), *options["n"]]:
        part.set("n", n)
        drawn = 0 if n in (0, 256) else 8 - ((n & -n).bit_length() - 1)
        for layer, (rows, row_words) in enumerate(zip(config.rows, config.mask_words, strict=True)):
            for count in [1, 1, 1] if lbe else [rows]:  # rows at a time
                masks = bernoulli_words(golden, n, count * row_words).tolist()
                if part.name in options.get("wrong", {}):
                    masks[-1] ^= 1
                starts.send(layer)
                first, before = len(sink.monitor.items), words.drawn
                width = lanes // WORD
                groups = [
                    masks[row * row_words : (row + 1) * row_words][start : start + width]
                    for row in range(count)
                    for start in range(0, row_words, width)
                ]
                got = await sink.receive(len(groups))
                for index, (mask, group) in enumerate(zip(got, groups, strict=True)):
                    expected = fields(group, WORD)
                    mask &= (1 << WORD * len(group)) - 1
                    assert mask == expected, f"n {n}, layer {layer}, mask {index}: {mask:#x}, expected {expected:#x}"
                await part.next_cycle()
                await part.settled()
                assert words.drawn - before == drawn * len(masks), f"n {n}, layer {layer}: {words.drawn - before} drawn"
                assert words.golden.state == golden.state
                assert not part.get("words__ready"), f"n {n}, layer {layer}: draws past the last mask"
                await part.next_cycle()
                if stall == 0:
                    cycles = [starts.monitor.cycles[-1], *sink.monitor.cycles[first:]]
                    assert [after - before for before, after in pairwise(cycles)] == [
                        max(-(-drawn // most), 1) * len(group) + (index == 0) for index, group in enumerate(groups)
                    ], f"n {n}, layer {layer}: not as many words a cycle as it can"


@cocotb.test()
async def equals_golden(dut):
    """With stalls."""
    await each_part(dut, check, stall=0.3)


@cocotb.test()
async def equals_golden_at_full_speed(dut):
    """Without stalls, as many words drawn a cycle as the component says."""
    await each_part(dut, check, stall=0)
