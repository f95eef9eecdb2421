"""Checkpoints: a saved network is restored exactly, any other file is refused, and no file is believed."""

from __future__ import annotations

import json
import os
import tracemalloc
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzz import folder, fuzz
from hypothesis import given
from hypothesis import strategies as st

from popflip.checkpoint import Checkpoint, _digest, load, save
from popflip.devices.golden import GoldenDevice
from popflip.errors import ConfigError, FileError
from popflip.golden.config import Config, LbeConfig

CONFIG = Config((12, 5, 3), k0=(9, 4), window=(2,), margin=4, batch=8, seed=3, shift=None)


@cache
def checkpoint() -> Checkpoint:
    device = GoldenDevice(CONFIG)
    device.reset()
    generator = np.random.default_rng(7)
    device.train(generator.integers(0, 2, (8, 12), np.uint8), generator.integers(0, 3, 8))
    device.end_batch((9, 4))
    thresholds = np.arange(12).reshape(2, 6) / 4
    return Checkpoint(CONFIG, device.state(), device.status(), "own.csv", thresholds, 0.25, data_sha256="5a" * 32)


def content(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header and arrays of a checkpoint."""
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return json.loads(str(arrays.pop("header")[()])), arrays


def rewrite(path: Path, header: object, arrays: dict[str, Any], text: str | None = None) -> None:
    """A checkpoint of any header and arrays, with the hash that belongs to them; an array of None is left out."""
    text = json.dumps(header) if text is None else text
    arrays = {name: value for name, value in arrays.items() if value is not None}
    arrays.pop("sha256", None)
    hashed = {name: value for name, value in arrays.items() if not name.startswith("other")}
    np.savez(path, header=np.array(text), sha256=np.array(_digest(text, hashed)), **arrays)


def damage(path: Path, header: dict | None = None, **arrays: np.ndarray | None) -> None:
    """Rewrite a checkpoint with some of its content replaced, or (None) left out, and a hash that fits."""
    old, content_ = content(path)
    rewrite(path, old | (header or {}), content_ | arrays)


def refusal(path: Path) -> str:
    """Why ``path`` is refused, after the text that all refusals begin with."""
    start = f"{path}: not a network saved by Popflip: "
    with pytest.raises(FileError) as error:
        load(path)
    assert str(error.value).startswith(start)
    assert str(error.value).isprintable()
    assert len(str(error.value)) <= len(start) + 200
    return str(error.value)[len(start) :]


def equal(one: Checkpoint, other: Checkpoint) -> bool:
    """Whether two checkpoints are equal in every value."""
    simple = ("config", "status", "dataset", "test_split", "augment", "data_sha256")
    arrays = ("thresholds", "classes", "feature_names")
    return (
        [getattr(one, name) for name in simple] == [getattr(other, name) for name in simple]
        and all(np.array_equal(getattr(one, name), getattr(other, name)) for name in arrays)
        and (one.state.sha256(), one.state.rng) == (other.state.sha256(), other.state.rng)
    )


def test_everything_saved_is_restored(tmp_path):
    saved = replace(
        checkpoint(), classes=np.array(["a", "b", "ä"]), feature_names=np.array(list("uvwxyz")), dataset="caf\udce9.csv"
    )
    save(tmp_path / "c.npz", saved)
    assert equal(load(tmp_path / "c.npz"), saved)
    assert not equal(load(tmp_path / "c.npz"), checkpoint())
    assert [p.name for p in tmp_path.iterdir()] == ["c.npz"]


def test_infinite_thresholds_are_restored(tmp_path):
    """A feature with a single value has them."""
    saved = replace(checkpoint(), thresholds=np.full((2, 6), np.inf))
    save(tmp_path / "c.npz", saved)
    assert equal(load(tmp_path / "c.npz"), saved)


def test_cycles_are_not_saved(tmp_path):
    saved = checkpoint()
    save(tmp_path / "c.npz", replace(saved, status=replace(saved.status, cycles={"total": 1})))
    assert load(tmp_path / "c.npz").status == saved.status


def test_a_file_of_format_1_is_restored_and_its_ranges_are_checked(tmp_path):
    saved = replace(checkpoint(), data_sha256=None)
    path = tmp_path / "c.npz"
    header = {
        "format": 1,
        "config": asdict(saved.config),
        "status": {name: value for name, value in asdict(saved.status).items() if name != "cycles"},
        "rng": saved.state.rng,
        "dataset": saved.dataset,
        "test_split": saved.test_split,
    }
    arrays = {
        f"{kind}{layer}": getattr(saved.state, kind)[layer] for kind in ("weights", "counters") for layer in (0, 1)
    }

    def write(header: dict) -> None:
        np.savez_compressed(path, header=np.array(json.dumps(header)), thresholds=saved.thresholds, **arrays)

    write(header)
    assert equal(load(path), saved)
    write(header | {"augment": "none"})
    assert equal(load(path), saved)
    write(header | {"config": {name: value for name, value in header["config"].items() if name != "rule"}})
    assert equal(load(path), saved)
    write(header | {"status": header["status"] | {"errors": 9}})
    assert refusal(path) == "errors: 9 is outside 0 … 8"
    write(header | {"config": {"layers": [12, 5, 3]}})
    assert refusal(path) == "k0: 0 given, expected 2 (one per layer)"


# The hash -------------------------------------------------------------------------------------------------------------


def test_a_changed_value_without_its_hash_is_refused(tmp_path):
    path = tmp_path / "c.npz"
    save(path, checkpoint())
    header, arrays = content(path)
    changed = arrays["counters0"].copy()
    changed[0, 0] ^= 1
    for new in (
        {"counters0": changed},
        {"thresholds": arrays["thresholds"].astype(np.float32)},
        {"classes": np.arange(3)},
        {"header": np.array(json.dumps(header | {"dataset": "other.csv"}))},
        {"sha256": np.array("0" * 64)},
    ):
        np.savez(path, **{"header": np.array(json.dumps(header))} | arrays | new)
        assert refusal(path) == "its hash is not that of its content; the file is damaged or was changed"
    np.savez(path, header=np.array(json.dumps(header)), **{n: a for n, a in arrays.items() if n != "sha256"})
    assert refusal(path) == "array sha256 is missing"


def test_arrays_that_no_checkpoint_has_are_not_read(tmp_path):
    path = tmp_path / "c.npz"
    save(path, checkpoint())
    damage(path, other=np.zeros(30_000_000, np.uint8))
    tracemalloc.start()
    assert equal(load(path), checkpoint())
    assert tracemalloc.get_traced_memory()[1] < 3_000_000
    tracemalloc.stop()


# Ranges ---------------------------------------------------------------------------------------------------------------


def weights(change: Callable) -> dict[str, np.ndarray]:
    return {"weights0": change(checkpoint().state.weights[0].copy())}


def status(**changes: object) -> dict[str, Any]:
    counts = asdict(checkpoint().status)
    del counts["cycles"]
    return {"status": counts | changes}


def config(**changes: object) -> dict[str, Any]:
    return {"config": asdict(CONFIG) | changes}


MISSHAPEN = "has shape {} of type {}, expected {} of type {}"


@pytest.mark.parametrize(
    ("header", "arrays", "message"),
    [
        ({"format": 99}, {}, "its format is 99, this version reads 1 to 2"),
        ({"format": 0}, {}, "its format is 0, this version reads 1 to 2"),
        ({"format": True}, {}, "format: True is not a whole number"),
        ({"format": "2"}, {}, "format: '2' is not a whole number"),
        ({"more": 1}, {}, "header: 'more' is unknown"),
        ({}, {"counters1": None}, "array counters1 is missing"),
        ({}, {"thresholds": None}, "array thresholds is missing"),
        ({}, {"thresholds": np.zeros(5)}, "thresholds: shape (5,) does not fit 12 input bits"),
        ({}, {"thresholds": np.zeros(0)}, "thresholds: shape (0,) does not fit 12 input bits"),
        ({}, {"thresholds": np.array(1)}, "thresholds: shape () does not fit 12 input bits"),
        ({}, {"thresholds": np.zeros((4, 2))}, "thresholds: shape (4, 2) does not fit 12 input bits"),
        ({}, {"thresholds": np.array(["a"])}, "thresholds: of type <U1, expected numbers of at most 64 bits"),
        ({}, {"thresholds": np.array([1j])}, "thresholds: of type complex128, expected numbers of at most 64 bits"),
        ({}, {"thresholds": np.array([True])}, "thresholds: of type bool, expected numbers of at most 64 bits"),
        ({}, {"thresholds": np.array([1, np.nan])}, "thresholds: one of them is not a number (NaN)"),
        (
            {},
            {"thresholds": np.array(["2000"], "M8[Y]")},
            "array thresholds is of type <M8[Y], expected numbers or text",
        ),
        ({}, {"thresholds": np.zeros(1, "i4,i4")}, "array thresholds is of type with parts, expected numbers or text"),
        ({}, {"classes": np.arange(2)}, "classes: shape (2,) does not fit, expected (3,)"),
        ({}, {"classes": np.array([1, 2, 1])}, "classes: they are not all different numbers or texts"),
        ({}, {"classes": np.array([1, 2, np.nan])}, "classes: they are not all different numbers or texts"),
        ({}, {"classes": np.array([1j, 2, 3])}, "classes: of type complex128, expected numbers or text"),
        ({}, {"feature_names": np.array(["a"])}, "feature_names: shape (1,) does not fit, expected (6,)"),
        ({}, {"feature_names": np.arange(6)}, "feature_names: of type int64, expected text"),
        (
            {},
            weights(lambda w: w[:, :-1]),
            "weights0: has shape (5, 12) of type int8, expected (5, 13) of type int8",
        ),
        (
            {},
            weights(lambda w: w.astype(np.int16)),
            "weights0: has shape (5, 13) of type int16, expected (5, 13) of type int8",
        ),
        ({}, weights(lambda w: w * 2), "the weights of layer 0 do not fit its configuration"),
        (config(precision="binary"), {}, "the weights of layer 0 do not fit its configuration"),
        ({}, {"counters1": np.full((3, 6), 128, np.int16)}, "the counters of layer 1 do not fit its configuration"),
        ({}, {"counters1": np.full((3, 6), -128, np.int16)}, "the counters of layer 1 do not fit its configuration"),
        ({"rng": 0}, {}, "rng: 0 is outside 1 … 4294967295"),
        ({"rng": 2**32}, {}, "rng: 4294967296 is outside 1 … 4294967295"),
        ({"rng": 1}, {}, "rng: 1 in the state, but 3307500715 in the counts"),
        ({"rng": "1"}, {}, "rng: '1' is not a whole number"),
        ({"rng": 1.5}, {}, "rng: 1.5 is not a whole number"),
        ({"status": None}, {}, "status: None is not a table of values"),
        ({"status": {"samples": "many", "flips": [0, 0]}}, {}, "status: batches is missing"),
        (status(cycles=3), {}, "status: 'cycles' is unknown"),
        (status(samples="many"), {}, "samples: 'many' is not a whole number"),
        (status(samples=8.0), {}, "samples: 8.0 is not a whole number"),
        (status(batches=True), {}, "batches: True is not a whole number"),
        (status(batches=-1), {}, "batches: -1 is outside 0 … 9223372036854775807"),
        (status(batches=10**12), {}, "batches: 1000000000000 of 8 samples do not make 8 samples"),
        (status(samples=16), {}, "batches: 1 of 8 samples do not make 16 samples"),
        (status(samples=7, correct=0, errors=7), {}, "batches: 1 of 8 samples do not make 7 samples"),
        (status(errors=9), {}, "errors: 9 is outside 0 … 8"),
        (status(correct=-1), {}, "correct: -1 is outside 0 … 9223372036854775807"),
        (status(correct=9), {}, "correct: 9 is outside 0 … 8"),
        (status(signature=2**32), {}, "signature: 4294967296 is outside 0 … 4294967295"),
        (status(rng=None), {}, "rng: None is not a whole number"),
        (status(flips=[0]), {}, "flips: 1 given, expected 2 (one per layer)"),
        (status(flips="00"), {}, "flips: '00' is not a list of whole numbers"),
        (status(flips=[1.5, 0]), {}, "flips[0]: 1.5 is not a whole number"),
        (status(flips=[0, False]), {}, "flips[1]: False is not a whole number"),
        (status(flips=[66, 0]), {}, "flips[0]: 66 is outside 0 … 65"),
        ({"config": None}, {}, "config: None is not a table of values"),
        ({"config": {"layers": [12, 5, 3]}}, {}, "config: precision is missing"),
        (config(more=1), {}, "config: 'more' is unknown"),
        (config(layers="12"), {}, "layers: 1 given, expected the inputs and 1 to 8 layers after them"),
        (config(precision=[]), {}, "precision: [] is not one of binary, ternary"),
        (config(rule={}), {}, "rule: {} is not one of gft, lbe"),
        (config(rule="lbe"), {}, "config: classes is missing"),
        (
            config(layers=[12, 65535, 65535, 3], k0=[1, 1, 1], window=[0, 0]),
            {},
            "layers: 4295950323 synapses are more than this version loads",
        ),
        (
            config(layers=[12, 5000, 3]),
            {},
            "weights0: has shape (5, 13) of type int8, expected (5000, 13) of type int8",
        ),
        ({"dataset": 3}, {}, "dataset: is not the name of a data set"),
        ({"dataset": ""}, {}, "dataset: is not the name of a data set"),
        ({"dataset": "a\0b"}, {}, "dataset: is not the name of a data set"),
        ({"dataset": "a" * 4097}, {}, "dataset: is not the name of a data set"),
        ({"test_split": 1}, {}, "test_split: 1 is not between 0 and 1"),
        ({"test_split": True}, {}, "test_split: True is not between 0 and 1"),
        ({"test_split": 0.0}, {}, "test_split: 0.0 is not between 0 and 1"),
        ({"augment": "flip"}, {}, "augment: 'flip' is not one of none, shift"),
        ({"data_sha256": "5A" * 32}, {}, "data_sha256: is not a hash of 64 hexadecimal digits"),
        ({"data_sha256": 5}, {}, "data_sha256: is not a hash of 64 hexadecimal digits"),
        ({"dataset": None, "config": {"\x1b[31m\n": "x" * 1000}}, {}, "config: layers is missing"),
        (config(precision="\x1b[31m\n" * 100), {}, "precision: " + repr("\x1b[31m\n" * 100)[:188] + "…"),
    ],
)
def test_a_damaged_checkpoint_is_refused(tmp_path, header, arrays, message):
    path = tmp_path / "c.npz"
    save(path, checkpoint())
    damage(path, header, **arrays)
    assert refusal(path) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "its header is not JSON: Expecting value: line 1 column 1 (char 0)"),
        ("null", "its header has no format"),
        ("[" * 5000, "its header is nested too deeply"),
        ('{"format": 2, "config": ' + "[" * 900 + "]" * 900 + "}", "header: status is missing"),
        ('{"format": NaN}', "its header is not JSON: NaN is no number"),
        ('{"format": 1e999}', "format: inf is not a whole number"),
        ("x" * 300_000, "array header has 1200000 bytes, expected at most 1048576"),
    ],
)
def test_a_header_that_is_none_is_refused(tmp_path, text, message):
    path = tmp_path / "c.npz"
    save(path, checkpoint())
    rewrite(path, None, content(path)[1], text)
    assert refusal(path) == message


@pytest.mark.parametrize("header", [np.zeros(3), np.array(["a", "b"]), np.array(b"{}")])
def test_a_header_that_is_no_text_is_refused(tmp_path, header):
    path = tmp_path / "c.npz"
    save(path, checkpoint())
    np.savez(path, **content(path)[1], header=header)
    assert refusal(path) == "its header is not text"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"thresholds": np.array([10**20])}, "thresholds: of type object, expected numbers of at most 64 bits"),
        ({"thresholds": np.array([np.nan])}, "thresholds: one of them is not a number (NaN)"),
        ({"classes": np.array([0, "b", None], object)}, "classes: of type object, expected numbers or text"),
        ({"classes": np.array(["a", "b", "\ud800"])}, "classes: hold text that is not Unicode"),
        ({"dataset": "a\0b"}, "dataset: is not the name of a data set"),
    ],
)
def test_what_could_not_be_loaded_is_not_saved(tmp_path, changes, message):
    with pytest.raises(ConfigError) as error:
        save(tmp_path / "c.npz", replace(checkpoint(), **changes))
    assert str(error.value) == message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 cut off"])
def test_another_file_is_refused(tmp_path, content):
    path = tmp_path / "c.npz"
    path.write_bytes(content)
    assert refusal(path).startswith("it is no zip archive")


def test_a_path_without_a_file_is_named(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for name, message in [
        ("none", "no such file or directory"),
        ("fifo", "is a pipe, expected a file"),
        (".", "is a folder, expected a file"),
    ]:
        with pytest.raises(FileError) as error:
            load(tmp_path / name)
        assert str(error.value) == f"{tmp_path / name}: {message}"


# LBE ------------------------------------------------------------------------------------------------------------------

LBE = LbeConfig((12, 9, 4), 3, group=(4, 2), margin=(5, 3), reinforce_p256=256, mmax=7, seed=3)


@cache
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
    assert equal(restored, saved)
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


def changed(name: str, change: Callable) -> dict[str, np.ndarray]:
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
        ({"config": {"rule": "lbe", "layers": [12, 5]}}, {}, "config: classes is missing"),
    ],
)
def test_a_damaged_lbe_checkpoint_is_refused(tmp_path, header, arrays, message):
    path = tmp_path / "c.npz"
    save(path, lbe_checkpoint())
    damage(path, header, **arrays)
    assert refusal(path) == message


# Random damage --------------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
TYPES = ["i1", "i2", "<i8", ">i2", "u1", "f2", "f8", "c8", "?", "U3", "S2", "M8[s]", "V4"]


@cache
def saved() -> tuple[Path, bytes]:
    path = folder() / "c.npz"
    save(path, checkpoint())
    return path, path.read_bytes()


@fuzz
@given(st.data())
def test_damaged_files_are_refused_or_load_equal(data):
    """Bytes are changed, cut, inserted, moved: the hash finds out, or the content is the same."""
    path, whole = saved()
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, max(0, len(damaged) - 1)))
        size = data.draw(st.integers(1, 64))
        match data.draw(st.sampled_from(["change", "flip", "cut", "insert", "delete", "repeat"])):
            case "change":
                damaged[place : place + 1] = data.draw(st.binary(min_size=1, max_size=1))
            case "flip" if damaged:
                damaged[place] ^= 1 << data.draw(st.integers(0, 7))
            case "cut":
                del damaged[place:]
            case "insert":
                damaged[place:place] = data.draw(st.binary(min_size=1, max_size=8))
            case "delete":
                del damaged[place : place + size]
            case "repeat":
                damaged[place:place] = damaged[place : place + size]
    path.write_bytes(damaged)
    try:
        assert equal(load(path), checkpoint())
    except FileError as error:
        assert str(error).isprintable()


@fuzz
@given(st.data())
def test_forged_files_are_refused_or_load_as_they_say(data):
    """Any value is replaced by any other, and the hash fits: what loads can be saved and loads equal again."""
    path, whole = saved()
    path.write_bytes(whole)
    header, arrays = content(path)
    for _ in range(data.draw(st.integers(1, 2))):
        table = data.draw(st.sampled_from([header, header["config"], header["status"], arrays]))
        if not isinstance(table, dict) or not table:
            continue
        name = data.draw(st.sampled_from(sorted(table)))
        if table is arrays:
            shape = data.draw(st.sampled_from([np.shape(arrays[name]), (), (3,), (6,), (12,), (2, 6), (0, 5)]))
            fill = data.draw(st.sampled_from([-1, 0, 1, 5]))
            arrays[name] = np.full(shape, fill).astype(data.draw(st.sampled_from(TYPES)))
        elif data.draw(st.booleans()):
            table[name] = data.draw(JSON)
        else:
            del table[name]
        header.setdefault("config", {}), header.setdefault("status", {})
    rewrite(path, header, arrays)
    try:
        loaded = load(path)
    except FileError as error:
        assert str(error).isprintable()
        return
    save(path, loaded)
    assert equal(load(path), loaded)
