"""Augmentation: the pixels of a moved image, the moves of a run, and equal runs on every device and after a resume."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from popflip.checkpoint import load, save
from popflip.cli.main import run_command
from popflip.data.augment import Moves, MovingImages, shift
from popflip.data.encoding import thermometer
from popflip.devices.golden import GoldenDevice
from popflip.errors import ConfigError
from popflip.experiment import from_checkpoint, prepare
from popflip.golden.config import Config, LbeConfig
from popflip.golden.presets import PRESETS, Augment
from popflip.steps import sample_order
from popflip.training import train

IMAGE = [
    [1, 2, 3],
    [4, 5, 6],
]
MOVED = {
    "none": [[1, 2, 3], [4, 5, 6]],
    "up": [[4, 5, 6], [0, 0, 0]],
    "down": [[0, 0, 0], [1, 2, 3]],
    "left": [[2, 3, 0], [5, 6, 0]],
    "right": [[0, 1, 2], [0, 4, 5]],
}
SMALL = ("--layers", "256,12,10", "--epochs", "2", "--batch", "100", "--augment", "shift")
CONFIG = Config((24, 9, 4), k0=(30, 9), window=(3,), margin=5, batch=16, epochs=3, seed=5)


def images(samples: int = 50) -> tuple[MovingImages, np.ndarray]:
    """Images of 3 × 4 with two thresholds, and classes that follow from them."""
    values = np.random.default_rng(1).integers(0, 9, (samples, 12), np.uint8)
    return MovingImages(values, (3, 4), np.array([3, 6])), (values[:, 5] + values[:, 6]) % 4


def fresh(config: Config | LbeConfig = CONFIG) -> GoldenDevice:
    device = GoldenDevice(config)
    device.reset()
    return device


# Images ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("move", range(5))
@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.float64, np.bool_])
def test_a_hand_made_image_is_moved(move, kind):
    moved = shift(np.array([IMAGE], kind), np.array([move]))
    assert moved.dtype == kind
    assert moved.tolist() == np.array([list(MOVED.values())[move]], kind).tolist()


def test_each_image_moves_independently():
    moved = shift(np.array([IMAGE] * 7), np.array([4, 0, 2, 1, 3, 3, 0]))
    names = ("right", "none", "down", "up", "left", "left", "none")
    assert moved.tolist() == [MOVED[name] for name in names]


def test_a_single_pixel_leaves_unless_it_stays():
    assert shift(np.full((5, 1, 1), 7), np.arange(5)).ravel().tolist() == [7, 0, 0, 0, 0]


def test_every_plane_of_the_thermometer_moves_alike():
    learned = MovingImages(np.array([[1, 2, 3, 4, 5, 6]]), (2, 3), np.array([2, 5]))
    up = [1, 1, 1, 0, 0, 0, 0, 1, 1, 0, 0, 0]
    right = [0, 0, 1, 0, 1, 1, 0, 0, 0, 0, 0, 1]
    assert learned.bits(np.array([0, 0]), np.array([1, 4])).tolist() == [up, right]


def test_the_image_moves_and_its_thresholds_stay():
    thresholds = np.array([[1, 1, 1, 5, 5, 5]])  # of each pixel
    learned = MovingImages(np.array([[1, 2, 3, 4, 5, 6]]), (2, 3), thresholds)
    assert learned.bits(np.array([0]), np.array([2])).tolist() == [[0, 0, 0, 0, 0, 0]]
    assert learned.bits(np.array([0]), np.array([1])).tolist() == [[1, 1, 1, 0, 0, 0]]


def test_zero_enters_before_encoding():
    learned = MovingImages(np.array([[-5, -5]]), (1, 2), np.array([0]))
    assert learned.bits(np.array([0]), np.array([3])).tolist() == [[0, 1]]


# The stream of moves --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 7, 16, 1000])
def test_moves_are_draws_of_a_separate_generator(count):
    draws = np.random.Generator(np.random.PCG64([5, 1])).integers(0, 5, 3000)
    moves = Moves(5)
    for first in range(0, 3000 - count, count):
        assert moves.take(first, count).tolist() == draws[first : first + count].tolist()


@pytest.mark.parametrize("skip", [1, 100, 2**16])
def test_moves_can_begin_anywhere_but_not_go_back(skip, monkeypatch):
    monkeypatch.setattr("popflip.data.augment.SKIP", skip)
    draws = Moves(5).take(0, 3000)
    moves = Moves(5)
    assert moves.take(1234, 50).tolist() == draws[1234:1284].tolist()
    assert moves.take(2000, 7).tolist() == draws[2000:2007].tolist()
    with pytest.raises(ValueError, match=r"^moves of sample 2006: 2007 were drawn already$"):
        moves.take(2006, 1)


def test_the_same_seed_gives_the_same_moves_and_another_one_others():
    first, again, other = (Moves(seed).take(0, 200) for seed in (3, 3, 4))
    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()
    assert sorted(set(first.tolist())) == [0, 1, 2, 3, 4]


def test_moves_as_published():
    assert Moves(1).take(0, 20).tolist() == [2, 1, 1, 3, 3, 2, 2, 0, 4, 4, 2, 0, 3, 0, 4, 2, 2, 4, 4, 4]


# Runs -----------------------------------------------------------------------------------------------------------------


def test_a_run_learns_moved_images_in_the_usual_order():
    learned, y = images()
    device, expected = fresh(), fresh()
    run = train(device, learned, y, golden=fresh())
    draws = np.random.Generator(np.random.PCG64([5, 1])).integers(0, 5, 150)
    for index, samples in enumerate(sample_order(50, CONFIG)):
        steps = draws[index * 16 : (index + 1) * 16]
        pixels = shift(learned.values[samples].reshape(-1, 3, 4), steps).reshape(-1, 12)
        expected.train(thermometer(pixels, learned.thresholds), y[samples])
        expected.end_batch(CONFIG.schedule(index, 9))
    assert run.verified == 9
    assert device.state().sha256() == expected.state().sha256()
    assert device.status() == expected.status()


@pytest.mark.parametrize("stop", [0, 1, 5, 8])
def test_a_resumed_run_ends_like_an_uninterrupted_one(stop):
    learned, y = images()
    whole, first, second = fresh(), fresh(), fresh(replace(CONFIG))
    train(whole, learned, y)
    train(first, learned, y, limit=stop)
    second.load(first.state(), first.status())
    train(second, learned, y)
    assert second.state().sha256() == whole.state().sha256()
    assert second.status() == whole.status()


@pytest.mark.parametrize("stop", [1, 255, 256, 700])
def test_a_resumed_run_by_lbe_ends_where_an_uninterrupted_one_does(stop):
    learned, y = images(300)
    config = LbeConfig((24, 8), classes=4, group=(4,), margin=(6,), epochs=3, seed=5)
    whole, first, second = fresh(config), fresh(config), fresh(config)
    train(whole, learned, y)
    train(first, learned, y, limit=stop)
    second.load(first.state(), first.status())
    train(second, learned, y)
    assert second.state().sha256() == whole.state().sha256()
    assert second.status() == whole.status()


@pytest.mark.parametrize("device", ["golden", "sim"])
def test_the_command_resumes_to_the_same_end(tmp_path, monkeypatch, device):
    """The network of the preset: other tests use its simulated chip too."""
    monkeypatch.chdir(tmp_path)
    run = ("train", *SMALL[2:], "--device", device, "--verify")
    assert run_command([*run, "--limit-batches", "4", "--report", "whole.json"]) == 0
    assert run_command([*run, "--limit-batches", "2", "--save", "m.npz"]) == 0
    resume = ("train", "--resume", "m.npz", "--device", device, "--verify")
    assert run_command([*resume, "--limit-batches", "4", "--report", "rest.json"]) == 0
    whole, rest = (json.loads(Path(name).read_text()) for name in ("whole.json", "rest.json"))
    for key in ("state_sha256", "signature", "rng", "flips", "errors", "test_accuracy", "config", "dataset"):
        assert rest[key] == whole[key]
    assert whole["dataset"]["augment"] == "shift"
    assert rest["history"] == whole["history"][2:]


def test_none_is_the_default_and_changes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    reports = []
    for name, flags in (("plain", ()), ("none", ("--augment", "none")), ("shift", ("--augment", "shift"))):
        assert run_command(["train", *SMALL[:-2], *flags, "--report", f"{name}.json"]) == 0
        reports.append(json.loads(Path(f"{name}.json").read_text()) | {"wall_seconds": 0})
        assert ("training images: moved" in capsys.readouterr().out) == (name == "shift")
    plain, none, moved = reports
    assert plain == none
    assert plain["dataset"]["augment"] == "none"
    assert plain["state_sha256"] != moved["state_sha256"]


# Experiments ----------------------------------------------------------------------------------------------------------


def test_test_images_stay_where_they_are():
    plain, moved = prepare(preset="digits"), prepare(preset="digits", augment="shift")
    assert moved.config == plain.config
    assert np.array_equal(moved.x_test, plain.x_test)
    assert plain.training_samples is plain.x_train
    still = moved.training_samples.bits(np.arange(1437), np.zeros(1437, int))
    assert np.array_equal(still, plain.x_train)


def test_own_images_are_moved(tmp_path):
    x = np.random.default_rng(2).integers(0, 256, (30, 4, 5))
    np.savez(tmp_path / "own.npz", x=x, y=np.arange(30) % 3)
    experiment = prepare(dataset=str(tmp_path / "own.npz"), augment="shift")
    assert experiment.training_samples.image == (4, 5)
    assert len(experiment.training_samples) == len(experiment.y_train)


@pytest.mark.parametrize("shape", [(30, 6), (30, 1, 2, 3)])
def test_data_without_images_is_refused(tmp_path, shape):
    path = tmp_path / "own.npz"
    np.savez(path, x=np.arange(180).reshape(shape), y=np.arange(30) % 3)
    with pytest.raises(ConfigError) as error:
        prepare(dataset=str(path), augment="shift")
    assert str(error.value) == (
        f"augment: {path} holds no images to move; use an .npz with x of [samples, height, width]"
    )


def test_a_table_is_refused_on_the_command_line(tmp_path, capsys):
    path = tmp_path / "own.csv"
    path.write_text("1,2,0\n3,4,1\n" * 10)
    assert run_command(["train", "--dataset", str(path), "--augment", "shift"]) == 2
    assert capsys.readouterr().err == (
        f"popflip: --augment: {path} holds no images to move; use an .npz with x of [samples, height, width]\n"
    )


def test_an_unknown_augmentation_is_refused():
    with pytest.raises(ConfigError, match=r"^augment: 'flip' is not one of none, shift$"):
        prepare(augment="flip")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"preset": "moving"}, Augment.SHIFT),
        ({"preset": "moving", "augment": "none"}, Augment.NONE),
        ({"preset": "moving", "layers": (256, 9, 10)}, Augment.SHIFT),
        ({}, Augment.NONE),
    ],
)
def test_a_preset_may_say_so(monkeypatch, settings, expected):
    monkeypatch.setitem(PRESETS, "moving", replace(PRESETS["digits"], augment=Augment.SHIFT))
    assert prepare(**settings).augment == expected


def test_a_preset_s_augmentation_is_for_its_own_data(monkeypatch, tmp_path):
    monkeypatch.setitem(PRESETS, "moving", replace(PRESETS["digits"], augment=Augment.SHIFT))
    (tmp_path / "own.csv").write_text("1,2,0\n3,4,1\n" * 10)
    assert prepare(preset="moving", dataset=str(tmp_path / "own.csv")).augment == Augment.NONE


def test_a_checkpoint_says_so_and_an_old_one_means_none(tmp_path):
    experiment = prepare(augment="shift", layers=(256, 3, 10))
    device = fresh(experiment.config)
    checkpoint = experiment.checkpoint(device.state(), device.status())
    save(tmp_path / "c.npz", checkpoint)
    assert load(tmp_path / "c.npz").augment == Augment.SHIFT
    assert from_checkpoint(load(tmp_path / "c.npz")).augment == Augment.SHIFT
    with np.load(tmp_path / "c.npz") as archive:
        content = dict(archive)
    header = json.loads(str(content["header"][()])) | {"format": 1}
    for key in ("augment", "data_sha256", "label"):
        del header[key]
    del content["sha256"]
    np.savez(tmp_path / "old.npz", **content | {"header": np.array(json.dumps(header))})
    assert load(tmp_path / "old.npz").augment == Augment.NONE
