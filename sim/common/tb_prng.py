"""Testbench of the random generator."""

import random

import cocotb

from popflip.golden.common.prng import Xorshift32
from popflip.golden.config import WORD
from popflip.sim.bench.parts import EachCycle, Part, each_part
from popflip.sim.bench.runner import parameters
from popflip.sim.bench.words import fields


class Generator(EachCycle):
    """Draws up to ``most`` words at once and loads at random; state and next words equal golden's in every cycle."""

    def __init__(self, part: Part, most: int, seed: int, wrong: bool):
        self._random = random.Random(seed)
        self._golden = Xorshift32(2 if wrong else 1)
        self._most, self._load = most, 0
        self.draws = self.loads = 0
        super().__init__(part)

    def drive(self) -> None:
        if self._load:
            self._golden = Xorshift32(self._load)
            self.loads += 1
        elif self.part.get("words__ready"):
            count = self.part.get("more") + 1
            self._golden.draws(count)
            self.draws += count
        self._load = self._random.getrandbits(32) | 1 if self._random.random() < 0.05 else 0
        self.part.set("load", self._load != 0)
        self.part.set("load_state", self._load or self._random.getrandbits(32))
        self.part.set("words__ready", self._random.random() < 0.6)
        self.part.set("more", self._random.randrange(self._most))

    def look(self) -> None:
        state, words = self.part.get("state"), self.part.get("words__payload")
        assert self.part.get("words__valid") == 1, "no word is offered"
        assert state == self._golden.state, f"after {self.draws} draws: {state:#x}, expected {self._golden.state:#x}"
        expected = fields(Xorshift32(state).draws(self._most), WORD)
        assert words == expected, f"after {self.draws} draws: offers {words:#x}, expected {expected:#x}"


async def check(part: Part, most: int) -> None:
    options = parameters()
    part.set("words__ready", 0)
    part.set("load", 0)
    generator = Generator(part, most, options["seed"], part.name in options.get("wrong", {}))
    while min(generator.draws, generator.loads * 20) < 1000:
        await part.next_cycle()


@cocotb.test()
async def equals_golden(dut):
    """Words drawn now and then, and states loaded in between."""
    await each_part(dut, check)
