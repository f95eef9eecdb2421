"""Testbench of updates of rows and of LBE's initial states, on memories in Python."""

import cocotb
import numpy as np

from popflip.golden.common.prng import Xorshift32
from popflip.golden.common.signature import FlipSignature
from popflip.golden.lbe.initialise import signs
from popflip.golden.lbe.reinforce import reinforce
from popflip.golden.memory.weights import State
from popflip.hw.lbe.reinforce import row_update_layout
from popflip.sim.bench.memories import SampleMemory
from popflip.sim.bench.networks import chip_of, config_of
from popflip.sim.bench.parts import Part, each_part
from popflip.sim.bench.runner import parameters
from popflip.sim.bench.state_pass import CRC, Bench, image, random_state
from popflip.sim.bench.words import input_list


async def row_updates(bench: Bench, cases: list[dict], rng: np.random.Generator, stall: float, wrong: bool) -> None:
    """Updates of random rows of all layers equal golden's, at several probabilities of reinforcement."""
    config, part = bench.config, bench.part
    memory = SampleMemory(part, config)
    source = part.source("rows", row_update_layout(config), stall=stall, seed=1)
    for case in cases:
        state, flips, words = random_state(config, case["spread"], rng), [0] * config.depth, bench.busy["updating"]
        prng, signature = Xorshift32(state.rng), FlipSignature(CRC)
        bench.memory = image(config, state)
        part.set("p256", case["reinforce_p256"])
        await bench.load(state.rng, CRC)
        inputs = [[rng.integers(0, 2, width, np.uint8) for width in config.layers] for _ in range(config.slots)]
        for slot, (x, *layers) in enumerate(inputs):
            memory.lists[slot] = input_list(config, x)
            for layer, a in enumerate(layers[:-1], 1):
                memory.activations.put_layer(slot, layer, a, a)
        for _ in range(case["rows"]):
            layer, slot = int(rng.integers(config.depth)), int(rng.integers(config.slots))
            row, desired = int(rng.integers(config.rows[layer])), int(rng.integers(2))
            source.send({"layer": layer, "slot": slot, "winner": {"row": row, "desired": desired}})
            m, up = state.counters[layer], (inputs[slot][layer] == desired)[None]
            golden = config_of(config, reinforce_p256=case["reinforce_p256"])
            after = reinforce(m[[row]], up, np.array([row]), golden, prng, config.word_base[layer])
            m[row] = after.counters[0]
            signature.update(after.records)
            flips[layer] += after.flips
            words += config.words[layer]
        await source.drain()
        await part.next_cycle()
        state = State([signs(m >= 0) for m in state.counters], state.counters, prng.state)
        bench.compare(case, state, signature.crc, flips, wrong)
        assert bench.busy["updating"] == words, f"{case}: {bench.busy['updating']} cycles counted, expected {words}"


async def check(part: Part, chip: dict, stall: float) -> None:
    """Rows, then initial states."""
    options = parameters()
    bench = Bench(part, chip_of(chip), enables="rows__valid")
    rng = np.random.default_rng(options["seed"])
    wrong = part.name in options.get("wrong", {})
    await row_updates(bench, options["cases"], rng, stall, wrong)
    await bench.initial_states(options["seeds"], rng, wrong)


@cocotb.test()
async def equals_golden(dut):
    """State, signature, flips and random state, after every row and command."""
    await each_part(dut, check, stall=parameters()["stall"])
