"""Checkpoints: a saved network is restored exactly, and any other file is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from popflip.checkpoint import Checkpoint, load, save
from popflip.devices.golden import GoldenDevice
from popflip.errors import FileError
from popflip.golden.config import Config, LbeConfig

CONFIG = Config((12, 5, 3), k0=(9, 4), window=(2,), margin=4, batch=8, seed=3, shift=None)


def checkpoint() -> Checkpoint:
    device = GoldenDevice(CONFIG)
    device.reset()
    generator = np.random.default_rng(7)
    device.train(generator.integers(0, 2, (8, 12), np.uint8), generator.integers(0, 3, 8))
    device.end_batch((9, 4))
    return Checkpoint(CONFIG, device.state(), device.status(), "own.csv", np.arange(12).reshape(2, 6) / 4, 0.25)


def damage(path: Path, header: dict | None = None, **arrays: np.ndarray | None) -> None:
    """Rewrite a checkpoint with some of its content replaced, or (None) left out."""
    with np.load(path) as archive:
        content = {name: archive[name] for name in archive.files}
    old = json.loads(str(content["header"][()]))
    content["header"] = np.array(json.dumps(old | (header or {})))
    np.savez(path, **{name: value for name, value in (content | arrays).items() if value is not None})


def test_everything_saved_is_restored(tmp_path):
    saved = checkpoint()
    save(tmp_path / "c.npz", saved)
    restored = load(tmp_path / "c.npz")
    assert restored.config == saved.config
    assert restored.state.sha256() == saved.state.sha256()
    assert restored.state.rng == saved.state.rng
    assert restored.status == saved.status
    assert (restored.dataset, restored.test_split) == ("own.csv", 0.25)
    assert np.array_equal(restored.thresholds, saved.thresholds)
    assert [p.name for p in tmp_path.iterdir()] == ["c.npz"]


def test_cycles_are_not_saved(tmp_path):
    saved = checkpoint()
    save(tmp_path / "c.npz", replace(saved, status=replace(saved.status, cycles={"total": 1})))
    assert load(tmp_path / "c.npz").status == saved.status


def weights(change) -> dict[str, np.ndarray]:
    array = checkpoint().state.weights[0].copy()
    return {"weights0": change(array)}


@pytest.mark.parametrize(
    ("header", "arrays", "message"),
    [
        ({"format": 99}, {}, "its format is 99, this version reads 1"),
        ({}, {"counters1": None}, "no 'counters1'"),
        ({}, {"thresholds": np.zeros(5)}, "its thresholds of shape (5,) do not fit 12 input bits"),
        ({}, {"thresholds": np.zeros((4, 2))}, "its thresholds of shape (4, 2) do not fit 12 input bits"),
        ({}, {"classes": np.arange(2)}, "its classes of shape (2,) do not fit, expected (3,)"),
        ({}, {"feature_names": np.array(["a"])}, "its feature_names of shape (1,) do not fit, expected (6,)"),
        ({}, weights(lambda w: w[:, :-1]), "the weights of layer 0 do not fit its configuration"),
        ({}, weights(lambda w: w * 2), "the weights of layer 0 do not fit its configuration"),
        ({}, weights(lambda w: w.astype(np.int16)), "the weights of layer 0 do not fit its configuration"),
        (
            {},
            {"counters1": np.full((3, 6), 128, np.int16)},
            "the counters of layer 1 do not fit its configuration",
        ),
        ({"rng": 0}, {}, "its random state is damaged"),
        ({"rng": "1"}, {}, "its random state is damaged"),
        ({"status": {"samples": "many", "flips": [0, 0]}}, {}, "its counts are damaged"),
        ({"status": {"flips": [0]}}, {}, "its counts are damaged"),
        ({"config": {"layers": [12, 5, 3]}}, {}, "k0: 0 given, expected 2 (one per layer)"),
    ],
)
def test_a_damaged_checkpoint_is_refused(tmp_path, header, arrays, message):
    path = tmp_path / "c.npz"
    save(path, checkpoint())
    damage(path, header, **arrays)
    with pytest.raises(FileError) as error:
        load(path)
    assert str(error.value) == f"{path}: not a network saved by Popflip: {message}"


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 cut off"])
def test_another_file_is_refused(tmp_path, content):
    path = tmp_path / "c.npz"
    path.write_bytes(content)
    with pytest.raises(FileError) as error:
        load(path)
    assert str(error.value) == f"{path}: not a network saved by Popflip"


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileError) as error:
        load(tmp_path / "c.npz")
    assert str(error.value) == f"{tmp_path / 'c.npz'}: no such file or directory"


# LBE ------------------------------------------------------------------------------------------------------------------

LBE = LbeConfig((12, 9, 4), 3, group=(4, 2), margin=(5, 3), reinforce_p256=256, mmax=7, seed=3)


def lbe_checkpoint() -> Checkpoint:
    device = GoldenDevice(LBE)
    generator = np.random.default_rng(7)
    device.train(generator.integers(0, 2, (60, 12), np.uint8), generator.integers(0, 3, 60))
    assert min(m.min() for m in device.state().counters) == -8
    return Checkpoint(LBE, device.state(), device.status(), "prototypes:bits=12", np.array([1]), None)


def test_an_lbe_network_is_restored_with_its_classifiers(tmp_path):
    saved = lbe_checkpoint()
    save(tmp_path / "c.npz", saved)
    restored = load(tmp_path / "c.npz")
    assert (restored.config, restored.status, restored.dataset) == (saved.config, saved.status, saved.dataset)
    assert restored.state.sha256() == saved.state.sha256()
    assert [w.tolist() for w in restored.state.weights] == [w.tolist() for w in saved.state.weights]
    assert [rho.tolist() for rho in restored.state.classifiers] == [rho.tolist() for rho in saved.state.classifiers]
    device, other = GoldenDevice(LBE), GoldenDevice(LBE)
    device.load(saved.state, saved.status)
    other.load(restored.state, restored.status)
    x, y = np.random.default_rng(8).integers(0, 2, (30, 12), np.uint8), np.arange(30) % 3
    for each in (device, other):
        each.train(x, y)
    assert other.state().sha256() == device.state().sha256()
    assert other.status() == device.status()


def changed(name: str, change) -> dict[str, np.ndarray]:
    array = getattr(lbe_checkpoint().state, name)[0].copy()
    array[0, 0] = change(array[0, 0])
    return {f"{name}0": array}


@pytest.mark.parametrize(
    ("header", "arrays", "message"),
    [
        ({}, changed("counters", lambda k: 8), "the counters of layer 0 do not fit its configuration"),
        ({}, changed("counters", lambda k: -9), "the counters of layer 0 do not fit its configuration"),
        ({}, changed("counters", lambda k: ~k), "the weights of layer 0 are not the signs of its counters"),
        ({}, changed("weights", lambda w: -w), "the weights of layer 0 are not the signs of its counters"),
        ({}, changed("weights", lambda w: 0), "the weights of layer 0 do not fit its configuration"),
        ({"config": {"rule": "lbe", "layers": [12, 5]}}, {}, "__init__() missing"),
    ],
)
def test_a_damaged_lbe_checkpoint_is_refused(tmp_path, header, arrays, message):
    path = tmp_path / "c.npz"
    save(path, lbe_checkpoint())
    damage(path, header, **arrays)
    with pytest.raises(FileError) as error:
        load(path)
    assert message in str(error.value)
