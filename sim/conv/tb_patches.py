"""Testbench of the patches of the first layer."""

from dataclasses import dataclass

import cocotb
import numpy as np
from numpy.typing import NDArray

from popflip.golden.conv.patches import patch_sums
from popflip.golden.layers import Layer, Planes
from popflip.hw.conv.patches import Patches, patch_word_layout
from popflip.sim.bench.parts import Part, each_part
from popflip.sim.bench.runner import parameters
from popflip.sim.bench.words import fields


@dataclass(frozen=True)
class Case:
    """A layer, and the synapses in a word, as a testbench gets them."""

    layer: Layer
    lanes: int


def case_of(values: dict) -> Case:
    """The case whose fields, turned into JSON and back, are ``values``."""
    layer = values["layer"]
    return Case(Layer(**{**layer, "inputs": Planes(**layer["inputs"])}), values["lanes"])


def images(layer: Layer, samples: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Images ``[n, H·W·C]``: the first all 0, the second all 1, the others of a random density each."""
    density = rng.choice([0.03, 0.2, 0.5], (samples, 1))
    density[:2, 0] = [0, 1][:samples]
    return (rng.random((samples, layer.inputs.size)) < density).astype(np.uint8)


def patches(x: NDArray, layer: Layer) -> list[list[list[int]]]:
    """Golden's patches of every position, in the order ``(py, px)``, for each of the images ``x``."""
    outputs = layer.outputs
    single = Layer(layer.inputs, layer.rows, layer.kernel, layer.stride)  # every position is a pool of its own
    grid = single.outputs
    whole = patch_sums(x, single).reshape(len(x), grid.height, grid.width, layer.synapses)
    used = whole[:, : outputs.height * layer.pool, : outputs.width * layer.pool]
    return used.reshape(len(x), layer.positions, layer.synapses).tolist()


def words(case: Case, patches: list[list[int]]) -> list[list[dict[str, int]]]:
    """The entries of each position of a sample: its nonzero words. The last position of a pool has at least word 0 if
    the pool has begun, or if it is the last pool."""
    layer, lanes = case.layer, case.lanes
    begun, entries = set(), []
    for position, patch in enumerate(patches):
        py, px = divmod(position, layer.outputs.width * layer.pool)
        pool = py // layer.pool * layer.outputs.width + px // layer.pool
        last = py % layer.pool == px % layer.pool == layer.pool - 1
        bits = [fields(patch[start : start + lanes], 1) for start in range(0, len(patch), lanes)]
        kept = [index for index, word in enumerate(bits) if word]
        if kept:
            begun.add(pool)
        elif last and (pool in begun or pool == layer.pools - 1):
            kept = [0]
        entries.append(
            [
                {"bits": bits[index], "index": index, "pool": pool, "last": int(last and index == kept[-1])}
                for index in kept
            ]
        )
    return entries


def steps(layer: Layer, image: NDArray[np.uint8]) -> list[int]:
    """The pixels ``[H·W·C]`` of an image, ``s`` side by side."""
    planes, stride = layer.inputs, layer.stride
    rows = np.zeros((planes.height, -(-planes.width // stride) * stride, planes.channels), np.uint8)
    rows[:, : planes.width] = image.reshape(planes.height, planes.width, planes.channels)
    return [fields(step, 1) for step in rows.reshape(-1, stride * planes.channels).tolist()]


async def check(part: Part, case: dict, stall: float) -> None:
    """Every word of every position, in order; without stalls, at the rate and latency the component states."""
    it, options = case_of(case), parameters()
    layer, count = it.layer, options["samples"]
    rng = np.random.default_rng(options["seed"])
    x = images(layer, count, rng)
    source = part.source("i", layer.stride * layer.inputs.channels, stall=stall, seed=1)
    sink = part.sink("o", patch_word_layout(layer, it.lanes), stall=stall, seed=2)
    for image in x:
        source.send(*steps(layer, image))
    expected = [words(it, sample) for sample in patches(x, layer)]
    wrong = options.get("wrong", {}).get(part.name)
    if wrong is not None:
        sample, position = wrong  # of a position with words
        expected[sample][position][0]["bits"] ^= 1
    for number, sample in enumerate(expected):
        for position, entries in enumerate(sample):
            got = await sink.receive(len(entries)) if entries else []
            assert got == entries, f"sample {number}, position {position}: {got}, expected {entries}"
    await source.drain()
    if stall == 0 and max(len(entries) for sample in expected for entries in sample) <= 1:
        component, first = Patches(layer, it.lanes), source.monitor.cycles[0]
        last = first + count * component.cycles - 1 + component.latency
        assert sink.monitor.cycles[-1] <= last, f"{count} samples take {sink.monitor.cycles[-1] - first} cycles"
        for sample in range(count):
            start = source.monitor.cycles[sample * layer.inputs.height * component.steps] - first
            assert start == sample * component.cycles, f"sample {sample} begins {start} cycles after the first"


@cocotb.test()
async def equals_golden(dut):
    """With stalls."""
    await each_part(dut, check, stall=0.4)


@cocotb.test()
async def keeps_up(dut):
    """Without stalls."""
    await each_part(dut, check, stall=0)
