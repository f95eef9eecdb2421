"""Updates, bits and energy of a run, from counted operations. The totals of arXiv 2410.09734: test_paper.py."""

from __future__ import annotations

import math

import numpy as np
import pytest

from popflip.accounting import (
    ADAMW,
    CHIP_STEP,
    GFT_FLOAT,
    GFT_INT8,
    INT8_PASSES,
    Account,
    Operations,
    chip_passes,
)
from popflip.errors import ConfigError
from popflip.golden.config import Config
from popflip.golden.gft.engine import GftEngine, GftObserver
from popflip.golden.trainer import Trainer


def test_the_energy_of_a_step_by_hand():
    assert ADAMW.joules() == pytest.approx(14.62e-12)
    assert ADAMW.joules("45nm") == pytest.approx(40.6e-12)
    assert GFT_FLOAT.joules() == pytest.approx((1.31 + 2 * 0.38) * 1e-12)
    assert GFT_INT8.joules() == pytest.approx(3 * 0.007e-12)
    assert GFT_INT8.joules("45nm") == pytest.approx(3 * 0.03e-12)


def test_operations_add_and_multiply():
    assert Operations(1, 2, 3, 4) + Operations(10, 20, 30, 40) * 2 == Operations(21, 42, 63, 84)


def test_a_hybrid_run():
    run = Account(float_parameters=100, ternary_weights=1000, steps=10, flips=37, tokens=5)
    assert run.updates == 1037
    assert run.bits == 3200 + 1000 * math.log2(3)
    assert run.stored_bits == 5200
    assert run.step_operations() == Operations(fp32_multiply=20_000, fp32_add=24_000)
    assert run.step_operations(GFT_INT8) == Operations(fp32_multiply=10_000, fp32_add=4000, int8_add=30_000)
    assert run.pass_operations() == Operations(fp32_multiply=6500, fp32_add=16_500)
    assert run.pass_operations(INT8_PASSES) == Operations(1500, 1500, int8_multiply=5000, int8_add=15_000)
    assert run.in_floats() == Account(1100, 0, 10, tokens=5)


def test_a_binary_weight_has_one_bit():
    run = Account(float_parameters=1, ternary_weights=10, steps=2, binary_weights=100)
    assert run.quantised_weights == 110
    assert run.bits == 32 + 10 * math.log2(3) + 100
    assert run.stored_bits == 32 + 20 + 100
    assert run.step_operations(CHIP_STEP) == Operations(fp32_multiply=20, fp32_add=8, int8_add=440)


class Work(GftObserver):
    """Counts the additions of updates: votes, and weights added to the errors of the layer below."""

    def __init__(self, config: Config):
        self.config, self.updates, self.additions = config, 0, 0

    def on_errors(self, x, updates, deltas):
        self.updates += int(updates.sum())
        for layer, delta in enumerate(deltas):
            below = self.config.layers[layer] if layer else 0
            self.additions += int((delta != 0).sum()) * (self.config.synapses[layer] + below)


def test_the_chips_passes_by_hand():
    config = Config((20, 6, 4, 3), k0=(2, 2, 2), window=(3, 3))
    forward = 6 * 21 + 4 * 7 + 3 * 5
    update = 6 * 21 + 4 * (7 + 6) + 2 * (5 + 4)
    assert chip_passes(config, samples=10, errors=0) == Operations(int8_add=10 * forward)
    assert chip_passes(config, samples=10, errors=7) == Operations(int8_add=10 * forward + 7 * update)
    assert chip_passes(Config((5, 2), k0=(1,)), 1, 1) == Operations(int8_add=2 * 6 + 2 * 6)


def test_rows_of_a_convolution_work_at_every_position():
    """6 × 6 pixels: 36 positions of 2 rows, of which 9 pools of 4 are left; then 4 pools of 1, stride 2."""
    config = Config("6x6,c2k3p2,c4k3s2,3", k0=(2, 2, 2), window=(3, 3))
    first, second, last = 36 * 2 * 9, 4 * 4 * 18, 3 * 17
    assert chip_passes(config, samples=10, errors=0) == Operations(int8_add=10 * (first + second + last))
    update = first + second + 4 * 4 * 18 + 2 * (17 + 16)
    assert chip_passes(config, samples=0, errors=7) == Operations(int8_add=7 * update)


def test_the_chip_does_at_most_that():
    """Counted in a run of the golden model; with no window and a wide clip, nearly all of it is done."""
    config = Config((20, 6, 4, 3), k0=(2, 2, 2), window=(99, 99), dclip=9, margin=99)
    work = Work(config)
    trainer = Trainer(config, GftEngine(config, work))
    rng = np.random.default_rng(3)
    trainer.train(rng.integers(0, 2, (50, 20)).astype(np.uint8), rng.integers(0, 3, 50))
    assert work.updates == trainer.errors == 50
    most = chip_passes(config, 0, 50).int8_add
    assert 0.5 * most < work.additions <= most


def test_bad_values():
    with pytest.raises(ConfigError, match=r"^process: '5nm' is not one of 7nm, 45nm$"):
        ADAMW.joules("5nm")
    with pytest.raises(ConfigError, match=r"^flips: -1 is less than 0$"):
        Account(1, 1, 1, flips=-1)
    with pytest.raises(ConfigError, match=r"^steps: 1.5 is not a whole number$"):
        Account(1, 1, 1.5)
