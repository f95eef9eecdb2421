"""Compact chips with convolutions: forward and learning share one walk over positions, and each sample ends first."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from popflip.golden.config import Config, Precision
from popflip.golden.errors import ConfigError
from popflip.hw.config import ChipConfig
from popflip.hw.serial.places import Places
from popflip.hw.trainer import Trainer

NETWORKS = {
    "up5k": (Config("7x6,c4k5p2,c8k3p2,3", k0=(6, 9, 9), margin=9, window=(3, 9), batch=6, dclip=3), 8, 4),
}
LONG = {
    "saturates": (
        Config("5x6x2,c8k3s2,c4k3,4", k0=(6, 9, 9), margin=9, window=(3, 9), batch=6, mmax=(70, 12, 9), dclip=2),
        4,
        4,
    ),
    "binary": (
        Config("4x5,c8k1,5,3", precision=Precision.BINARY, k0=(3, 9, 9), margin=9, window=(4, 9), batch=6, mmax=99),
        8,
        8,
    ),
    "pool 3": (Config("10x9,c4k5p3,c8k3p2,3", k0=(9, 30, 9), margin=9, window=(9, 20), batch=6, dclip=2), 4, 4),
    "three": (
        Config("9x7x2,c8k1,c12k3s2p2,c8k3,6", k0=(9, 90, 90, 30), margin=20, window=(5, 30, 20), batch=6, dclip=3),
        8,
        4,
    ),
    "dense above": (
        Config("9x8x2,c20k7s4,33,3", precision=Precision.BINARY, k0=(90, 90, 20), margin=20, window=(9, 9), batch=6),
        8,
        4,
    ),
}


def run(testbench, name: str, config: Config, rows: int, lanes: int, broken: Any = None) -> None:
    chip = ChipConfig.of(config, rows, lanes, compact=True)
    options = {
        "ends_by_itself": name == "up5k",
        "batches": 2,
        "density": 0.3,
        "stall": 0.2 * (name == "binary"),
        "seed": 1,
        "break_golden": broken,
    }
    network = {"config": dataclasses.asdict(config), "chip": dataclasses.asdict(chip)}
    testbench(Trainer(chip), "popflip.sim.common.tb_trainer", network | options, undefined_collisions=True)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_chip_equals_golden(testbench, name):
    run(testbench, name, *NETWORKS[name])


@pytest.mark.long
@pytest.mark.parametrize("name", LONG)
def test_more_chips_equal_golden(testbench, name):
    run(testbench, name, *LONG[name])


@pytest.mark.long
def test_a_wrong_counter_is_named(testbench):
    with pytest.raises(AssertionError, match="batch 2: layer 1, row 2, word 0, synapse 5: counter"):
        run(testbench, "up5k", *NETWORKS["up5k"], broken=[1, 2, 5])


@pytest.mark.parametrize(
    ("layers", "array", "message"),
    [
        ("8x8,c4k3,3", (4, 8), "compact: needs no fewer rows than synapses with convolutions, not 4 and 8"),
        (
            "8x8,c6k3,c4k3,3",
            (8, 4),
            "compact: layers[1] has 6 rows; with 4 synapses a cycle it needs a multiple of 4",
        ),
        (
            "10x9,c4k5p3,c5k3p2,3",
            (4, 4),
            "compact: layers[2] has 5 rows; with 4 synapses a cycle it needs a multiple of 4",
        ),
    ],
)
def test_what_no_such_chip_can_have_is_refused(layers, array, message):
    depth = layers.count(",")
    config = Config(layers, k0=(1,) * depth, window=(1,) * (depth - 1), margin=1)
    with pytest.raises(ConfigError) as error:
        ChipConfig.of(config, *array, compact=True)
    assert str(error.value) == message


def test_errors_must_fit_counters():
    config = Config("8x8,c4k3,c64k3,3", k0=(1, 1, 1), window=(1, 1), margin=1, dclip=3, mmax=127)
    with pytest.raises(ConfigError, match="errors up to 1728 do not fit counters of 8 bits; use a larger mmax"):
        Places(ChipConfig.of(config, 8, 4, compact=True))


def test_counters_and_errors_must_fit_single_port_ram():
    config = Config("64x64,c8k3,3", k0=(1, 1), window=(1,), margin=1)
    with pytest.raises(ConfigError) as error:
        Places(ChipConfig.of(config, 8, 4, compact=True))
    assert str(error.value) == (
        "compact: 24603 words of counters and 8192 of errors, but single-port RAM holds 8192 of each; use a smaller "
        "network"
    )


def test_addresses_are_concatenations():
    """28x28,c8k5p2,c16k5p2,10: 14 × 14 × 2 units take 9 bits, 7 × 7 × 4 take 8."""
    config = Config("28x28,c8k5p2,c16k5p2,10", k0=(1, 1, 1), window=(1, 1), margin=1)
    places = Places(ChipConfig.of(config, 8, 4, compact=True))
    assert (places.bases, places.depth, places.image_bits) == ((0, 512), 768, 10)
