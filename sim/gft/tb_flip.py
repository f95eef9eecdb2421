"""Testbench of the flip pass."""

from collections.abc import Iterator

import cocotb
import numpy as np

from popflip.golden.common.mask import bernoulli_words
from popflip.golden.common.prng import Xorshift32
from popflip.golden.gft.flip import flip
from popflip.hw.config import ChipConfig
from popflip.hw.gft.select import selected_layout
from popflip.sim.bench.networks import chip_of, config_of, random_layer
from popflip.sim.bench.parts import Part, each_part
from popflip.sim.bench.words import fields, lanes, layer_words
from popflip.sim.bench.write_back import Pass, Quiet, check_passes


def layers(config: ChipConfig, case: dict, rng: np.random.Generator, prng: Xorshift32) -> Iterator[Pass]:
    """A pass over each layer."""
    golden = config_of(config, flip_p256=case["flip_p256"], shift=case["shift"])
    for layer in range(config.depth):
        w, m = random_layer(config, layer, config.mmax / 2, rng)
        selected = (m != 0) & (np.sign(m) != w) & (rng.random(m.shape) < case["selected"])
        count = config.rows[layer] * config.mask_words[layer]
        masks = bernoulli_words(Xorshift32(prng.state), case["flip_p256"], count).tolist()
        flipped = flip(w, m, selected, golden, prng, config.word_base[layer])
        bits = [fields(word, 1) for word in lanes(config, selected)]
        words = [
            {**word, "selected": marked} for word, marked in zip(layer_words(config, layer, w, m), bits, strict=True)
        ]
        written = layer_words(config, layer, flipped.weights, flipped.counters)
        yield Pass(layer, None, layer, words, masks, written, flipped.records.tolist())


async def check(part: Part, chip: dict, stall: float) -> None:
    """Layers with few and with many selected, for every kind of decay and mask."""
    config = chip_of(chip)
    Quiet(part, "start__valid")
    await check_passes(part, config, layers, range(config.depth), selected_layout(config), stall)


@cocotb.test()
async def equals_golden(dut):
    """With stalls."""
    await each_part(dut, check, stall=0.3)


@cocotb.test()
async def equals_golden_at_full_speed(dut):
    """Without stalls."""
    await each_part(dut, check, stall=0)
