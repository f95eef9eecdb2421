"""Updates, bits and energy of a run: the totals that arXiv 2410.09734 publishes follow from the formulas."""

from __future__ import annotations

import math

import pytest

from popflip.accounting import (
    ADAMW,
    CHIP_PASSES,
    GFT_FLOAT,
    GFT_INT8,
    GFT_PAPER,
    Account,
    Operations,
)
from popflip.errors import ConfigError

MNIST = 784 * 4096 + 3 * 4096**2 + 4096 * 10 + 4 * 4096 + 10
"""Parameters of 784-4096×4-10, with biases."""
STEPS = 10 * (60_000 // 256 + 1)


def test_the_papers_mnist():
    """10 epochs in batches of 256: 125.96 billion updates, and 1.84 J of AdamW; GFT 0.13 J."""
    assert STEPS == 2350
    run = Account(float_parameters=MNIST, ternary_weights=0, steps=STEPS)
    assert f"{run.updates / 1e9:.2f}" == "125.96"
    assert f"{run.step_operations().joules():.2f}" == "1.84"
    ternary = Account(float_parameters=0, ternary_weights=MNIST, steps=STEPS)
    assert 0.125 < ternary.step_operations(GFT_PAPER).joules() < 0.14


def test_the_papers_nanogpt():
    """10.8 million parameters, 2,000 steps: 21.6 billion updates, and 0.32 J of AdamW."""
    run = Account(float_parameters=10_800_000, ternary_weights=0, steps=2000)
    assert run.updates == 21_600_000_000
    assert f"{run.step_operations().joules():.2f}" == "0.32"


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
    assert run.pass_operations(CHIP_PASSES) == Operations(fp32_multiply=1500, fp32_add=1500, int8_add=15_000)


def test_bad_values():
    with pytest.raises(ConfigError, match=r"^process: '5nm' is not one of 7nm, 45nm$"):
        ADAMW.joules("5nm")
    with pytest.raises(ConfigError, match=r"^flips: -1 is less than 0$"):
        Account(1, 1, 1, flips=-1)
    with pytest.raises(ConfigError, match=r"^steps: 1.5 is not a whole number$"):
        Account(1, 1, 1.5)
