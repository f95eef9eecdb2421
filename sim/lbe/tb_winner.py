"""Testbench of the winners."""

import random

import cocotb
import numpy as np
from amaranth.hdl import Shape

from popflip.golden.common.forward import fires
from popflip.golden.lbe.winner import winners
from popflip.hw.config import ChipConfig
from popflip.hw.layouts import sum_shape
from popflip.hw.lbe.winner import Winner, winner_layout
from popflip.sim.bench.clock import cycle
from popflip.sim.bench.networks import chip_of
from popflip.sim.bench.parts import EachCycle, Part, each_part
from popflip.sim.bench.runner import parameters
from popflip.sim.bench.streams import PATIENCE, unpack

LISTS = 2


class Layer:
    """The neurons of a layer, and golden's winners among them."""

    def __init__(self, config: ChipConfig, number: int, rng: np.random.Generator):
        rows, most = config.rows[number % config.depth], max(config.rows)
        spread = rng.choice([0, 1, min(2, config.v_max), config.v_max])
        self.z = rng.integers(-spread, spread + 1, rows)
        self.desired = fires(self.z) ^ (rng.random(rows) < rng.choice([0, 0.3, 1]))
        self.group = int(rng.choice([1, 3, rows, most, rng.integers(1, most + 1)]).clip(1, most))
        self.near = int(rng.choice([0, 1, 2, config.v_max // 2, config.v_max + 1]))
        winning = winners(self.z, fires(self.z) != self.desired, self.group, self.near)
        self.winners = [{"row": int(row), "desired": int(self.desired[row])} for row in winning]
        self.ended: int | None = None  # the cycle its last neuron was in


class Held(EachCycle):
    """Counts the lists in use, from a layer's first neuron to its release. ``ready`` must be low when a layer would
    start and both lists are in use."""

    def __init__(self, part: Part):
        self.lists = self.blocked = self.most = 0
        self._within = False  # between a layer's first and last neuron
        super().__init__(part)

    def look(self) -> None:
        get = self.part.get
        expected = self._within or self.lists < LISTS
        assert get("ready") == expected, f"ready is {get('ready')} with {self.lists} lists in use"
        self.blocked += not expected
        if get("valid"):
            self.lists += not self._within
            self._within = not get("last")
        self.lists -= get("release")
        self.most = max(self.most, self.lists)


async def feed(part: Part, layers: list[Layer], z_bits: int, stall: float, draw: random.Random) -> None:
    """Drive all neurons of ``layers``, with sums of ``z_bits`` bits."""
    await part.next_cycle()
    for layer in layers:
        for row, (z, desired) in enumerate(zip(layer.z.tolist(), layer.desired.tolist(), strict=True)):
            while draw.random() < stall or not part.get("ready"):
                part.set("valid", 0)
                for port in ("z", "desired", "last", "group", "near"):
                    part.scramble(port, draw)
                await part.next_cycle()
            last = row == len(layer.z) - 1
            part.set("valid", 1)
            part.set("z", z & (1 << z_bits) - 1)
            part.set("desired", desired)
            part.set("last", last)
            part.set("group", layer.group)
            part.set("near", layer.near)
            if last:
                layer.ended = cycle()
            await part.next_cycle()
        part.set("valid", 0)


async def check(part: Part, chip: dict, stall: float) -> None:
    """Winners equal golden's, layer after layer. Some lists are read at once, some when the next layers wait."""
    options = parameters()
    config = chip_of(chip)
    rng, draw = np.random.default_rng(options["seed"]), random.Random(f"{part.name} {stall}")
    layers = [Layer(config, number, rng) for number in range(options["layers"])]
    for port in ("valid", "release"):
        part.set(port, 0)
    held = Held(part)
    cocotb.start_soon(feed(part, layers, Shape.cast(sum_shape(config)).width, stall, draw))
    await part.next_cycle()
    for number, layer in enumerate(layers):
        where = f"layer {number} of {len(layer.z)} neurons, groups of {layer.group}"
        for _ in range(PATIENCE):
            if layer.ended is not None and cycle() >= layer.ended + Winner.latency:
                break
            await part.next_cycle()
        assert layer.ended is not None, f"{where}: never ends"
        for _ in range(draw.choice([0, 0, 3 * len(layer.z)]) if stall else 0):
            await part.next_cycle()
        expected = list(layer.winners)
        if options.get("wrong", {}).get(part.name) == number:
            expected[-1] = {**expected[-1], "row": expected[-1]["row"] + 1}
        await part.settled()
        assert part.get("rows") == len(expected), f"{where}: {part.get('rows')} winners, expected {len(expected)}"
        await part.next_cycle()
        got = []
        for place in range(len(expected)):
            part.set("position", place)
            await part.next_cycle()
            part.scramble("position", draw)
            await part.settled()
            got.append(unpack(winner_layout(config), part.get("winner")))
            await part.next_cycle()
        assert got == expected, f"{where}: {got}, expected {expected}"
        part.set("release", 1)
        await part.next_cycle()
        part.set("release", 0)
    await part.settled()
    assert held.lists == 0
    assert held.most == LISTS and held.blocked, "never had both lists in use, and a layer waiting"


@cocotb.test()
async def equals_golden(dut):
    """With stalls."""
    await each_part(dut, check, stall=0.3)


@cocotb.test()
async def equals_golden_at_full_speed(dut):
    """A neuron a cycle, lists read as soon as they are complete."""
    await each_part(dut, check, stall=0)
