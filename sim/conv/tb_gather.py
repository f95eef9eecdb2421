"""Testbench of the words of patches above the first layer."""

import cocotb
import numpy as np

from popflip.golden.common.forward import with_bias
from popflip.hw.config import ChipConfig
from popflip.hw.conv.gather import Gather, gathered_layout, request_layout
from popflip.sim.bench.networks import chip_of
from popflip.sim.bench.parts import Part, each_part
from popflip.sim.bench.runner import parameters
from popflip.sim.bench.words import fields
from popflip.sim.conv.memories import GroupMemory
from popflip.sim.conv.tb_patches import patches


def words(chip: ChipConfig, layer: int, active: np.ndarray) -> tuple[list[dict], int]:
    """The expected words of ``layer`` for inputs ±1 ``[K]``, and the cycles that they take."""
    it, lanes = chip.plan[layer], chip.array_synapses
    if it.bias:
        seen, height = [with_bias(active[None])[0].tolist()], 1
    else:
        seen, height = patches(active[None], it)[0], it.inputs.height
    outputs, entries, cycles = it.outputs, [], 0
    for position, patch in enumerate(seen):
        py, px = divmod(position, outputs.width * it.pool)
        top, row = py * it.stride - it.padding, it.kernel * (it.inputs.channels + it.bias)
        inside = [ky for ky in range(it.kernel) if 0 <= top + ky < height] if not it.bias else [0]
        first, last = inside[0] * row // lanes, (inside[-1] * row + row - 1) // lanes
        cycles += last - first + 1
        for index in range(first, last + 1):
            lane = patch[index * lanes : (index + 1) * lanes]
            enable = fields([value != 0 for value in lane], 1)
            place = {
                "index": index,
                "pool": py // it.pool * outputs.width + px // it.pool,
                "ends_position": int(index == last),
                "ends_pool": int(py % it.pool == px % it.pool == it.pool - 1),
                "ends_layer": int(position == len(seen) - 1),
            }
            if enable or index == last:
                entries.append({"place": place, "enable": enable, "positive": fields([v > 0 for v in lane], 1)})
    return entries, cycles


async def check(part: Part, chip: dict, stall: float) -> None:
    """All layers of random samples, in random order."""
    it, options = chip_of(chip), parameters()
    rng = np.random.default_rng(options["seed"])
    memory = GroupMemory(it, 1)
    memory.reader(part, "activations__")
    source = part.source("start", request_layout(it), stall=stall, seed=1)
    sink = part.sink("o", gathered_layout(it), stall=stall, seed=2)
    expected = []
    inputs = {}
    for slot in range(it.slots):
        for layer in range(1, it.depth):
            inputs[slot, layer] = rng.choice(np.array([-1, 1], np.int8), it.plan[layer - 1].neurons)
            memory.put_layer(slot, layer, inputs[slot, layer] > 0)
    for _ in range(options["passes"]):
        layer, slot = int(rng.integers(1, it.depth)), int(rng.integers(it.slots))
        source.send({"layer": layer, "slot": slot})
        expected.append((layer, *words(it, layer, inputs[slot, layer])))
    wrong = options.get("wrong", {}).get(part.name)
    if wrong is not None:
        expected[wrong[0]][1][wrong[1]]["enable"] ^= 1
    taken = 0
    for number, (layer, entries, _) in enumerate(expected):
        got = await sink.receive(len(entries))
        for place, (mine, theirs) in enumerate(zip(got, entries, strict=True)):
            enable = mine["lanes"]["enable"]
            found = {"place": mine["place"], "enable": enable, "positive": mine["lanes"]["positive"] & enable}
            assert found == theirs, f"pass {number}, layer {layer}, word {place}: {found}, expected {theirs}"
        taken += len(entries)
    if stall == 0:
        cycles = sum(cycles for *_, cycles in expected)
        last = sink.monitor.cycles[-1] - source.monitor.cycles[0] - Gather.latency
        assert last == cycles - 1, f"{last + 1} cycles, expected {cycles}"


@cocotb.test()
async def equals_golden(dut):
    """With stalls."""
    await each_part(dut, check, stall=0.4)


@cocotb.test()
async def keeps_up(dut):
    """Without stalls, a word a cycle."""
    await each_part(dut, check, stall=0)
