"""The published results of whole runs on the digits, reproduced by the golden model to the last bit."""

from __future__ import annotations

import json

import numpy as np
import pytest
from digits import TRAIN, digits, sample_order
from paths import DATA

from popflip.golden.config import Config, LbeConfig
from popflip.golden.trainer import Trainer

VECTORS = json.loads((DATA / "vectors.json").read_text())
RUNS = [name for name in VECTORS if name.startswith("gft")]
LBE_RUNS = [name for name in VECTORS if name.startswith("lbe")]


def test_both_rules_have_runs():
    assert (len(RUNS), len(LBE_RUNS)) == (5, 3)


@pytest.mark.parametrize("name", LBE_RUNS)
def test_lbe_run(name):
    parameters = dict(VECTORS[name]["config"])
    assert parameters.pop("dataset") == "digits"
    x, y = digits(tuple(parameters.pop("thresholds")))
    config = LbeConfig(**parameters)
    trainer = Trainer(config)
    order = sample_order(config.seed, config.epochs)
    done = 0
    for count, expected in VECTORS[name]["after_samples"].items():
        samples = order[done : int(count)]
        trainer.train(x[samples], y[samples])
        done = trainer.samples
        assert done == trainer.batches == int(count)
        assert {
            "test_accuracy": float(np.mean(trainer.infer(x[TRAIN:]) == y[TRAIN:])),
            "state_sha256": trainer.state.sha256(),
            "signature": f"{trainer.signature:08x}",
            "rng": f"{trainer.state.rng:08x}",
        } == expected


@pytest.mark.parametrize("name", RUNS)
def test_run(name):
    parameters = dict(VECTORS[name]["config"])
    assert parameters.pop("dataset") == "digits"
    x, y = digits(tuple(parameters.pop("thresholds")))
    config = Config(**parameters)
    trainer = Trainer(config)
    order = sample_order(config.seed, config.epochs)
    batches = config.batches(TRAIN)

    expected = {int(batch): result for batch, result in VECTORS[name]["after_batches"].items()}
    for batch in range(max(expected) + 1):
        if batch in expected:
            assert {
                "test_accuracy": float(np.mean(trainer.infer(x[TRAIN:]) == y[TRAIN:])),
                "state_sha256": trainer.state.sha256(),
                "signature": f"{trainer.signature:08x}",
                "rng": f"{trainer.state.rng:08x}",
                "flips": trainer.flips,
                "errors": trainer.errors,
            } == expected.pop(batch)
        samples = order[batch * config.batch : (batch + 1) * config.batch]
        trainer.train(x[samples], y[samples])
        trainer.end_batch(config.schedule(batch, batches))
    assert not expected
