"""Experiments: presets, what replaces them for other data or networks, and what does not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from popflip.checkpoint import Checkpoint
from popflip.cli.options import Settings, flag
from popflip.devices.base import Status
from popflip.experiment import (
    from_checkpoint,
    lbe_rules,
    network,
    network_rules,
    prepare,
    resume,
    samples_for,
    stream_rules,
)
from popflip.golden.config import PRESETS, Config, LbeConfig, Precision
from popflip.golden.errors import ConfigError
from popflip.golden.memory.weights import initial

DIGITS = PRESETS["digits"].config


@pytest.fixture
def own(tmp_path: Path) -> str:
    """An own data set: 40 samples of 3 features, classes 0 … 4."""
    np.savez(tmp_path / "own.npz", x=np.arange(120).reshape(40, 3), y=np.arange(40) % 5)
    return str(tmp_path / "own.npz")


def test_nothing_asked_for_is_the_digits_preset():
    experiment = prepare(Settings())
    assert experiment.config == DIGITS
    assert experiment.thresholds.tolist() == [3, 6, 9, 12]
    assert (experiment.x_train.shape, experiment.x_test.shape) == ((1437, 256), (360, 256))


@pytest.mark.parametrize("name", ["digits-binary", "digits-small"])
def test_a_preset_is_taken_as_it_is(name):
    assert prepare(Settings(preset=name)).config == PRESETS[name].config


def test_everything_asked_for_wins():
    settings = Settings(
        dataset="digits",
        thresholds=(4, 8),
        layers=(128, 20, 12, 10),
        precision="binary",
        batch=100,
        epochs=3,
        k0=(7, 6, 5),
        margin=(9,),
        window=(4, 3),
        dclip=2,
        shift="none",
        mmax=63,
        flip_p256=96,
        seed=8,
        rule="gft",
    )
    assert prepare(settings).config == Config(
        layers=(128, 20, 12, 10),
        precision=Precision.BINARY,
        batch=100,
        epochs=3,
        k0=(7, 6, 5),
        margin=9,
        window=(4, 3),
        dclip=2,
        shift=None,
        mmax=63,
        flip_p256=96,
        seed=8,
    )


def test_the_preset_s_own_layers_and_precision_change_nothing():
    assert prepare(Settings(layers=(256, 64, 10), precision="ternary", shift=4)).config == DIGITS


def test_a_network_of_one_layer_has_no_window():
    config = prepare(Settings(layers=(256, 10))).config
    assert (config.window, config.k0, config.margin) == ((), (103,), 32)


def test_other_thresholds_change_the_inputs():
    config = prepare(Settings(thresholds=(8,))).config
    assert config.layers == (64, 64, 10)
    assert config.window == (3,)


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


def test_own_data_gets_quantile_thresholds_and_a_network_that_fits(own):
    experiment = prepare(Settings(dataset=own, test_split=0.25, levels=2))
    assert experiment.thresholds.shape == (2, 3)
    assert experiment.config.layers == (6, 64, 5)
    assert (experiment.config.batch, experiment.config.epochs) == (30, 100)
    assert (len(experiment.y_train), len(experiment.y_test), experiment.test_split) == (30, 10, 0.25)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"preset": "digit"},
            f"--preset: 'digit' is not one of {', '.join(PRESETS)}",
        ),
        (
            {"layers": (255, 64, 10)},
            "layers: 255 inputs, but digits has 64 values × 4 thresholds = 256 bits; use --layers 256,64,10, "
            "or other thresholds",
        ),
        (
            {"layers": (256, 64, 9)},
            "layers: 9 classes (0 … 8), but digits has class 9; the last layer needs 10",
        ),
        (
            {"layers": (256,)},
            "layers: 1 widths given, expected inputs, hidden widths and classes (2 to 9 numbers)",
        ),
        ({"layers": ()}, "layers: 0 widths given, expected inputs, hidden widths and classes (2 to 9 numbers)"),
        ({"layers": (256, 0, 10)}, "layers[1]: 0 is outside 1 … 65535"),
        ({"layers": (256, -5, 10)}, "layers[1]: -5 is outside 1 … 65535"),
        ({"k0": (1,)}, "k0: 1 given, expected 2 (one per layer)"),
        ({"window": ()}, "window: 0 given, expected 1 (one per hidden layer)"),
        ({"precision": "float"}, "precision: 'float' is not one of binary, ternary"),
        ({"rule": "sgd"}, "rule: 'sgd' is not one of gft, lbe"),
        ({"rule": "lbe", "preset": "digits"}, "--rule: preset digits learns by gft; leave one of the two out"),
        ({"rule": "gft", "preset": "digits-lbe"}, "--rule: preset digits-lbe learns by lbe; leave one of the two out"),
        ({"margin": (3, 4)}, "margin: 2 given, expected 1 (rule gft has one)"),
        ({"group": (3,)}, "--group: is for rule lbe, and this run learns by gft; leave it out"),
        (
            {"preset": "digits", "reinforce_p256": 0},
            "--reinforce-p256: is for rule lbe, and this run learns by gft; leave it out",
        ),
        *(
            ({"rule": "lbe", name: value}, f"{flag(name)}: is for rule gft, and this run learns by lbe; leave it out")
            for name, value in (
                ("batch", 1),
                ("k0", (1,)),
                ("window", ()),
                ("shift", "none"),
                ("dclip", 1),
                ("flip_p256", 2),
            )
        ),
        (
            {"rule": "lbe", "precision": "ternary"},
            "precision: 'ternary' is not binary, and rule lbe has binary weights only",
        ),
        ({"rule": "lbe", "margin": (3, 4)}, "margin: 2 given, expected 1 (one per layer)"),
        ({"rule": "lbe", "layers": (256, 40, 24), "group": ()}, "group: 0 given, expected 2 (one per layer)"),
        (
            {"rule": "lbe", "layers": (256,)},
            "layers: 1 widths given, expected inputs and the neurons of each layer (2 to 9 numbers)",
        ),
        (
            {"rule": "lbe", "layers": (255, 128)},
            "layers: 255 inputs, but digits has 64 values × 4 thresholds = 256 bits; use --layers 256,128, "
            "or other thresholds",
        ),
        ({"shift": 32}, "shift: 32 is outside 0 … 31"),
        ({"levels": 3}, "--levels: is for your own data without --thresholds; give one of the two"),
        ({"thresholds": ()}, "--thresholds: at least one is needed"),
    ],
)
def test_what_does_not_fit_is_named(settings, message):
    with pytest.raises(ConfigError) as error:
        prepare(Settings(**settings))
    assert str(error.value) == message


# LBE ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{"rule": "lbe"}, {"preset": "digits-lbe"}, {"rule": "lbe", "dataset": "digits"}])
def test_the_rule_alone_takes_its_preset_for_the_data(settings):
    experiment = prepare(Settings(**settings))
    assert experiment.config == PRESETS["digits-lbe"].config
    assert experiment.thresholds.tolist() == [3, 6, 9, 12]


def test_everything_asked_for_of_lbe_wins():
    settings = Settings(
        rule="lbe",
        thresholds=(4, 8),
        layers=(128, 20, 12),
        precision="binary",
        epochs=3,
        group=(7, 5),
        margin=(-4,),
        reinforce_p256=0,
        mmax=63,
        seed=8,
    )
    assert prepare(settings).config == LbeConfig(
        (128, 20, 12), 10, group=(7, 5), margin=(-4, -4), reinforce_p256=0, mmax=63, epochs=3, seed=8
    )


@pytest.mark.parametrize(
    ("layers", "samples", "expected"),
    [
        ((256, 128), 1437, {"group": (32,), "margin": (16,), "reinforce_p256": 2}),
        ((784, 512), 60000, {"group": (32,), "margin": (32,), "reinforce_p256": 1}),
        ((784, 511), 9_999, {"group": (32,), "margin": (63,), "reinforce_p256": 2}),
        ((784, 512, 512), 10_000, {"group": (32, 32), "margin": (64, 64), "reinforce_p256": 1}),
        ((1000, 35, 7), 10_000, {"group": (32, 32), "margin": (4, 0), "reinforce_p256": 1}),
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


def test_own_data_gets_an_lbe_network_that_fits(own):
    config = prepare(Settings(dataset=own, rule="lbe", levels=2)).config
    assert (config.layers, config.classes, config.margin) == ((6, 128), 5, (16,))


def test_prototypes_are_learned_as_they_are():
    experiment = prepare(Settings(rule="lbe", dataset="prototypes:bits=40,classes=3,train=50,test=9,flip=0"))
    assert experiment.dataset == "prototypes:classes=3,bits=40,flip=0.0,train=50,test=9,seed=1"
    assert (experiment.config.layers, experiment.config.classes) == ((40, 128), 3)
    assert len({bytes(sample) for sample in experiment.x_test}) == 3
    again = from_checkpoint(saved_lbe(experiment))
    assert np.array_equal(again.x_test, experiment.x_test)


def saved_lbe(experiment) -> Checkpoint:
    state = initial(experiment.config)
    return Checkpoint(experiment.config, state, Status(flips=(0,)), experiment.dataset, experiment.thresholds, None)


def test_an_lbe_run_to_go_on_with_stays_what_it_is():
    experiment = prepare(Settings(rule="lbe"))
    assert resume(Settings(), saved_lbe(experiment)).config == experiment.config
    for name in ("margin", "group", "reinforce_p256", "rule"):
        with pytest.raises(ConfigError, match=rf"^--resume: {flag(name)} is what the saved run says; leave it out$"):
            resume(Settings(**{name: "lbe" if name == "rule" else (1,)}), saved_lbe(experiment))


def test_the_network_alone_needs_no_data():
    assert network(Settings(rule="lbe", layers=(20, 5)), "digits-small").layers == (20, 5)
    assert network(Settings(), "digits-lbe") == PRESETS["digits-lbe"].config
    assert network(Settings(rule="lbe"), "digits-small") == PRESETS["digits-lbe"].config
    assert network(Settings(preset="mnist")) == PRESETS["mnist"].config
    assert network(Settings(layers=(12, 3))).layers == (12, 3)


# Saved networks -------------------------------------------------------------------------------------------------------


def saved(dataset: str, layers: tuple[int, ...], thresholds: np.ndarray) -> Checkpoint:
    config = replace(DIGITS, layers=layers)
    return Checkpoint(config, initial(config), Status(flips=(0, 0)), dataset, thresholds, None)


def test_a_resumed_experiment_is_the_saved_one():
    experiment = resume(Settings(), saved("digits", (128, 9, 10), np.array([4, 8])))
    assert experiment.config.layers == (128, 9, 10)
    assert experiment.x_train.shape == (1437, 128)


def test_a_resumed_run_cannot_become_another():
    with pytest.raises(ConfigError, match=r"^--resume: --flip-p256 is what the saved run says; leave it out$"):
        resume(Settings(flip_p256=3), saved("digits", (128, 9, 10), np.array([4, 8])))


def test_saved_networks_are_tested_on_their_own_test_samples():
    x, y = samples_for(saved("digits", (128, 9, 10), np.array([4, 8])), None, None)
    own = prepare(Settings(thresholds=(4, 8)))
    assert np.array_equal(x, own.x_test)
    assert np.array_equal(y, own.y_test)


def test_a_file_is_predicted_whole_with_the_saved_thresholds(own):
    x, y = samples_for(saved("digits", (6, 9, 5), np.array([[3, 4, 5], [60, 61, 62]])), own, None)
    assert x.shape == (40, 6)
    assert x[0].tolist() == [0, 0, 0, 0, 0, 0]
    assert x[20].tolist() == [1, 1, 1, 1, 1, 1]
    assert y.tolist() == [index % 5 for index in range(40)]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((8, 9, 5), "own.npz: 3 values a sample, expected 4"),
        ((6, 9, 4), "own.npz: has class 4, the network knows 0 … 3"),
    ],
)
def test_a_file_that_does_not_fit_a_saved_network_is_refused(own, layers, message):
    with pytest.raises(ConfigError) as error:
        samples_for(saved("digits", layers, np.array([1, 2])), own, None)
    assert str(error.value).endswith(message)
