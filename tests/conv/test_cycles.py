"""The model of cycles, against words counted one by one, and against chips in simulation."""

from __future__ import annotations

import numpy as np
import pytest
from chips import chip

from popflip.golden.conv.patches import pixels
from popflip.hw.conv import cycles

pytest.importorskip("cocotb")  # the testbenches count words too

from popflip.sim.bench.networks import random_inputs
from popflip.sim.conv.tb_forward import patch_list
from popflip.sim.conv.tb_gather import words as gathered

CHIPS = {
    "pooled": chip("8x8", "c6k3p2", "c4k3p2", 5, rows=4, lanes=8),
    "several_words": chip("7x6x2", "c12k3", "c10k5s2", 20, 11, rows=4, lanes=16),
    "stride": chip("13x9", "c8k5s3p2", "c4k5", 4, rows=8, lanes=32),
}


@pytest.mark.parametrize("name", CHIPS)
def test_words_of_the_first_layer(name):
    it = CHIPS[name]
    x = random_inputs(it, 6, np.random.default_rng(1))
    there = cycles.words(pixels(x, it.image), it.plan[0], it.array_synapses)
    lists = [patch_list(it, sample) for sample in x]
    touched, taken = cycles.first_layer(it, there)
    assert taken == sum(map(len, lists)) / 6
    assert touched == sum(entry["bits"] != 0 for each in lists for entry in each) / 6


@pytest.mark.parametrize("name", CHIPS)
def test_words_of_the_layers_above(name):
    it = CHIPS[name]
    for layer in range(1, it.depth):
        entries, taken = gathered(it, layer, np.ones(it.plan[layer - 1].neurons, np.int8))
        assert cycles.upper_layer(it, layer) == (sum(entry["enable"] != 0 for entry in entries), taken)


def test_the_digits_of_a_board():
    """28x28,c16k5p2,c32k5s2,10 on 32 × 32, learning from 8 rows at once; simulated: 972 and 2,960 cycles."""
    it = chip("28x28", "c16k5p2", "c32k5s2", 10, rows=32, lanes=32, learn_rows=8, dclip=3, mmax=32767)
    assert cycles.ingest(it) == 900
    assert round(cycles.forward(it, 304)) == 967
    assert round(cycles.learn(it, (516, 1979, 63), 304)) == 2807
    assert cycles.sample(it, 304, (516, 1979, 63), 0.2) == cycles.forward(it, 304)
    assert cycles.sample(it, 304, (516, 1979, 63), 1.0) == cycles.learn(it, (516, 1979, 63), 304)
