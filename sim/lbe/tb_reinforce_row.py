"""Testbench of the pass over a winner's row."""

from collections.abc import Iterator

import cocotb
import numpy as np

from popflip.golden.common.mask import bernoulli_words
from popflip.golden.common.prng import Xorshift32
from popflip.golden.lbe.initialise import signs
from popflip.golden.lbe.reinforce import reinforce
from popflip.hw.common.scan import word_layout
from popflip.hw.config import ChipConfig
from popflip.hw.lbe.reinforce import row_update_layout
from popflip.sim.bench.networks import chip_of, config_of, random_layer
from popflip.sim.bench.parts import Part, each_part
from popflip.sim.bench.words import fields, lanes, layer_words, positions
from popflip.sim.bench.write_back import Pass, Quiet, check_passes


def rows(config: ChipConfig, case: dict, rng: np.random.Generator, prng: Xorshift32) -> Iterator[Pass]:
    """A pass over the first, the last and some other row of each layer."""
    golden = config_of(config, reinforce_p256=case["reinforce_p256"])
    for layer, count in enumerate(config.rows):
        _, m = random_layer(config, layer, case["spread"] * config.mmax, rng)
        for row in (0, count - 1, int(rng.integers(count))):
            desired, a = int(rng.integers(2)), rng.integers(0, 2, config.synapses[layer])
            masks = bernoulli_words(Xorshift32(prng.state), case["reinforce_p256"], config.mask_words[layer]).tolist()
            up = (a == desired)[None]
            after = reinforce(m[[row]], up, np.array([row]), golden, prng, config.word_base[layer])
            words = [
                {"position": position, "inputs": fields(inputs, 1), "counters": counters}
                for position, inputs, counters in zip(
                    positions(config, layer, row),
                    lanes(config, a[None]),
                    lanes(config, m[[row]]),
                    strict=True,
                )
            ]
            pads = config.real_lanes(layer, config.words[layer] - 1) ^ (1 << config.array_synapses) - 1
            words[-1]["inputs"] |= int(rng.integers(2**62)) & pads  # mean nothing
            m[row] = after.counters[0]
            written = layer_words(config, layer, signs(m >= 0), m)[row * config.words[layer] :][: len(words)]
            row_update = {
                "layer": layer,
                "slot": int(rng.integers(config.slots)),
                "winner": {"row": row, "desired": desired},
            }
            yield Pass(layer, row, row_update, words, masks, written, after.records.tolist())


async def check(part: Part, chip: dict, stall: float) -> None:
    """Rows of every layer, at every probability of reinforcement."""
    config = chip_of(chip)
    Quiet(part, "write__write")
    await check_passes(part, config, rows, row_update_layout(config), word_layout(config), stall)


@cocotb.test()
async def equals_golden(dut):
    """With stalls."""
    await each_part(dut, check, stall=0.3)


@cocotb.test()
async def equals_golden_at_full_speed(dut):
    """Without stalls."""
    await each_part(dut, check, stall=0)
