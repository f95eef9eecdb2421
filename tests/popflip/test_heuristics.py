"""Rules of thumb: numbers that replace a preset's for other data or networks. Given parameters win."""

from __future__ import annotations

from dataclasses import replace

import pytest

from popflip.errors import ConfigError
from popflip.golden.config import Precision
from popflip.golden.presets import PRESETS
from popflip.heuristics import PARAMETERS, Shape, configure, lbe_rules, network_rules, stream_rules

DIGITS, LBE = PRESETS["digits"].config, PRESETS["digits-lbe"].config
SHAPE = Shape(256, 10, 1437)


@pytest.mark.parametrize(
    ("layers", "precision", "samples", "expected"),
    [
        ((256, 64, 10), "ternary", 1437, {"margin": 16, "window": (6,), "dclip": 1, "k0": (164, 26)}),
        ((784, 256, 10), "ternary", 60000, {"margin": 32, "window": (10,), "dclip": 1, "k0": (804, 41)}),
        ((784, 256, 10), "binary", 60000, {"margin": 32, "window": (10,), "dclip": 1, "k0": (402, 21)}),
        ((256, 64, 32, 10), "ternary", 1437, {"margin": 11, "window": (6, 3), "dclip": 3, "k0": (164, 21, 13)}),
        ((1, 1, 2), "ternary", 10, {"margin": 2, "window": (0,), "dclip": 1, "k0": (1, 1)}),
    ],
)
def test_rules_of_thumb_for_networks(layers, precision, samples, expected):
    assert network_rules(layers, precision, samples) == expected


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (4, {"batch": 4, "epochs": 100}),
        (1437, {"batch": 256, "epochs": 20}),
        (60000, {"batch": 1024, "epochs": 20}),
    ],
)
def test_rules_of_thumb_for_streams(samples, expected):
    assert stream_rules(samples) == expected


@pytest.mark.parametrize(
    ("layers", "samples", "expected"),
    [
        ((256, 128), 1437, {"group": (32,), "margin": (16,), "near": (0,), "reinforce_p256": 2}),
        ((784, 512), 60000, {"group": (32,), "margin": (32,), "near": (0,), "reinforce_p256": 1}),
        ((784, 511), 9_999, {"group": (32,), "margin": (63,), "near": (0,), "reinforce_p256": 2}),
        ((784, 512, 512), 10_000, {"group": (32, 32), "margin": (64, 64), "near": (0, 0), "reinforce_p256": 1}),
        ((1000, 35, 7), 10_000, {"group": (32, 32), "margin": (4, 0), "near": (0, 0), "reinforce_p256": 1}),
    ],
)
def test_rules_of_thumb_for_lbe(layers, samples, expected):
    assert lbe_rules(layers, samples) == expected


def test_lbe_s_presets_follow_the_rules_of_thumb():
    samples = {"digits": 1437, "mnist": 60_000}
    names = {"digits-lbe", "mnist-lbe", "mnist-lbe-deep"}
    for name in names:
        preset = PRESETS[name]
        assert replace(preset.config, **lbe_rules(preset.config.layers, samples[preset.dataset])) == preset.config


def test_a_tuned_configuration_stays_as_it_is():
    for preset in PRESETS.values():
        shape = Shape(preset.config.inputs, preset.config.classes, 1)
        assert configure(preset.config, {}, shape, tuned=True) == preset.config


def test_other_data_gets_other_batches_and_networks():
    config = configure(DIGITS, {}, Shape(6, 5, 30))
    assert (config.layers, config.batch, config.epochs) == ((6, 64, 5), 30, 100)
    assert replace(config, **network_rules((6, 64, 5), "ternary", 30)) == config


def test_given_parameters_win_and_none_is_not_given():
    given = {"margin": 9, "window": [4], "shift": "none", "batch": 7, "seed": None, "precision": "binary"}
    config = configure(DIGITS, given, SHAPE)
    assert (config.margin, config.window, config.shift, config.batch, config.seed) == (9, (4,), None, 7, DIGITS.seed)
    assert (config.precision, config.k0) == (Precision.BINARY, network_rules((256, 64, 10), "binary", 1437)["k0"])
    config = configure(LBE, {"margin": 9, "group": (4,), "layers": (256, 20, 12)}, SHAPE)
    assert (config.margin, config.group) == ((9, 9), (4, 4))


def test_an_unknown_parameter_is_named():
    with pytest.raises(ConfigError) as error:
        configure(DIGITS, {"epoch": 3}, SHAPE)
    assert str(error.value) == f"epoch: no such parameter; there are {', '.join(PARAMETERS)}"
