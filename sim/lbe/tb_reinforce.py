"""Testbench of the reinforcement, which has no clock."""

from itertools import product

import cocotb
import numpy as np
from cocotb.triggers import Timer

from popflip.golden.config import WORD
from popflip.golden.lbe.reinforce import reinforce
from popflip.hw.layouts import counter_word
from popflip.sim.bench.networks import chip_of, config_of
from popflip.sim.bench.parts import Part
from popflip.sim.bench.runner import parameters
from popflip.sim.bench.streams import unpack
from popflip.sim.bench.words import fields

HALF = 128  # the probability at which a mask is one random word


class Chosen:
    """Stands in for the random generator: returns the words given."""

    def __init__(self, words: np.ndarray):
        self.words = words

    def draws(self, count: int) -> np.ndarray:
        assert count == self.words.size
        return self.words


async def check(part: Part, chip: dict) -> None:
    """Every counter with every input, desired activation and mask equals golden's. Pads become 0."""
    options = parameters()
    config = chip_of(chip)
    lanes, bits = config.array_synapses, config.counter_bits
    rng = np.random.default_rng(options["seed"])
    golden = config_of(config, reinforce_p256=HALF)
    cases = np.array(list(product(range(-config.mmax - 1, config.mmax + 1), (0, 1), (0, 1), (0, 1))))
    cases = rng.permutation(np.concatenate([cases, rng.permutation(cases)[: -len(cases) % lanes]]))
    words = 0
    for desired in (0, 1):
        for number, word in enumerate(np.split(cases, len(cases) // lanes)):
            counters, inputs, mask, exists = word.T
            part.set("counters", fields(counters, bits))
            part.set("inputs", fields(inputs, 1))
            part.set("mask", fields(mask, 1))
            part.set("exists", fields(exists, 1))
            part.set("desired", desired)
            await Timer(1, unit="ns")
            drawn = fields(mask, 1)
            drawn = np.array([drawn >> WORD * place & 2**WORD - 1 for place in range(-(-lanes // WORD))], np.uint32)
            k, up = counters.astype(np.int16)[None], (inputs == desired)[None]
            after = reinforce(k, up, np.zeros(1, np.intp), golden, Chosen(drawn), 0).counters[0]
            if options.get("wrong", {}).get(part.name) == number:
                after[np.flatnonzero(exists)[-1]] ^= 1
            expected = {
                "o": np.where(exists, after, 0).tolist(),
                "weights": fields((after >= 0) & exists, 1),
                "flipped": fields(((after >= 0) != (counters >= 0)) & exists, 1),
            }
            got = {
                "o": unpack(counter_word(config), part.get("o")),
                "weights": part.get("weights"),
                "flipped": part.get("flipped"),
            }
            for name, value in expected.items():
                where = f"{part.name}: word {number}, desired {desired}, {name}"
                assert got[name] == value, f"{where}: {got[name]}, expected {value}"
            words += 1
    assert words >= 2 * 8 * 2 * (config.mmax + 1) // lanes, "not all there is"


@cocotb.test()
async def equals_golden(dut):
    """All cases."""
    for name, description in parameters()["parts"].items():
        await check(Part(dut, name), **description)
