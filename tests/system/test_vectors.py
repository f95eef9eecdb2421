"""The golden model reproduces the published results of whole runs on the digits, to the last bit."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from digits import TRAIN, digits, sample_order
from numpy.typing import NDArray
from paths import DATA

from popflip.golden.config import Config, LbeConfig
from popflip.golden.trainer import Trainer

VECTORS = json.loads((DATA / "vectors.json").read_text())
GFT_RUNS = [name for name in VECTORS if name.startswith("gft")]
LBE_RUNS = [name for name in VECTORS if name.startswith("lbe")]


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


def test_both_rules_have_runs():
    assert (len(GFT_RUNS), len(LBE_RUNS)) == (5, 3)


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
        for batch in range(trainer.batches, int(count)):
            samples = order[batch * config.batch : (batch + 1) * config.batch]
            trainer.train(x[samples], y[samples])
            trainer.end_batch(config.schedule(batch, config.batches(TRAIN)))
        assert result(trainer, x, y) | {"flips": trainer.flips, "errors": trainer.errors} == expected
