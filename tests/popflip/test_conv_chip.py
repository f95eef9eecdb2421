"""Networks with convolutions on the simulated chip: runs, saved networks, stored samples, predictions."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest
from cycle_model import compare
from simulated import need_compiler
from small_images import ARRAY, FLAGS, LAYERS, write_images

from popflip import Classifier
from popflip.checkpoint import load
from popflip.cli.main import run_command
from popflip.devices.base import Device
from popflip.devices.golden import GoldenDevice
from popflip.devices.open import open_device
from popflip.errors import DeviceError
from popflip.experiment import prepare
from popflip.golden.config import Config, Precision
from popflip.golden.memory.weights import first_difference
from popflip.hw.config import ChipConfig

THRESHOLDS = ("--thresholds", "60,120")
SIM = ("--device", "sim", *FLAGS)
RUN = ("--layers", LAYERS, *THRESHOLDS, "--batch", "16", "--epochs", "3")


@pytest.fixture(autouse=True)
def images(tmp_path, monkeypatch) -> tuple[str, ...]:
    """The flags of a run on small images, in an empty folder."""
    need_compiler()
    monkeypatch.chdir(tmp_path)
    return "--dataset", write_images(tmp_path).name, *RUN


def reported(name: str) -> dict:
    return json.loads(Path(name).read_text())


def test_a_run_equals_golden_and_goes_on_from_a_file(images, capsys):
    assert run_command(["train", *images, *SIM, "--verify", "--report", "sim.json", "--save", "sim.npz"]) == 0
    assert "equal to golden: every bit after each of 9 batches" in capsys.readouterr().out
    assert run_command(["train", *images, "--report", "golden.json", "--save", "golden.npz"]) == 0
    mine, golden = reported("sim.json"), reported("golden.json")
    for name in ("state_sha256", "signature", "flips", "test_accuracy"):
        assert mine[name] == golden[name]
    assert run_command(["train", *images, *SIM, "--limit-batches", "4", "--save", "part.npz"]) == 0
    assert run_command(["train", "--resume", "part.npz", *SIM, "--save", "part.npz"]) == 0
    assert load(Path("part.npz")).state.sha256() == golden["state_sha256"]
    started = ["train", *images[:2], "--batch", "16", "--start", "golden.npz", "--limit-batches", "2"]
    for device, name in ((SIM, "on-sim.npz"), ((), "on-golden.npz")):
        assert run_command([*started, *device, "--save", name]) == 0
    assert load(Path("on-sim.npz")).state.sha256() == load(Path("on-golden.npz")).state.sha256()


def test_stored_samples_train_the_same(images):
    for name, flag in (("stored.npz", "--replay"), ("sent.npz", "--no-replay")):
        assert run_command(["train", *images, *SIM, flag, "--save", name]) == 0
    assert load(Path("stored.npz")).state.sha256() == load(Path("sent.npz")).state.sha256()


def test_predictions_are_golden_s(images, capsys):
    assert run_command(["train", *images, "--save", "m.npz"]) == 0
    for device, name in ((SIM, "sim.csv"), ((), "golden.csv")):
        assert run_command(["infer", "--model", "m.npz", *device, "--predictions", name]) == 0
    assert Path("sim.csv").read_text() == Path("golden.csv").read_text()
    assert "accuracy" in capsys.readouterr().out


def test_cycles_equal_the_chip_s(images):
    """Learning waits longer than it works here, so the total is a little too small."""
    del images
    compare(prepare(dataset="images.npz", layers=LAYERS, thresholds=(60, 120), batch=64), ARRAY, within=0.3)


def test_the_classifier_takes_the_chip(images):
    del images
    with np.load("images.npz") as file:
        x, y = file["x"].reshape(64, -1), file["y"]
    array = {"rows": 2, "synapses": 8, "learn_rows": 1, "store": 64}
    options = {"layers": LAYERS, "thresholds": [60, 120], "epochs": 2, "batch": 16}
    chip, golden = Classifier(device="sim", **array, **options).fit(x, y), Classifier(**options).fit(x, y)
    assert chip.state_sha256_ == golden.state_sha256_
    assert chip.predict(x).tolist() == golden.predict(x).tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mmax": (32767, 99)}, "mmax 32767-127 instead of 32767-99"),
        ({"mmax": 127}, "mmax 32767-127 instead of 127"),
        ({"layers": "6x5x2,c3k3s2,3"}, "layers 6x5x2-c3k3p2-3 instead of 6x5x2-c3k3s2-3"),
    ],
)
def test_a_chip_of_another_network_is_refused(change, message):
    config = prepare(dataset="images.npz", layers=LAYERS, thresholds=(60, 120)).config
    chip = ChipConfig.of(config, 2, 8, learn_rows=1, store_samples=64)
    with pytest.raises(DeviceError) as error:
        open_device("sim", dataclasses.replace(config, **change), chip)
    assert str(error.value).startswith(f"the simulated chip: built for another network, with {message}; ")


# Many networks --------------------------------------------------------------------------------------------------------

IMAGE_ALONE = (Config("3x4x2,5,3", k0=(6, 9), margin=9, window=(4,), batch=9, dclip=2), (2, 8, 1))
NETWORKS = {
    "kernel 1, binary": (
        Config("5x4x3,c6k1,c3k3,4", precision=Precision.BINARY, k0=(3, 9, 9), margin=9, window=(4, 9), batch=9),
        (4, 16, 2),
    ),
    "kernel 9, stride 3": (Config("13x11,c9k9s3,5", k0=(40, 30), margin=20, window=(9,), batch=9, dclip=3), (8, 32, 8)),
    "pool 3, small counters": (
        Config("10x9,c7k5p3,c5k3p2,3", k0=(9, 30, 9), margin=9, window=(9, 20), batch=9, mmax=(5, 90, 3), dclip=2),
        (4, 8, 2),
    ),
    "strides, three convolutions": (
        Config("17x15x2,c8k3s2,c12k5s2p2,c10k3,6", k0=(9, 90, 90, 30), margin=20, window=(5, 30, 20), batch=9, dclip=3),
        (16, 16, 4),
    ),
    "dense above, wide words": (
        Config("9x8x2,c20k7s4,33,3", k0=(90, 90, 20), margin=20, window=(9, 9), batch=9, flip_p256=100),
        (32, 64, 4),
    ),
    "an image without convolutions": IMAGE_ALONE,
}


def same(chip: Device, golden: Device, config: Config, batches: int) -> None:
    """Train both, and compare everything after each batch."""
    rng = np.random.default_rng(7)
    for device in (chip, golden):
        device.reset()
    for batch in range(batches):
        x = (rng.random((config.batch, config.inputs)) < 0.4).astype(np.uint8)
        y = rng.integers(0, config.classes, config.batch)
        for device in (chip, golden):
            device.train(x, y)
            device.end_batch(config.schedule(batch, batches))
        assert first_difference(chip.state(), golden.state()) is None
        assert dataclasses.replace(chip.status(), cycles=None) == golden.status()
        assert chip.infer(x).tolist() == golden.infer(x).tolist()


@pytest.mark.long
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_equals_golden(name):
    config, (rows, synapses, learn_rows) = NETWORKS[name]
    chip = ChipConfig.of(config, rows, synapses, learn_rows=learn_rows)
    with open_device("sim", config, chip) as device, GoldenDevice(config) as golden:
        same(device, golden, config, 5)


@pytest.mark.long
@pytest.mark.skipif(not os.environ.get("POPFLIP_DATA"), reason="needs MNIST in $POPFLIP_DATA")
def test_a_batch_of_mnist_equals_golden(capsys):
    run = [
        "train",
        "--preset",
        "mnist-conv-25f",
        "--batch",
        "96",
        "--limit-batches",
        "2",
        "--device",
        "sim",
        "--verify",
    ]
    assert run_command([*run, "--rows", "8", "--synapses", "16", "--learn-rows", "2"]) == 0
    assert "equal to golden: every bit after each of 2 batches" in capsys.readouterr().out
