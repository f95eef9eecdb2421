"""The chip's trainer on random small networks with positions: after every batch its state is golden's."""

from __future__ import annotations

import dataclasses
import os
import random
from typing import Any

import pytest

from popflip.golden.config import Config, Precision
from popflip.golden.errors import ConfigError
from popflip.golden.layers import Conv, Planes, parse, plan
from popflip.hw.config import ChipConfig
from popflip.hw.trainer import Trainer

FAST = (1,)
"""Networks that ``make test`` runs. A seed is a network."""
COUNT = int(os.environ.get("POPFLIP_CONV_NETWORKS", "20"))
"""Networks that ``make long`` runs."""
MOST_TAPS = 8_000  # positions × synapses of all layers, so that a network takes seconds


def random_layers(draw: random.Random) -> tuple[str | int, ...]:
    """An image of any odd size, one or two convolutional layers that fit it, perhaps a dense one, and the classes."""
    while True:
        image = Planes(draw.randint(1, 11), draw.randint(3, 11), draw.choice((1, 1, 2, 3)))
        rows = draw.randint(1, 9), 4, 8, 16
        convs = [
            Conv(draw.choice(rows), draw.choice((1, 3, 5, 7, 9)), draw.randint(1, 4), draw.choice((1, 1, 2, 3, 4)))
            for _ in range(draw.randint(1, 2))
        ]
        dense = [draw.randint(1, 9)] if draw.random() < 0.3 else []
        layers = (str(image), *map(str, convs), *dense, draw.randint(2, 6))
        try:
            shapes = plan(parse(",".join(map(str, layers))))
        except ConfigError:
            continue
        if sum(layer.positions * layer.synapses for layer in shapes) <= MOST_TAPS:
            return layers


def random_case(seed: int) -> tuple[Config, ChipConfig]:
    """A network with parameters that make its counters saturate, and a chip for it."""
    draw = random.Random(f"network {seed}")
    layers = random_layers(draw)
    depth = len(layers) - 1
    limits = tuple(draw.choice((1, 2, 5, 9, 40, 300)) for _ in range(depth))
    synapses = [layer.rows * layer.synapses for layer in plan(parse(",".join(map(str, layers))))]
    config = Config(
        layers,
        draw.choice(list(Precision)),
        k0=tuple(min(draw.randint(1, 12), most) for most in synapses),  # a chip's registers count no further
        window=tuple(draw.randint(0, 9) for _ in range(depth - 1)),
        margin=draw.randint(0, 9),
        dclip=draw.randint(1, 3),
        shift=draw.choice((None, 0, 2, 3)),
        mmax=limits if draw.random() < 0.5 else limits[0],
        batch=6,
        epochs=1,
        seed=seed + 1,
    )
    rows, lanes = draw.choice((1, 2, 4, 8)), draw.choice((4, 8, 16, 32))
    banks = draw.choice([count for count in (1, 2, 4, 8) if count <= min(rows, lanes)])
    mmaxes = config.mmaxes if len(set(config.mmaxes)) > 1 else ()
    slots = draw.choice((2, 4))
    return config, ChipConfig(
        config.layers, config.precision, max(config.mmaxes), config.dclip, rows, lanes, slots, learn_rows=banks,
        mmaxes=mmaxes,
    )  # fmt: skip


def run(testbench: Any, seed: int, **options: Any) -> None:
    config, chip = random_case(seed)
    parameters = {
        "config": dataclasses.asdict(config),
        "chip": dataclasses.asdict(chip),
        "ends_by_itself": seed % 2 == 0,
        "batches": 3,
        "density": (0.05, 0.3, 0.6)[seed % 3],
        "stall": 0.2 * (seed % 4 == 0),
        "seed": seed,
        "break_golden": None,
    }
    testbench(Trainer(chip), "popflip.sim.common.tb_trainer", parameters | options, undefined_collisions=True)


@pytest.mark.parametrize("seed", FAST)
def test_the_chip_equals_golden(testbench, seed):
    run(testbench, seed)


@pytest.mark.long
@pytest.mark.parametrize("seed", [seed for seed in range(COUNT) if seed not in FAST])
def test_more_chips_equal_golden(testbench, seed):
    run(testbench, seed)
