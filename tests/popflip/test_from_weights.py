"""``popflip train --start``: a new run that begins with the weights of a saved network, on data of the same shape."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from simulated import need_compiler
from sklearn.datasets import load_digits

from popflip import Classifier
from popflip.checkpoint import load
from popflip.cli.main import run_command
from popflip.devices.golden import GoldenDevice
from popflip.experiment import from_weights
from popflip.golden.common.prng import first_state
from popflip.golden.trainer import Trainer
from popflip.steps import sample_order
from popflip.training import run

SMALL = ("--layers", "256,12,10", "--epochs", "2", "--batch", "100")


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def model() -> Path:
    """A network of digits, 256-12-10."""
    assert run_command(["train", *SMALL, "--save", "a.npz"]) == 0
    return Path("a.npz")


def personal(samples: int = 150) -> Path:
    """Own data of the digits' shape: images moved by two pixels."""
    x, y = load_digits(return_X_y=True)
    path = Path("own.csv")
    moved = np.roll(x.reshape(-1, 8, 8), 2, axis=2).reshape(-1, 64)
    np.savetxt(path, np.column_stack([moved, y])[:samples], "%d", ",")
    return path


def refused(capsys, *arguments: str) -> str:
    before = sorted(os.listdir())
    capsys.readouterr()
    assert run_command(["train", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("popflip: ") and error.count("\n") == 1
    assert sorted(os.listdir()) == before
    return error[len("popflip: ") : -1]


def test_it_begins_with_the_weights_and_nothing_else(model):
    saved = load(model)
    assert any(m.any() for m in saved.state.counters)
    experiment, begin = from_weights(saved, dataset=str(personal()), seed=5)
    config = experiment.config
    assert (config.layers, config.precision) == ((256, 12, 10), "ternary")
    assert (config.batch, config.epochs) == (120, 20)  # 120 of 150 samples train
    assert config.k0 == saved.config.k0
    assert (config.margin, config.window) == (saved.config.margin, saved.config.window)
    for w, old, m in zip(begin.state.weights, saved.state.weights, begin.state.counters, strict=True):
        assert np.array_equal(w, old) and w is not old
        assert not m.any()
    assert (begin.state.rng, begin.status.samples, begin.status.flips) == (first_state(5), 0, (0, 0))
    assert experiment.thresholds.tolist() == [3, 6, 9, 12]


def test_a_run_ends_where_the_rule_says(model):
    """The golden model, started by hand from the weights."""
    flags = ("--start", str(model), "--dataset", str(personal()), "--epochs", "3", "--k0", "9,4", "--seed", "3")
    assert run_command(["train", *flags, "--report", "r.json", "--save", "b.npz"]) == 0
    experiment, begin = from_weights(load(model), dataset="own.csv", epochs=3, k0=(9, 4), seed=3)
    trainer = Trainer(experiment.config)
    trainer.state = begin.state
    total = experiment.config.batches(len(experiment.y_train))
    for batch, samples in enumerate(sample_order(len(experiment.y_train), experiment.config)):
        trainer.train(experiment.x_train[samples], experiment.y_train[samples])
        trainer.end_batch(experiment.config.schedule(batch, total))
    report = json.loads(Path("r.json").read_text())
    assert (report["state_sha256"], report["flips"]) == (trainer.state.sha256(), trainer.flips)
    assert load(Path("b.npz")).state.sha256() == trainer.state.sha256()


def test_it_learns_the_new_data(model):
    """The old network hardly knows the new images, and learns them from its weights on."""
    own = str(personal(900))
    experiment, begin = from_weights(load(model), dataset=own, epochs=8)
    golden = GoldenDevice(experiment.config)
    golden.load(begin.state, begin.status)
    before = np.mean(golden.infer(experiment.x_test) == experiment.y_test)
    run(golden, experiment.x_train, experiment.y_train, start=(begin.state, begin.status))
    after = np.mean(golden.infer(experiment.x_test) == experiment.y_test)
    assert after > before + 0.2


def test_it_can_be_resumed(model):
    flags = ("--start", str(model), "--dataset", str(personal()), "--epochs", "4")
    assert run_command(["train", *flags, "--save", "whole.npz"]) == 0
    assert run_command(["train", *flags, "--save", "part.npz", "--limit-batches", "2"]) == 0
    assert run_command(["train", "--resume", "part.npz", "--save", "part.npz"]) == 0
    whole, part = load(Path("whole.npz")), load(Path("part.npz"))
    assert whole.state.sha256() == part.state.sha256()
    assert whole.status == part.status


def test_the_simulated_chip_equals_golden():
    need_compiler()
    rng = np.random.default_rng(2)
    values, labels = (
        rng.integers(0, 2, (90, 20)),
        rng.integers(0, 3, 90),
    )  # the chip of tests/popflip/test_classifier.py
    np.savez("a.npz", x=values, y=labels)
    np.savez("b.npz", x=1 - values, y=labels)
    chip = ("--device", "sim", "--rows", "2", "--synapses", "8")
    assert run_command(["train", "--dataset", "a.npz", "--levels", "1", "--layers", "20,6,3", "--save", "m.npz"]) == 0
    assert run_command(["verify", "--start", "m.npz", "--dataset", "b.npz", "--epochs", "4", *chip]) == 0


# Refused --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["--preset digits", "--layers 256,12,10", "--precision binary", "--thresholds 1,2"])
def test_what_the_network_fixes(model, capsys, name):
    expected = f"{name.split()[0]}: the network of --start fixes it; leave it out"
    assert refused(capsys, "--start", str(model), *name.split()) == expected


def test_resume_and_start(model, capsys):
    expected = "--resume: --start begins a new run; leave one of the two out"
    assert refused(capsys, "--start", str(model), "--resume", str(model)) == expected


def test_data_of_another_shape(model, capsys):
    Path("other.csv").write_text("1,2,0\n3,4,1\n5,6,0\n7,8,1\n9,1,0\n")
    assert refused(capsys, "--start", str(model), "--dataset", "other.csv") == (
        "other.csv: has 2 values × 4 thresholds = 8 bits and 2 classes, the saved network 256 and 10; give data of the "
        "same shape"
    )


def test_the_network_is_not_overwritten(model, capsys):
    before = model.read_bytes()
    found = refused(capsys, "--start", str(model), "--save", str(model))
    assert found == f"--save: {model} is also the file of start, which is read; name another file"
    assert model.read_bytes() == before


def test_a_network_of_lbe(capsys):
    flags = ("--rule", "lbe", "--layers", "256,32", "--limit-batches", "256", "--save", "lbe.npz")
    assert run_command(["train", *flags]) == 0
    assert refused(capsys, "--start", "lbe.npz") == (
        "--start: a network of rule lbe has its weights in its counters; resume its run instead"
    )


def test_a_network_of_arrays_needs_data(capsys):
    x, y = load_digits(return_X_y=True)
    Classifier(layers=(64, 8, 10), epochs=1).fit(x[:300], y[:300]).save("own.npz")
    assert refused(capsys, "--start", "own.npz") == (
        "--dataset: the saved network names no data; give the data to learn from"
    )


def test_a_network_with_labels_of_its_own(capsys):
    x, y = load_digits(return_X_y=True)
    Classifier(layers=(64, 8, 10), epochs=1).fit(x[:300], y[:300] + 1).save("own.npz")
    assert refused(capsys, "--start", "own.npz", "--dataset", "digits") == (
        "--start: the network has labels of its own; go on with popflip.Classifier and partial_fit"
    )
