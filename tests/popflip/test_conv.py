"""Convolutional layers through the whole program: flags, settings, files, estimator; one line where they cannot go."""

from __future__ import annotations

import dataclasses
import gzip
import json
import os
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from digits import TRAIN, digits

from popflip import Classifier
from popflip.checkpoint import load
from popflip.cli.main import run_command
from popflip.errors import ConfigError
from popflip.experiment import prepare
from popflip.golden.config import Config
from popflip.golden.layers import Layer, Planes
from popflip.golden.presets import PRESETS
from popflip.golden.trainer import Trainer
from popflip.heuristics import Shape, calibrated, configure, network_rules, windows_are_guessed
from popflip.kernels import kernel_layers, picture
from popflip.ledger import read

LAYERS = "8x8x4,c3k3p2,10"
SMALL = ("--layers", LAYERS, "--epochs", "1", "--batch", "200")
CONV = PRESETS["digits-conv"].config


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(capsys, *arguments: str) -> str:
    """The one line with which ``arguments`` are refused; no file is left."""
    assert run_command([*arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("popflip: ") and error.count("\n") == 1
    assert os.listdir() == []
    return error[len("popflip: ") : -1]


# Rules of thumb -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "precision", "samples", "expected"),
    [
        (
            ("28x28", "c16k5p2", "c32k5s2", 10),
            "ternary",
            60_000,
            {"margin": 79, "window": (4, 7), "dclip": 3, "k0": (2, 51, 251)},
        ),
        (("28x28", "c64k9s3", 10), "binary", 60_000, {"margin": 160, "window": (3,), "dclip": 1, "k0": (10, 512)}),
        (("8x8x4", "c16k3p2", 10), "ternary", 1437, {"margin": 32, "window": (4,), "dclip": 1, "k0": (6, 103)}),
    ],
)
def test_rules_of_thumb(layers, precision, samples, expected):
    assert network_rules(layers, precision, samples) == expected


def test_a_window_is_half_the_spread_of_the_first_sums():
    config = Config("4x4,c2k3,3", k0=(1, 1), window=(1,), seed=3)
    x = np.random.default_rng(1).integers(0, 2, (1200, 16)).astype(np.uint8)
    weights = Trainer(config).state.weights[0].reshape(2, 3, 3)
    padded = np.zeros((1000, 6, 6), int)
    padded[:, 1:5, 1:5] = x[:1000].reshape(-1, 4, 4)
    sums = [
        (padded[:, y : y + 3, x : x + 3] * weights[row]).sum(axis=(1, 2))
        for row in range(2)
        for y in range(4)
        for x in range(4)
    ]
    assert calibrated(config, x).window == (max(1, round(float(np.std(sums)) / 2)),)
    assert calibrated(config, np.zeros((5, 16), np.uint8)).window == (1,)
    dense = PRESETS["digits"].config
    assert calibrated(dense, np.zeros((5, 256), np.uint8)) is dense


def test_windows_are_measured_unless_somebody_chose_them():
    experiment = prepare(dataset="digits", layers=LAYERS)
    assert experiment.config == calibrated(experiment.config, experiment.x_train)
    assert experiment.config.mmax == (32_767, 127)
    (window,) = experiment.config.window
    assert experiment.notes == (
        f"window {window}: half the spread of the sums of the first 1000 samples at initialisation",
    )
    given = prepare(dataset="digits", layers=LAYERS, window=(3,))
    assert (given.config.window, given.notes) == ((3,), ())
    preset = prepare(preset="digits-conv")
    assert (preset.config, preset.notes) == (CONV, ())
    assert not windows_are_guessed(CONV, CONV, {}, True)
    assert windows_are_guessed(CONV, CONV, {"window": None}, False)


def test_a_preset_s_image_is_that_of_the_data():
    assert configure(CONV, {}, Shape(256, 10, 1437)).layers == CONV.layers
    with pytest.raises(ConfigError) as error:
        configure(CONV, {}, Shape(192, 10, 1437))
    assert str(error.value) == (
        "layers: the preset's images are 8x8x4, but the data holds 192 bits a sample; give layers"
    )
    assert prepare(preset="digits-conv", thresholds=(3, 9)).config.layers == ("8x8x2", "c16k3p2", 10)


def test_counters_of_a_dense_network_after_a_convolutional_preset():
    shape = Shape(256, 10, 1437)
    assert configure(CONV, {"layers": (256, 9, 10)}, shape).mmax == 127
    assert configure(CONV, {"layers": LAYERS, "mmax": (99,)}, shape).mmax == 99
    assert configure(PRESETS["digits-medium"].config, {"layers": (192, 9, 10)}, Shape(192, 10, 1437)).mmax == 31


# The command line -----------------------------------------------------------------------------------------------------


def test_a_run_is_saved_resumed_and_reported(capsys):
    flags = (*SMALL, "--report", "r.json", "--plot", "p.svg")
    assert run_command(["train", *flags, "--save", "whole.npz"]) == 0
    assert "window " in capsys.readouterr().out
    assert run_command(["train", *SMALL, "--save", "part.npz", "--limit-batches", "3"]) == 0
    assert run_command(["train", "--resume", "part.npz", "--save", "part.npz"]) == 0
    whole, resumed = load(Path("whole.npz")), load(Path("part.npz"))
    assert resumed.config == whole.config
    assert whole.config.layers == ("8x8x4", "c3k3p2", 10)
    assert resumed.state.sha256() == whole.state.sha256()
    report = json.loads(Path("r.json").read_text())
    assert report["state_sha256"] == whole.state.sha256()
    assert report["config"]["layers"] == ["8x8x4", "c3k3p2", 10]
    assert report["config"]["mmax"] == [32_767, 127]
    assert run_command(["infer", "--model", "whole.npz"]) == 0


@pytest.fixture(scope="module")
def blank_images(tmp_path_factory) -> Path:
    """A folder with an ``mnist/`` and a ``fashion-mnist/`` of 20 training and 10 test images, each of one grey."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("mnist", "fashion-mnist"):
        (folder / name).mkdir()
        for part, count in (("train", 20), ("t10k", 10)):
            labels = np.arange(count, dtype=np.uint8) % 10
            images = np.broadcast_to(25 * labels[:, None, None], (count, 28, 28)).astype(np.uint8)
            for file, array in ((f"{part}-images-idx3", images), (f"{part}-labels-idx1", labels)):
                header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
                (folder / name / f"{file}-ubyte.gz").write_bytes(gzip.compress(header + array.tobytes(), mtime=0))
    return folder


@pytest.mark.parametrize(
    "name", ["mnist-conv", "mnist-conv-wide", "mnist-conv-flat", "mnist-conv-large", "fashion-conv"]
)
def test_presets_train_images_of_28_by_28(blank_images, name):
    data = ("--data-dir", str(blank_images))
    assert run_command(["train", "--preset", name, *data, "--batch", "20", "--epochs", "1", "--save", "m.npz"]) == 0
    saved, preset = load(Path("m.npz")), PRESETS[name]
    assert saved.config == dataclasses.replace(preset.config, batch=20, epochs=1)
    assert saved.config.mmax == (32_767,) * (saved.config.depth - 1) + (127,)
    assert (saved.augment, saved.thresholds.tolist()) == (preset.augment, list(preset.thresholds))
    assert saved.status.samples == 20


@pytest.mark.parametrize("layers", ['"8x8x4,c3k3p2,10"', '["8x8x4", "c3k3p2", 10]'])
def test_settings_files_have_layers_as_text_or_list(layers):
    Path("f.toml").write_text(f"layers = {layers}\nepochs = 1\nbatch = 200\nlimit-batches = 0\nmmax = [99, 9]")
    assert run_command(["train", "--config", "f.toml", "--save", "m.npz"]) == 0
    assert load(Path("m.npz")).config.layers == ("8x8x4", "c3k3p2", 10)
    assert load(Path("m.npz")).config.mmax == (99, 9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("train", *SMALL, "--device", "/dev/none"),
            "/dev/none: there is no such port; `popflip info` lists the serial ports",
        ),
        (
            ("train", *SMALL, "--device", "sim", "--compact"),
            "--compact: needs rule gft, at most 8 synapses and learn_rows 1",
        ),
        (
            ("build", "--board", "icebreaker", "--preset", "mnist-conv-wide"),
            "--compact: 20874 words of counters and 3072 of errors, but single-port RAM holds 8192 of each; use a "
            "smaller network",
        ),
        (
            ("build", "--board", "ice40_hx8k_b_evn", "--preset", "digits-conv"),
            "--layers: 8x8x4-c16k3p2-10 does not fit iCE40-HX8K breakout board (iCE40 HX8K): it needs about 62 block "
            "RAMs, where there are 32; use a board with an ECP5, or fewer or smaller layers, rows or synapses",
        ),
        (
            ("verify", "--mmax", "31,127", "--limit-batches", "1"),
            "--mmax: 31, 127 given, but all counters of a chip without convolutions are alike; give one number",
        ),
        (("train", "--layers", "8x8x4,c3k4,10"), "--layers[1]: kernel: 4 is even; take 3 or 5"),
        (
            ("train", "--layers", "8x8x3,c3k3,10"),
            "--layers: 8x8x3 inputs, but digits has 8 × 8 pixels × 4 thresholds = 256 bits; use "
            "8x8x4,c3k3,10, or other thresholds",
        ),
        (
            ("train", "--layers", "16x16,c3k3,10"),
            "--layers: 16x16 inputs, but digits has 8 × 8 pixels × 4 thresholds = 256 bits; use "
            "8x8x4,c3k3,10, or other thresholds",
        ),
        (
            ("train", "--layers", "8x8x4,c3k3,9"),
            "--layers: 9 classes (0 … 8), but digits has class 9; the last layer needs 10",
        ),
        (("train", "--rule", "lbe", "--layers", "8x8x4,c3k3,10"), "--layers[0]: '8x8x4' is not a whole number"),
        (("train", "--rule", "lbe", "--mmax", "7,7"), "--mmax: 2 given, expected 1 (rule lbe has one)"),
        (("train", *SMALL, "--mmax", "7,7,7"), "--mmax: 3 given, expected 2 (one per layer)"),
    ],
)
def test_what_cannot_be_is_one_line(capsys, arguments, message):
    assert refused(capsys, *arguments) == message


@pytest.mark.parametrize("bits", [4, 9])
def test_a_data_set_without_images_is_refused(capsys, bits):
    data = f"prototypes:classes=3,bits={bits**2},flip=0.1,train=60,test=20,seed=1"
    said = refused(capsys, "train", "--dataset", data, "--layers", f"{bits}x{bits},c3k3,3")
    assert said == f"--layers: {bits}x{bits} is an image, but {data} holds none; give a dense network"


# Files ----------------------------------------------------------------------------------------------------------------


def test_a_run_begins_with_the_kernels_of_another():
    assert run_command(["train", *SMALL, "--save", "first.npz"]) == 0
    assert run_command(["train", "--start", "first.npz", "--limit-batches", "0", "--save", "second.npz"]) == 0
    first, second = load(Path("first.npz")), load(Path("second.npz"))
    assert second.config.layers == first.config.layers
    assert (second.config.mmax, second.config.window) == (first.config.mmax, first.config.window)
    assert [w.tolist() for w in second.state.weights] == [w.tolist() for w in first.state.weights]
    assert not any(m.any() for m in second.state.counters)


def test_a_saved_network_predicts(capsys, tmp_path):
    assert run_command(["train", *SMALL, "--limit-batches", "2", "--save", "m.npz", "--report", "r.json"]) == 0
    capsys.readouterr()
    assert run_command(["infer", "--model", "m.npz", "--predictions", "p.csv"]) == 0
    saved = load(Path("m.npz"))
    bits, classes = digits((3, 6, 9, 12))
    trainer = Trainer(saved.config)
    trainer.state = saved.state
    expected = trainer.infer(bits[TRAIN:])
    assert [int(line) for line in Path("p.csv").read_text().split()] == expected.tolist()
    accuracy = f"{(expected == classes[TRAIN:]).mean():.2%}"
    assert f"accuracy: {accuracy}\n" in capsys.readouterr().out
    assert json.loads(Path("r.json").read_text())["test_accuracy"] == (expected == classes[TRAIN:]).mean()


def test_a_report_and_a_network_have_the_same_account(capsys):
    assert run_command(["train", *SMALL, "--save", "n.npz", "--report", "r.json"]) == 0
    assert read(Path("r.json")) == read(Path("n.npz"))
    capsys.readouterr()
    assert run_command(["account", "r.json"]) == 0
    assert capsys.readouterr().out.startswith("8x8x4-c3k3p2-10 ternary: 7 batches, 1400 samples, ")


def test_golden_equals_itself(capsys):
    assert run_command(["verify", *SMALL, "--device", "golden", "--limit-batches", "2"]) == 0
    assert "golden equals golden in every bit after each of 2 batches" in capsys.readouterr().out


# Kernels --------------------------------------------------------------------------------------------------------------


def test_kernels_of_one_channel_lie_in_a_square():
    """Five kernels of 3 × 3: two lines of three."""
    layer = Layer(Planes(8, 8), 5, 3)
    w = np.resize(np.array([1, 0, -1, 1, 1], np.int8), (5, 9))
    shown = picture(w, layer)
    assert shown.shape == (7, 11)
    for row in range(5):
        y, x = divmod(row, 3)
        assert shown[4 * y : 4 * y + 3, 4 * x : 4 * x + 3].ravel().tolist() == w[row].tolist()
    assert np.isnan(shown[3]).all() and np.isnan(shown[:, [3, 7]]).all() and np.isnan(shown[4:, 8:]).all()
    assert np.isnan(shown).sum() == 7 * 11 - 45


def test_kernels_of_several_channels_have_a_line_for_each_row():
    layer = Layer(Planes(8, 8, 2), 3, 3)
    w = np.random.default_rng(1).integers(-1, 2, (3, 18)).astype(np.int8)
    shown = picture(w, layer)
    assert shown.shape == (11, 7)
    for row in range(3):
        for channel in range(2):
            kernel = [[w[row, (ky * 3 + kx) * 2 + channel] for kx in range(3)] for ky in range(3)]
            assert shown[4 * row : 4 * row + 3, 4 * channel : 4 * channel + 3].tolist() == kernel


def test_layers_with_kernels():
    assert kernel_layers(Config("8x8,c2k3,c2k1,c2k5,10", k0=(1,) * 4, window=(1,) * 3).plan) == [0, 2]
    assert kernel_layers(PRESETS["digits"].config.plan) == []


def test_the_plot_shows_the_kernels(monkeypatch):
    monkeypatch.setitem(matplotlib.rcParams, "svg.fonttype", "none")
    layers = ("--layers", "8x8x4,c3k3p2,c4k3,10", "--limit-batches", "1", "--plot", "p.svg")
    assert run_command(["train", *layers]) == 0
    text = Path("p.svg").read_text()
    assert "layer 0, c3k3p2, 4 channels across: red +1, blue −1, white 0" in text
    assert "layer 1, c4k3, 3 channels across: red +1, blue −1, white 0" in text


# The estimator --------------------------------------------------------------------------------------------------------


def test_the_classifier_takes_images(tmp_path):
    bits, classes = digits((3, 6, 9, 12))
    x, y = bits[:400], classes[:400]
    model = Classifier(layers="8x8x4,c3k3p2,10", thresholds=[1], epochs=2, batch=100).fit(x, y)
    assert model.config_.layers == ("8x8x4", "c3k3p2", 10)
    assert model.config_.window == calibrated(model.config_, x).window
    model.save(tmp_path / "m.npz")
    same = Classifier.load(tmp_path / "m.npz")
    assert same.predict(x).tolist() == model.predict(x).tolist()
    assert same.fit(x, y).state_sha256_ == model.state_sha256_
    assert model.decision_function(x).shape == (400, 10)


def test_the_classifier_chooses_as_many_thresholds_as_the_image_has_planes():
    x = np.random.default_rng(1).random((60, 16))
    model = Classifier(layers=("4x4x3", "c2k3", 2), epochs=1).fit(x, np.arange(60) % 2)
    assert model.thresholds_.shape == (3, 16)


def test_an_image_that_does_not_fit_is_one_line():
    x = np.random.default_rng(1).random((60, 16))
    with pytest.raises(ConfigError) as error:
        Classifier(layers="5x3,c2k3,2", levels=2).fit(x, np.arange(60) % 2)
    assert str(error.value) == (
        "layers: ('5x3', 'c2k3', 2) given, but X has 16 features × 2 thresholds = 32 bits and y has 2 classes; use "
        "('an image of 32 bits', 'c2k3', 2), or other thresholds"
    )
