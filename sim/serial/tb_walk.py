"""Testbench of the walk over positions and words that forward and learning of a compact chip share."""

import random

import cocotb
import numpy as np

from popflip.golden.common.forward import with_bias
from popflip.golden.conv.patches import pixels
from popflip.hw.config import ChipConfig
from popflip.hw.serial.places import Places
from popflip.sim.bench.memories import ReadPort
from popflip.sim.bench.networks import chip_of
from popflip.sim.bench.parts import Part, each_part
from popflip.sim.bench.runner import parameters
from popflip.sim.bench.words import fields
from popflip.sim.conv.tb_patches import patches

PATIENCE = 10_000


class Samples:
    """Images of all slots and the activations of one sample, at the ports of a walk."""

    def __init__(self, part: Part, chip: ChipConfig, rng: np.random.Generator):
        self.chip, self.places = chip, Places(chip)
        self.x = rng.integers(0, 2, (chip.slots, chip.inputs)).astype(np.uint8)
        self.active = [rng.choice(np.array([-1, 1], np.int8), layer.neurons) for layer in chip.plan[:-1]]
        self.near = [rng.integers(0, 2, layer.neurons) for layer in chip.plan[:-1]]
        draw, lanes = random.Random(part.name), chip.array_synapses
        units = [(draw.getrandbits(lanes), draw.getrandbits(lanes)) for _ in range(1 << self.places.address_bits)]
        for index in range(chip.depth - 1):
            for unit, first in self.unit_rows(index).items():
                rows = chip.plan[index].rows
                here = slice(first, first + min(lanes, rows - first % rows))
                units[unit] = fields(self.active[index][here] > 0, 1), fields(self.near[index][here], 1)
        bits = self._bits()
        ReadPort(part, "units__en", ("units__unit",), ("units__active", "units__in_window"), lambda unit: units[unit])
        ReadPort(
            part, "image__en", ("image__address",), ("image__bit",), lambda at: [bits.get(at, draw.getrandbits(1))]
        )
        ReadPort(part, "weights__read", ("weights__address",), (), lambda address: [])

    def unit_rows(self, index: int) -> dict[int, int]:
        """For each unit of the activations of layer ``index``: its address, and the number of its first neuron."""
        outputs, lanes, units = self.chip.plan[index].outputs, self.chip.array_synapses, self.places.units[index]
        return {
            self.places.bases[index] + (part | x << units.part_bits | y << units.part_bits + units.x_bits): (
                y * outputs.width + x
            )
            * outputs.channels
            + part * lanes
            for y in range(outputs.height)
            for x in range(outputs.width)
            for part in range(-(-outputs.channels // lanes))
        }

    def _bits(self) -> dict[int, int]:
        planes = self.chip.plan[0].inputs
        x_bits, y_bits = (planes.width - 1).bit_length(), (planes.height - 1).bit_length()
        return {
            x | y << x_bits | c << x_bits + y_bits | slot << self.places.image_bits: int(
                self.x[slot, (c * planes.height + y) * planes.width + x]
            )
            for slot in range(self.chip.slots)
            for c in range(planes.channels)
            for y in range(planes.height)
            for x in range(planes.width)
        }


def words(samples: Samples, layer: int, slot: int, group: int) -> list[list[dict[str, int]]]:
    """The expected words of each position of ``layer``, in the order ``(py, px)``."""
    chip, it, lanes = samples.chip, samples.chip.plan[layer], samples.chip.array_synapses
    a = samples.active[layer - 1] if layer else pixels(samples.x[slot][None], it.inputs)[0]
    seen = [with_bias(a[None])[0].tolist()] if it.bias else patches(a[None], it)[0]
    base = chip.weight_map.row_address(layer, group)
    expected = []
    for patch in seen:
        here = []
        for index in range(chip.words[layer]):
            lane = patch[index * lanes : (index + 1) * lanes]
            enable = fields([value != 0 for value in lane], 1)
            here.append({"enable": enable, "positive": fields([v > 0 for v in lane], 1), "address": base + index})
        expected.append(here)
    return expected


def pools(chip: ChipConfig, layer: int) -> list[list[int]]:
    """Numbers of the positions of each pool."""
    outputs, pool = chip.plan[layer].outputs, chip.plan[layer].pool
    width = outputs.width * pool
    return [
        [(y * pool + down) * width + x * pool + across for down in range(pool) for across in range(pool)]
        for y in range(outputs.height)
        for x in range(outputs.width)
    ]


class User:
    """Uses the walk."""

    def __init__(self, part: Part, chip: ChipConfig, stall: float):
        self.part, self.chip, self.stall = part, chip, stall
        self.draw = random.Random(f"{part.name} user")

    async def strobe(self, name: str) -> None:
        self.part.set(f"user__{name}", 1)
        await self.part.next_cycle()
        self.part.set(f"user__{name}", 0)

    async def position(self) -> list[dict[str, int]]:
        """The words of a position."""
        part, lanes, got = self.part, self.chip.array_synapses, []
        await self.strobe("start")
        for _ in range(PATIENCE):
            part.set("user__ready", self.draw.random() >= self.stall)
            await part.settled()
            if part.get("user__idle"):
                await part.next_cycle()
                return got
            if part.get("user__valid") and part.get("user__ready"):
                bits = part.get("user__lanes")
                enable = bits & (1 << lanes) - 1
                got.append(
                    {"enable": enable, "positive": bits >> lanes & enable, "address": part.get("user__weight_address")}
                )
            await part.next_cycle()
        raise AssertionError("a position does not end")


async def check(part: Part, chip: dict, stall: float) -> None:
    """Passes of random layers, by pool or in golden's order."""
    it, options = chip_of(chip), parameters()
    rng = np.random.default_rng(options["seed"])
    samples, user = Samples(part, it, rng), User(part, it, stall)
    wrong = options.get("wrong", {}).get(part.name)
    for number in range(options["passes"]):
        layer, slot = int(rng.integers(it.depth)), int(rng.integers(it.slots))
        group, by_pool = int(rng.integers(it.groups[layer])), bool(rng.integers(2))
        expected = words(samples, layer, slot, group)
        order = [range(len(expected))] if not by_pool else pools(it, layer)
        if wrong == number:
            expected[-1][0]["enable"] ^= 1
        values = {"layer": layer, "slot": slot, "group": group, "by_pool": by_pool}
        for name, value in values.items():
            part.set(f"user__{name}", value)
        await user.strobe("begin")
        for positions in order:
            turns = 1 + int(by_pool and rng.integers(2))
            for turn in range(turns):
                part.set("user__again", turn < turns - 1)
                for place, position in enumerate(positions):
                    where = f"pass {number}, layer {layer}, position {position}"
                    got = await user.position()
                    assert got == expected[position], f"{where}: {got}, expected {expected[position]}"
                    await part.settled()
                    ends = part.get("user__ends_layer"), by_pool and part.get("user__ends_pool")
                    due = position == len(expected) - 1, by_pool and place == len(positions) - 1
                    assert ends == due, f"{where}: ends layer, pool: {ends}, expected {due}"
                    if layer < it.depth - 1:
                        await peek(part, samples, layer, position)
                    await part.next_cycle()
                    await user.strobe("step")


async def peek(part: Part, samples: Samples, layer: int, position: int) -> None:
    """Read the windows of a unit of the position's pool."""
    it = samples.chip.plan[layer]
    py, px = divmod(position, it.outputs.width * it.pool)
    first = (py // it.pool * it.outputs.width + px // it.pool) * it.rows
    units = {neuron: unit for unit, neuron in samples.unit_rows(layer).items()}
    lanes = samples.chip.array_synapses
    for number in range(-(-it.rows // lanes)):
        await part.next_cycle()
        part.set("user__part", number)
        part.set("user__peek", 1)
        await part.settled()
        unit = part.get("user__pool_unit")
        assert unit == units[first + number * lanes], f"layer {layer}, position {position}, unit {number}: at {unit}"
        await part.next_cycle()
        part.set("user__peek", 0)
        await part.settled()
        count = min(lanes, it.rows - number * lanes)
        expected = fields(samples.near[layer][first + number * lanes : first + number * lanes + count], 1)
        assert part.get("user__in_window") & (1 << count) - 1 == expected


@cocotb.test()
async def equals_golden(dut):
    """With a user that often waits."""
    await each_part(dut, check, stall=0.5)


@cocotb.test()
async def equals_golden_at_full_speed(dut):
    """With a user that takes every word."""
    await each_part(dut, check, stall=0)
