"""Testbench of the MAC array."""

from collections import deque

import cocotb
import numpy as np
from numpy.typing import NDArray

from popflip.golden.common.integers import matmul
from popflip.hw.common.mac_array import MacArray
from popflip.sim.bench.networks import chip_of
from popflip.sim.bench.parts import Part, each_part
from popflip.sim.bench.runner import parameters
from popflip.sim.bench.words import fields, weight_bits

CYCLES = 300


def fields_of(words: NDArray) -> list[int]:
    """A number for each row of bits."""
    return [fields(word, 1) for word in words]


async def check(part: Part, chip: dict) -> None:
    """A product of inputs of −1, 0, +1 and weights a cycle, after the latency that the component states."""
    config = chip_of(chip)
    array = MacArray(config)
    rows, lanes = config.array_rows, config.array_synapses
    rng = np.random.default_rng(parameters()["seed"])
    values = [-1, 1] if config.weight_bits == 1 else [-1, 0, 1]
    products: deque[int] = deque()
    for cycle in range(CYCLES):
        # Now and then all agree, or all differ: the largest products of either sign.
        shape = config.fold, lanes
        inputs = rng.choice(np.array([-1, 0, 1]), shape) if cycle % 4 else np.full(shape, rng.choice([-1, 1]))
        w = rng.choice(np.array(values, np.int8), (rows, lanes)) if cycle % 3 else np.full((rows, lanes), 1, np.int8)
        positive = (inputs > 0) | (inputs == 0) & (rng.random(shape) < 0.5)  # does not matter where not enabled
        words = zip(fields_of(inputs != 0), fields_of(positive), strict=True)
        part.set("lanes", fields((enable | ones << lanes for enable, ones in words), 2 * lanes))
        part.set("weights", fields((weight_bits(config, row) for row in w), lanes * config.weight_bits))
        await part.settled()
        if len(products) == array.latency:
            expected, got = products.popleft(), part.get("o")
            assert got == expected, f"cycle {cycle}: {got:#x}, expected {expected:#x}"
        parts = zip(np.split(w, config.fold), inputs, strict=True)
        product = np.concatenate([matmul(rows_of_part, word, bound=lanes) for rows_of_part, word in parts])
        products.append(fields(product, array.product_shape.width))
        await part.next_cycle()


@cocotb.test()
async def equals_a_matrix_product(dut):
    """Rows of weights against a word of inputs."""
    await each_part(dut, check)
