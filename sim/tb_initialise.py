"""Testbench of the initial state."""

import random

import cocotb

from popflip.golden.prng import Xorshift32, first_state
from popflip.golden.weights import initial
from popflip.hw.scan import position_layout
from popflip.hw.weights import weight_word
from popflip.sim.memories import WritePort, chip_of
from popflip.sim.parts import EachCycle, Part, each_part
from popflip.sim.runner import parameters
from popflip.sim.streams import unpack
from popflip.sim.words import config_of, difference, encoded, lanes, positions

ADDRESSES = ("weight_address", "weight_bank", "counter_address", "counter_bank")


class Words(EachCycle):
    """Random words, offered now and then, and the one drawn last."""

    def __init__(self, part: Part, stall: float):
        self.golden = Xorshift32(1)
        self._stall, self._random = stall, random.Random(part.name)
        self._taken = self._offered = False
        super().__init__(part)

    def drive(self) -> None:
        if self._taken:
            self.golden.draw()
        if self._taken or not self._offered:
            self._offered = self._random.random() >= self._stall
        self.part.set("words__valid", self._offered)
        self.part.set("words__payload", Xorshift32(self.golden.state).draw())
        self.part.set("drawn", self.golden.state)

    def look(self) -> None:
        self._taken = bool(self._offered and self.part.get("words__ready"))


async def check(part: Part, chip: dict, stall: float) -> None:
    """All layers of a network, from several seeds."""
    options = parameters()
    config = chip_of(chip)
    start = part.source("start", range(config.depth), stall=stall, seed=1)
    scans = part.sink("scan", range(config.depth), stall=stall, seed=2)
    source = part.source("i", position_layout(config), stall=stall, seed=3)
    written: list[dict] = []

    def write(*values: int) -> None:
        weights, counters = unpack(weight_word(config), values[-2]), values[-1]
        written.append({**dict(zip(ADDRESSES, values, strict=False)), "weights": weights, "counters": counters})

    WritePort(part, "write__write", [f"write__{name}" for name in (*ADDRESSES, "weights", "counters")], write)
    words = Words(part, stall)
    for seed in options["seeds"]:
        golden = config_of(config, seed=seed)
        state = initial(golden)
        words.golden = Xorshift32(first_state(seed))
        for layer in range(config.depth):
            w = state.weights[layer]
            if part.name in options.get("wrong", {}):
                w[-1, -1] *= -1
                w[-1, -1] += w[-1, -1] == 0
            written.clear()
            start.send(layer)
            assert await scans.receive(1) == [layer], "another layer asked for"
            source.send(*positions(config, layer))
            await start.drain()
            await part.next_cycle()
            expected = [
                {**{name: position[name] for name in ADDRESSES}, "weights": weights, "counters": 0}
                for position, weights in zip(positions(config, layer), lanes(config, encoded(config, w)), strict=True)
            ]
            wrong = difference(config, layer, written, expected)
            assert wrong is None, f"seed {seed}: {wrong}"
        assert words.golden.state == state.rng, f"seed {seed}: another number of words drawn"


@cocotb.test()
async def equals_golden(dut):
    """With stalls."""
    await each_part(dut, check, stall=0.3)


@cocotb.test()
async def equals_golden_at_full_speed(dut):
    """Without stalls."""
    await each_part(dut, check, stall=0)
