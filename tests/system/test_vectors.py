"""The golden model reproduces the published results of whole runs on the digits, to the last bit."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
import pytest
from digits import TRAIN, digits, sample_order
from numpy.typing import NDArray
from paths import DATA

from popflip.data.datasets import load
from popflip.golden.config import Config, LbeConfig
from popflip.golden.presets import PRESETS
from popflip.golden.trainer import Trainer

VECTORS = json.loads((DATA / "vectors.json").read_text())
GFT_RUNS = [name for name in VECTORS if name.startswith("gft")]
LBE_RUNS = [name for name in VECTORS if name.startswith("lbe")]
CONV_RUNS = [name for name in VECTORS if name.startswith("conv")]


def parameters_and_data(name: str) -> tuple[dict[str, Any], NDArray[np.uint8], NDArray[np.int64]]:
    """Parameters of run ``name``, inputs and classes."""
    parameters = dict(VECTORS[name]["config"])
    assert parameters.pop("dataset") == "digits"
    return parameters, *digits(tuple(parameters.pop("thresholds")))


def result(trainer: Trainer, x: NDArray[np.uint8], y: NDArray[np.int64]) -> dict[str, Any]:
    """The published numbers of a run."""
    return {
        "test_accuracy": float(np.mean(trainer.infer(x[TRAIN:]) == y[TRAIN:])),
        "state_sha256": trainer.state.sha256(),
        "signature": f"{trainer.signature:08x}",
        "rng": f"{trainer.state.rng:08x}",
    }


def learn(
    trainer: Trainer, x: NDArray[np.uint8], y: NDArray[np.int64], order: NDArray[np.int64], batches: int, samples: int
) -> None:
    """Train up to batch number ``batches`` of a run over ``samples`` samples in ``order``."""
    config = trainer.config
    for batch in range(trainer.batches, batches):
        chosen = order[batch * config.batch : (batch + 1) * config.batch]
        trainer.train(x[chosen], y[chosen])
        trainer.end_batch(config.schedule(batch, config.batches(samples)))


def test_rules_and_convolution_have_runs():
    assert (len(GFT_RUNS), len(LBE_RUNS), len(CONV_RUNS)) == (5, 3, 4)


@pytest.mark.parametrize("name", LBE_RUNS)
def test_lbe_run(name):
    parameters, x, y = parameters_and_data(name)
    config = LbeConfig(**parameters)
    trainer = Trainer(config)
    order = sample_order(config.seed, config.epochs)
    for count, expected in VECTORS[name]["after_samples"].items():
        samples = order[trainer.samples : int(count)]
        trainer.train(x[samples], y[samples])
        assert trainer.samples == trainer.batches == int(count)
        assert result(trainer, x, y) == expected


@pytest.mark.parametrize("name", GFT_RUNS)
def test_gft_run(name):
    parameters, x, y = parameters_and_data(name)
    config = Config(**parameters)
    trainer = Trainer(config)
    order = sample_order(config.seed, config.epochs)
    for count, expected in VECTORS[name]["after_batches"].items():
        learn(trainer, x, y, order, int(count), TRAIN)
        assert result(trainer, x, y) | {"flips": trainer.flips, "errors": trainer.errors} == expected


@pytest.mark.parametrize("name", [name for name in CONV_RUNS if VECTORS[name]["config"]["dataset"] == "digits"])
def test_conv_run(name):
    parameters, x, y = parameters_and_data(name)
    config = Config(**parameters)
    trainer = Trainer(config)
    order = sample_order(config.seed, config.epochs)
    for count, expected in VECTORS[name]["after_batches"].items():
        learn(trainer, x, y, order, int(count), TRAIN)
        assert result(trainer, x, y) | {"flips": trainer.flips, "errors": trainer.errors} == expected


def test_a_preset_is_a_published_run():
    parameters = {name: value for name, value in VECTORS["conv"]["config"].items() if name != "dataset"}
    preset = PRESETS["digits-conv"]
    assert (preset.dataset, preset.thresholds) == ("digits", tuple(parameters.pop("thresholds")))
    assert preset.config == Config(**parameters)


@pytest.mark.skipif("POPFLIP_DATA" not in os.environ, reason="needs MNIST; give POPFLIP_DATA=D, where D holds mnist/")
def test_conv_run_on_mnist():
    """The first batches of 60,000 images."""
    data = load("mnist")
    parameters = dict(VECTORS["conv-mnist"]["config"])
    assert (parameters.pop("dataset"), parameters.pop("thresholds")) == ("mnist", [128])
    x, test = ((values >= 128).astype(np.uint8) for values in (data.train_values, data.test_values[:2000]))
    config = Config(**parameters)
    trainer = Trainer(config)
    order = np.random.Generator(np.random.PCG64(config.seed)).permutation(len(x))
    for count, expected in VECTORS["conv-mnist"]["after_batches"].items():
        learn(trainer, x, data.train_classes, order, int(count), len(x))
        accuracy = float(np.mean(trainer.infer(test) == data.test_classes[:2000]))
        found = result(trainer, test[:1], data.test_classes[:1]) | {"flips": trainer.flips, "errors": trainer.errors}
        del found["test_accuracy"]
        assert found | {"test_accuracy_first_2000": accuracy} == expected
