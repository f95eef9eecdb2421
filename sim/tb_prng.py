"""Testbench of the random generator."""

import random

import cocotb

from popflip.golden.prng import Xorshift32
from popflip.sim.parts import EachCycle, Part, each_part
from popflip.sim.runner import parameters


class Generator(EachCycle):
    """Draws and loads at random; state and next word equal golden's in every cycle."""

    def __init__(self, part: Part, seed: int, wrong: bool):
        self._random = random.Random(seed)
        self._golden = Xorshift32(2 if wrong else 1)
        self._load = 0
        self.draws = self.loads = 0
        super().__init__(part)

    def drive(self) -> None:
        if self._load:
            self._golden = Xorshift32(self._load)
            self.loads += 1
        elif self.part.get("words__ready"):
            self._golden.draw()
            self.draws += 1
        self._load = self._random.getrandbits(32) | 1 if self._random.random() < 0.05 else 0
        self.part.set("load", self._load != 0)
        self.part.set("load_state", self._load or self._random.getrandbits(32))
        self.part.set("words__ready", self._random.random() < 0.6)

    def look(self) -> None:
        state, word = self.part.get("state"), self.part.get("words__payload")
        assert self.part.get("words__valid") == 1, "no word is offered"
        assert state == self._golden.state, f"after {self.draws} draws: {state:#x}, expected {self._golden.state:#x}"
        expected = Xorshift32(state).draw()
        assert word == expected, f"after {self.draws} draws: offers {word:#x}, expected {expected:#x}"


async def check(part: Part) -> None:
    options = parameters()
    part.set("words__ready", 0)
    part.set("load", 0)
    generator = Generator(part, options["seed"], options.get("wrong", False))
    while min(generator.draws, generator.loads * 20) < 1000:
        await part.next_cycle()


@cocotb.test()
async def equals_golden(dut):
    """Words drawn now and then, and states loaded in between."""
    await each_part(dut, check)
