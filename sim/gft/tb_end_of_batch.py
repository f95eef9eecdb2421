"""Testbench of ends of batches and of GFT's initial states, on memories in Python."""

import cocotb
import numpy as np

from popflip.golden.common.prng import Xorshift32
from popflip.golden.common.signature import FlipSignature
from popflip.golden.gft.flip import flip
from popflip.golden.gft.select import select
from popflip.golden.memory.weights import State
from popflip.hw.common.engine import EngineCommand
from popflip.hw.config import ChipConfig
from popflip.sim.bench.networks import chip_of, config_of
from popflip.sim.bench.parts import Part, each_part
from popflip.sim.bench.runner import parameters
from popflip.sim.bench.state_pass import CRC, Bench, image, random_state


def end_batch(case: dict, config: ChipConfig, state: State, k: list[int]) -> tuple[State, int, list[int]]:
    """Golden's state, signature and flips of each layer after the end of a batch."""
    learning = config_of(config, flip_p256=case["flip_p256"], shift=case["shift"])
    prng, signature = Xorshift32(state.rng), FlipSignature(CRC)
    weights, counters, flips = [], [], []
    for layer, (w, m) in enumerate(zip(state.weights, state.counters, strict=True)):
        flipped = flip(w, m, select(m, w, k[layer]).mask, learning, prng, config.word_base[layer])
        weights.append(flipped.weights)
        counters.append(flipped.counters)
        signature.update(flipped.records)
        flips.append(flipped.flips)
    return State(weights, counters, prng.state), signature.crc, flips


async def ends_of_batches(bench: Bench, cases: list[dict], rng: np.random.Generator, wrong: bool) -> None:
    """END_BATCH in every case equals golden's."""
    config, part = bench.config, bench.part
    for case in cases:
        state = random_state(config, case["spread"], rng)
        k = bench.k = [int(case["selected"] * m.size) for m in state.counters]
        part.set("p256", case["flip_p256"])
        part.set("shift", min(case["shift"] or 0, config.counter_bits))
        bench.memory = image(config, state)
        await bench.load(state.rng, CRC)
        await bench.run(EngineCommand.END_BATCH)
        bench.compare(case, *end_batch(case, config, state, k), wrong=wrong)
    assert bench.busy["selecting"] > 0 and bench.busy["flipping"] > 0, "no cycles counted"


async def check(part: Part, chip: dict) -> None:
    """Ends of batches, then initial states."""
    options = parameters()
    bench = Bench(part, chip_of(chip))
    rng = np.random.default_rng(options["seed"])
    wrong = part.name in options.get("wrong", {})
    await ends_of_batches(bench, options["cases"], rng, wrong)
    await bench.initial_states(options["seeds"], rng, wrong)


@cocotb.test()
async def equals_golden(dut):
    """State, signature, flips and random state, after every command."""
    await each_part(dut, check)
