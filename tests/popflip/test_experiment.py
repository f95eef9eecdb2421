"""Experiments: presets, the numbers that replace them for other data or networks, and refused parameters."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from popflip.checkpoint import Checkpoint
from popflip.devices.base import Status
from popflip.experiment import find_preset, from_checkpoint, network, prepare, samples_for
from popflip.golden.config import Config, LbeConfig, Precision
from popflip.golden.errors import ConfigError
from popflip.golden.presets import PRESETS
from popflip.golden.trainer import initial

DIGITS = PRESETS["digits"].config


@pytest.fixture
def own(tmp_path: Path) -> str:
    """An own data set: 40 samples of 3 features, classes 0 … 4."""
    np.savez(tmp_path / "own.npz", x=np.arange(120).reshape(40, 3), y=np.arange(40) % 5)
    return str(tmp_path / "own.npz")


def test_no_parameters_give_the_digits_preset():
    experiment = prepare()
    assert experiment.config == DIGITS
    assert experiment.thresholds.tolist() == [3, 6, 9, 12]
    assert (experiment.x_train.shape, experiment.x_test.shape) == ((1437, 256), (360, 256))


@pytest.mark.parametrize("name", ["digits-binary", "digits-small"])
def test_a_preset_is_taken_as_it_is(name):
    assert prepare(preset=name).config == PRESETS[name].config


def test_given_parameters_win_over_the_preset():
    given = {
        "dataset": "digits",
        "thresholds": (4, 8),
        "layers": (128, 20, 12, 10),
        "precision": "binary",
        "batch": 100,
        "epochs": 3,
        "k0": (7, 6, 5),
        "margin": (9,),
        "window": (4, 3),
        "dclip": 2,
        "shift": "none",
        "mmax": 63,
        "flip_p256": 96,
        "seed": 8,
        "rule": "gft",
    }
    assert prepare(**given).config == Config(
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
    assert prepare(layers=(256, 64, 10), precision="ternary", shift=4).config == DIGITS


def test_a_network_of_one_layer_has_no_window():
    config = prepare(layers=(256, 10)).config
    assert (config.window, config.k0, config.margin) == ((), (103,), 32)


def test_other_thresholds_change_the_inputs():
    config = prepare(thresholds=(8,)).config
    assert config.layers == (64, 64, 10)
    assert config.window == (3,)


def test_own_data_gets_quantile_thresholds_and_a_network_that_fits(own):
    experiment = prepare(dataset=own, test_split=0.25, levels=2)
    assert experiment.thresholds.shape == (2, 3)
    assert experiment.config.layers == (6, 64, 5)
    assert (experiment.config.batch, experiment.config.epochs) == (30, 100)
    assert (len(experiment.y_train), len(experiment.y_test), experiment.test_split) == (30, 10, 0.25)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"preset": "digit"},
            f"preset: 'digit' is not one of {', '.join(PRESETS)}",
        ),
        (
            {"layers": (255, 64, 10)},
            "layers: 255 inputs, but digits has 64 values × 4 thresholds = 256 bits; use 256,64,10, "
            "or other thresholds",
        ),
        (
            {"layers": (256, 64, 9)},
            "layers: 9 classes (0 … 8), but digits has class 9; the last layer needs 10",
        ),
        (
            {"layers": (256,)},
            "layers: 1 given, expected the inputs and 1 to 8 layers after them",
        ),
        ({"layers": ()}, "layers: 0 given, expected the inputs and 1 to 8 layers after them"),
        ({"layers": (256, 0, 10)}, "layers[1]: 0 is outside 1 … 65535"),
        ({"layers": (256, -5, 10)}, "layers[1]: -5 is outside 1 … 65535"),
        ({"k0": (1,)}, "k0: 1 given, expected 2 (one per layer)"),
        ({"window": ()}, "window: 0 given, expected 1 (one per hidden layer)"),
        ({"precision": "float"}, "precision: 'float' is not one of binary, ternary"),
        ({"rule": "sgd"}, "rule: 'sgd' is not one of gft, lbe"),
        ({"rule": "lbe", "preset": "digits"}, "rule: preset digits learns by gft; leave one of the two out"),
        ({"rule": "gft", "preset": "digits-lbe"}, "rule: preset digits-lbe learns by lbe; leave one of the two out"),
        ({"margin": (3, 4)}, "margin: 2 given, expected 1 (rule gft has one)"),
        ({"group": (3,)}, "group: is for rule lbe, but this network learns by gft; leave it out"),
        (
            {"preset": "digits", "reinforce_p256": 0},
            "reinforce_p256: is for rule lbe, but this network learns by gft; leave it out",
        ),
        *(
            ({"rule": "lbe", name: value}, f"{name}: is for rule gft, but this network learns by lbe; leave it out")
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
            "layers: 255 inputs, but digits has 64 values × 4 thresholds = 256 bits; use 256,128, or other thresholds",
        ),
        ({"shift": 32}, "shift: 32 is outside 0 … 31"),
        ({"levels": 3}, "levels: only for your own data without thresholds; leave it out"),
        ({"thresholds": ()}, "thresholds: none given, at least one is needed"),
    ],
)
def test_a_parameter_that_does_not_fit_is_named(settings, message):
    with pytest.raises(ConfigError) as error:
        prepare(**settings)
    assert str(error.value) == message


def test_data_without_a_preset_starts_from_that_of_the_same_shape():
    """Fashion-MNIST from MNIST's, whose batch and epochs were tuned on other images."""
    assert find_preset(dataset="fashion-mnist") == PRESETS["mnist"]
    assert find_preset(dataset="fashion-mnist", rule="lbe") == PRESETS["mnist-lbe"]
    assert network(dataset="fashion-mnist") == PRESETS["mnist"].config


# LBE ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{"rule": "lbe"}, {"preset": "digits-lbe"}, {"rule": "lbe", "dataset": "digits"}])
def test_the_rule_alone_takes_its_preset_for_the_data(settings):
    experiment = prepare(**settings)
    assert experiment.config == PRESETS["digits-lbe"].config
    assert experiment.thresholds.tolist() == [3, 6, 9, 12]


def test_given_lbe_parameters_win_over_the_preset():
    given = {
        "rule": "lbe",
        "thresholds": (4, 8),
        "layers": (128, 20, 12),
        "precision": "binary",
        "epochs": 3,
        "group": (7, 5),
        "margin": (-4,),
        "reinforce_p256": 0,
        "mmax": 63,
        "seed": 8,
    }
    assert prepare(**given).config == LbeConfig(
        (128, 20, 12), 10, group=(7, 5), margin=(-4, -4), reinforce_p256=0, mmax=63, epochs=3, seed=8
    )


def test_own_data_gets_an_lbe_network_that_fits(own):
    config = prepare(dataset=own, rule="lbe", levels=2).config
    assert (config.layers, config.classes, config.margin) == ((6, 128), 5, (16,))


def test_prototypes_are_learned_as_they_are():
    experiment = prepare(rule="lbe", dataset="prototypes:bits=40,classes=3,train=50,test=9,flip=0")
    assert experiment.dataset == "prototypes:classes=3,bits=40,flip=0.0,train=50,test=9,seed=1"
    assert (experiment.config.layers, experiment.config.classes) == ((40, 128), 3)
    assert len({bytes(sample) for sample in experiment.x_test}) == 3
    again = from_checkpoint(saved_lbe(experiment))
    assert np.array_equal(again.x_test, experiment.x_test)


def saved_lbe(experiment) -> Checkpoint:
    state = initial(experiment.config)
    return Checkpoint(experiment.config, state, Status(flips=(0,)), experiment.dataset, experiment.thresholds, None)


def test_the_network_alone_needs_no_data():
    assert network(rule="lbe", layers=(20, 5), default="digits-small").layers == (20, 5)
    assert network(default="digits-lbe") == PRESETS["digits-lbe"].config
    assert network(rule="lbe", default="digits-small") == PRESETS["digits-lbe"].config
    assert network(preset="mnist") == PRESETS["mnist"].config
    assert network(layers=(12, 3)).layers == (12, 3)


# Saved networks -------------------------------------------------------------------------------------------------------


def saved(dataset: str, layers: tuple[int, ...], thresholds: np.ndarray) -> Checkpoint:
    config = replace(DIGITS, layers=layers)
    return Checkpoint(config, initial(config), Status(flips=(0, 0)), dataset, thresholds, None)


def test_a_saved_network_has_its_own_experiment():
    experiment = from_checkpoint(saved("digits", (128, 9, 10), np.array([4, 8])))
    assert experiment.config.layers == (128, 9, 10)
    assert experiment.x_train.shape == (1437, 128)


def test_data_that_a_saved_network_does_not_fit_is_refused():
    with pytest.raises(ConfigError) as error:
        from_checkpoint(saved("digits", (127, 9, 9), np.array([4, 8])))
    assert str(error.value) == (
        "digits: has 128 bits and 10 classes, the saved network 127 and 9; give the data it was trained on"
    )


def test_an_experiment_makes_its_checkpoint():
    experiment = prepare(layers=(256, 9, 10), augment="shift")
    state, status = initial(experiment.config), Status(flips=(0, 0))
    checkpoint = experiment.checkpoint(state, status)
    assert (checkpoint.config, checkpoint.state, checkpoint.status) == (experiment.config, state, status)
    assert from_checkpoint(checkpoint).augment == experiment.augment == "shift"


def test_saved_networks_are_tested_on_their_own_test_samples():
    x, y = samples_for(saved("digits", (128, 9, 10), np.array([4, 8])), None, None)
    own = prepare(thresholds=(4, 8))
    assert np.array_equal(x, own.x_test)
    assert np.array_equal(y, own.y_test)


def test_all_samples_of_a_file_use_the_saved_thresholds(own):
    x, y = samples_for(saved("digits", (6, 9, 5), np.array([[3, 4, 5], [60, 61, 62]])), own, None)
    assert x.shape == (40, 6)
    assert x[0].tolist() == [0, 0, 0, 0, 0, 0]
    assert x[20].tolist() == [1, 1, 1, 1, 1, 1]
    assert y.tolist() == [index % 5 for index in range(40)]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((8, 9, 5), "own.npz: 3 values a sample, expected 4"),
        ((6, 9, 4), "own.npz: has class 4, the network has 0, 1, 2, 3; leave out samples of other classes"),
    ],
)
def test_a_file_that_does_not_fit_a_saved_network_is_refused(own, layers, message):
    with pytest.raises(ConfigError) as error:
        samples_for(saved("digits", layers, np.array([1, 2])), own, None)
    assert str(error.value).endswith(message)


# Data that changed ----------------------------------------------------------------------------------------------------


def rewritten(path: str, change: str) -> None:
    """The file of ``own`` after somebody has changed it."""
    with np.load(path) as archive:
        x, y = archive["x"], archive["y"]
    if change == "a sample more":
        x, y = np.vstack([x, x[:1]]), np.append(y, y[0])
    elif change == "another order":
        x, y = x[::-1], y[::-1]
    elif change == "another value":
        x = x.astype(float)
        x[3, 1] += 0.5
    elif change == "other classes":
        y = 4 - y
    np.savez(path, x=x, y=y)


@pytest.mark.parametrize("change", ["a sample more", "another order", "another value", "other classes"])
def test_other_data_is_refused_unless_allowed(own, change):
    experiment = prepare(dataset=own, layers=(12, 5))
    checkpoint = experiment.checkpoint(initial(experiment.config), Status(flips=(0,)))
    assert checkpoint.data_sha256 == experiment.data_sha256 is not None
    assert np.array_equal(from_checkpoint(checkpoint).x_train, experiment.x_train)
    rewritten(own, change)
    message = (
        f"allow_other_data: {own} holds other samples than those the network was trained on; "
        "restore them, or set it to use these"
    )
    for use in (from_checkpoint, lambda *saved, **options: samples_for(*saved, None, **options)):
        with pytest.raises(ConfigError) as error:
            use(checkpoint)
        assert str(error.value) == message
        use(checkpoint, allow_other_data=True)
    assert len(samples_for(checkpoint, own)[0]) == 40 + (change == "a sample more")
    other = from_checkpoint(checkpoint, allow_other_data=True)
    assert other.data_sha256 not in (None, experiment.data_sha256)
    from_checkpoint(replace(checkpoint, data_sha256=None))


def test_the_type_of_the_values_does_not_matter(own):
    experiment = prepare(dataset=own, layers=(12, 5))
    with np.load(own) as archive:
        np.savez_compressed(own, x=archive["x"].astype(np.float32), y=archive["y"].astype(np.uint8))
    from_checkpoint(experiment.checkpoint(initial(experiment.config), Status(flips=(0,))))
