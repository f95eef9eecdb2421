"""A trained network in one ``.npz``: enough to predict with it, or to resume its run and end in the same state.

::

    header      JSON text: format, config, status, rng, dataset, test_split, augment, data_sha256, label
    thresholds, weights0, counters0, weights1, …, and for a Classifier classes, feature_names
    sha256      hash of the header and of every other array

Files of format 1 have neither hash. :func:`load` believes nothing that a file says: sizes are checked before memory is
taken, then the hash, then the range of every value and that they fit each other (:func:`check`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from popflip.devices.base import Status
from popflip.errors import ConfigError, FileError
from popflip.files import reason, whole_file
from popflip.golden.common.prng import first_state
from popflip.golden.config import AnyConfig, Config, LbeConfig, Order, Precision, Rule
from popflip.golden.lbe.initialise import LbeState, signs
from popflip.golden.lbe.initialise import initial as lbe_initial
from popflip.golden.memory.weights import State
from popflip.golden.network import check_integer, check_within, member
from popflip.golden.presets import Augment
from popflip.npz import NpzError, NpzFile, is_unicode

FORMAT = 2
OLDEST_FORMAT = 1

LABELS = ("classes", "feature_names")
"""Arrays of :class:`Checkpoint` that a file may lack."""

MAX_COUNT = 2**63 - 1
MAX_HEADER = 2**20
"""Bytes of the longest header, 4 for each character."""
MAX_LABELS = 2**26
"""Bytes of the largest array of labels or feature names."""
MAX_STATE = 2**31
"""Bytes of the largest weights and counters together. No chip holds a tenth of that."""
MAX_NAME = 4096
"""Characters of the longest name of a data set."""
COUNTS = tuple(field.name for field in fields(Status) if field.name != "cycles")


@dataclass(frozen=True)
class Checkpoint:
    """Configuration, state and counts; name, thresholds, split, augmentation, labels and feature names of the data.

    ``status.batches`` also gives the position in the sample order and in the moves of augmentation: both follow from
    ``config.seed``.
    """

    config: AnyConfig
    state: State
    status: Status
    dataset: str | None  # None: the data was the caller's
    thresholds: NDArray  # [levels] or [levels, features]
    test_split: float | None
    augment: Augment = Augment.NONE
    classes: NDArray | None = None  # label of each class; None: its number
    feature_names: NDArray | None = None  # [features]
    data_sha256: str | None = None  # DataSet.sha256 of the data; None: not known
    label: str | None = None  # class column of a CSV file

    @property
    def labels(self) -> NDArray:
        """Label of each class."""
        return np.arange(self.config.classes) if self.classes is None else self.classes


def untrained(
    config: Config,
    weights: Sequence[NDArray[np.int8]],
    thresholds: ArrayLike,
    classes: ArrayLike | None = None,
    feature_names: ArrayLike | None = None,
) -> Checkpoint:
    """A network of rule gft with these ``weights``, one ``[R, S]`` a layer, that has seen no sample: counters are 0."""
    rng = first_state(config.seed)
    counters = [np.zeros(w.shape, np.int16) for w in weights]
    return Checkpoint(
        config,
        State(list(weights), counters, rng),
        Status(rng=rng, flips=(0,) * config.depth),
        None,
        np.asarray(thresholds),
        None,
        classes=None if classes is None else np.asarray(classes),
        feature_names=None if feature_names is None else np.asarray(feature_names),
    )


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write ``path``, whole or not at all.

    Raises :class:`ConfigError` if the network is one that :func:`load` refuses, and :class:`FileError` if the file
    cannot be written.
    """
    check(checkpoint)
    state = checkpoint.state
    header = json.dumps(
        {
            "format": FORMAT,
            "config": asdict(checkpoint.config),
            "status": {name: getattr(checkpoint.status, name) for name in COUNTS},
            "rng": state.rng,
            "dataset": checkpoint.dataset,
            "test_split": checkpoint.test_split,
            "augment": checkpoint.augment,
            "data_sha256": checkpoint.data_sha256,
            "label": checkpoint.label,
        }
    )
    arrays: dict[str, Any] = {"thresholds": checkpoint.thresholds}
    arrays |= {f"weights{layer}": w for layer, w in enumerate(state.weights)}
    arrays |= {f"counters{layer}": m for layer, m in enumerate(state.counters)}
    arrays |= {name: value for name in LABELS if (value := getattr(checkpoint, name)) is not None}
    digest = np.array(_digest(header, arrays))
    with whole_file(path) as file:
        np.savez_compressed(file, allow_pickle=False, header=np.array(header), sha256=digest, **arrays)


def load(path: Path) -> Checkpoint:
    """Read what :func:`save` wrote. :class:`FileError` if the file holds anything else."""
    try:
        with NpzFile(path) as file:
            return _checkpoint(file)
    except OSError as error:
        raise FileError(f"{path}: {reason(error)}") from None
    except (NpzError, ConfigError) as error:
        raise FileError(f"{path}: not a network saved by Popflip: {_short(error)}") from None
    except RecursionError:
        raise FileError(f"{path}: not a network saved by Popflip: its header is nested too deeply") from None


# Bytes to values ------------------------------------------------------------------------------------------------------


def _checkpoint(file: NpzFile) -> Checkpoint:
    text = _text(file, "header", MAX_HEADER)
    header = _header(text)
    config = _config(header)
    if 3 * _synapses(config) > MAX_STATE:
        raise ConfigError(f"layers: {_synapses(config)} synapses are more than this version loads")
    arrays = {"thresholds": file.read("thresholds", 32 * config.inputs)}
    for layer, shape in enumerate(zip(config.rows, config.synapses, strict=True)):
        for kind, dtype in (("weights", np.int8), ("counters", np.int16)):
            arrays[f"{kind}{layer}"] = _array(file, f"{kind}{layer}", shape, np.dtype(dtype))
    arrays |= {name: file.read(name, MAX_LABELS) for name in LABELS if name in file.names}
    if header["format"] > 1 and _text(file, "sha256", 256) != _digest(text, arrays):
        raise ConfigError("its hash is not that of its content; the file is damaged or was changed")
    checkpoint = Checkpoint(
        config,
        State(
            [arrays[f"weights{layer}"] for layer in range(config.depth)],
            [arrays[f"counters{layer}"] for layer in range(config.depth)],
            header["rng"],
        ),
        _status(header["status"]),
        header["dataset"],
        arrays["thresholds"],
        header["test_split"],
        member("augment", Augment, header["augment"]),
        classes=arrays.get("classes"),
        feature_names=arrays.get("feature_names"),
        data_sha256=header["data_sha256"],
        label=header["label"],
    )
    check(checkpoint)
    return _with_classifiers(checkpoint)


def _text(file: NpzFile, name: str, limit: int) -> str:
    array = file.read(name, limit)
    if array.dtype.kind != "U" or array.shape != ():
        raise ConfigError(f"its {name} is not text")
    return str(array[()])


def _header(text: str) -> dict[str, Any]:
    """The header, with the keys of :data:`FORMAT` whatever its own format."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no number")

    try:
        header = json.loads(text, parse_constant=refuse)
    except ValueError as error:
        raise ConfigError(f"its header is not JSON: {error}") from None
    if not isinstance(header, dict) or "format" not in header:
        raise ConfigError("its header has no format")
    version = header["format"]
    check_integer("format", version)
    if not OLDEST_FORMAT <= version <= FORMAT:
        raise ConfigError(f"its format is {version}, this version reads {OLDEST_FORMAT} to {FORMAT}")
    if version == 1:  # older files lack keys that came later
        header = {"augment": Augment.NONE, "data_sha256": None, "label": None} | header
    expected = ("format", "config", "status", "rng", "dataset", "test_split", "augment", "data_sha256", "label")
    _check_keys("header", header, expected)
    return header


def _config(header: Mapping[str, Any]) -> AnyConfig:
    values = header["config"]
    kind: type[Config | LbeConfig] = (
        LbeConfig if isinstance(values, dict) and values.get("rule") == Rule.LBE else Config
    )
    names = [field.name for field in fields(kind)]
    if header["format"] == 1 and isinstance(values, dict):
        values = {name: getattr(kind, name) for name in names if hasattr(kind, name)} | values
    if isinstance(values, dict):
        older = {"order": Order.NUMPY} | ({"near": ()} if kind is LbeConfig else {})  # such files lack them
        values = older | values
    _check_keys("config", values, names)
    return kind(**values)


def _status(values: Any) -> Status:
    _check_keys("status", values, COUNTS)
    flips = values["flips"]
    if not isinstance(flips, list):
        raise ConfigError(f"flips: {flips!r} is not a list of whole numbers")
    return Status(**values | {"flips": tuple(flips)})


def _array(file: NpzFile, name: str, shape: tuple[int, ...], dtype: np.dtype) -> NDArray:
    """The array ``name``, read only if it has the ``shape`` and type that the configuration says."""
    header = file.header(name)
    if (header.shape, header.dtype) != (shape, dtype):
        raise ConfigError(f"{name}: has shape {header.shape} of type {header.dtype}, expected {shape} of type {dtype}")
    return file.read(name, header.size)


def _with_classifiers(checkpoint: Checkpoint) -> Checkpoint:
    """``checkpoint`` with what the seed determines: the classifiers of rule lbe."""
    config, state = checkpoint.config, checkpoint.state
    if not isinstance(config, LbeConfig):
        return checkpoint
    state = LbeState(state.weights, state.counters, state.rng, lbe_initial(config).classifiers)
    return Checkpoint(
        **{**{field.name: getattr(checkpoint, field.name) for field in fields(checkpoint)}, "state": state}
    )


def _digest(header: str, arrays: Mapping[str, NDArray]) -> str:
    """SHA-256 in hexadecimal over the header, and each array's name, type, shape and content, in order of the names."""
    digest = hashlib.sha256(header.encode())
    for name in sorted(arrays):
        array = np.asarray(arrays[name])
        digest.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _synapses(config: AnyConfig) -> int:
    return sum(rows * synapses for rows, synapses in zip(config.rows, config.synapses, strict=True))


def _short(error: Exception) -> str:
    """The message of ``error`` in one line, at most 200 characters of it."""
    text = "".join(character if character.isprintable() else "?" for character in str(error))
    return text if len(text) <= 200 else f"{text[:199]}…"


# Checks ---------------------------------------------------------------------------------------------------------------


def check(checkpoint: Checkpoint) -> None:
    """Raise :class:`ConfigError` unless every value is in its range and fits the others.

    Types, shapes and ranges are checked, and what follows for the counts; not whether training leads to this state.
    """
    config = checkpoint.config
    _check_status(config, checkpoint.status)
    _check_state(config, checkpoint.state)
    if checkpoint.status.rng != checkpoint.state.rng:
        raise ConfigError(f"rng: {checkpoint.state.rng} in the state, but {checkpoint.status.rng} in the counts")
    check_data(checkpoint)


def check_data(checkpoint: Checkpoint) -> None:
    """The part of :func:`check` that holds before a run: what the data is, its thresholds, labels and names."""
    config = checkpoint.config
    _check_origin(checkpoint)
    _check_thresholds(checkpoint.thresholds, config.inputs)
    features = config.inputs // len(checkpoint.thresholds)
    _check_labels("classes", checkpoint.classes, config.classes, "biufU")
    _check_labels("feature_names", checkpoint.feature_names, features, "U")


def _check_keys(name: str, values: object, expected: Any) -> None:
    if not isinstance(values, dict):
        raise ConfigError(f"{name}: {values!r} is not a table of values")
    if missing := [key for key in expected if key not in values]:
        raise ConfigError(f"{name}: {missing[0]} is missing")
    if unknown := [key for key in values if key not in expected]:
        raise ConfigError(f"{name}: {unknown[0]!r} is unknown")


def _check_status(config: AnyConfig, status: Status) -> None:
    limits = dict.fromkeys(("samples", "batches", "errors", "correct"), MAX_COUNT)
    for name, high in (limits | {"signature": 2**32 - 1, "rng": 2**32 - 1}).items():
        check_integer(name, getattr(status, name))
        check_within(name, getattr(status, name), 0, high)
    for name in ("errors", "correct"):
        check_within(name, getattr(status, name), 0, status.samples)
    pending = status.samples - status.batches * config.batch
    if not 0 <= pending < config.batch:
        raise ConfigError(f"batches: {status.batches} of {config.batch} samples do not make {status.samples} samples")
    if len(status.flips) != config.depth:
        raise ConfigError(f"flips: {len(status.flips)} given, expected {config.depth} (one per layer)")
    for layer, flips in enumerate(status.flips):
        check_integer(f"flips[{layer}]", flips)
        check_within(f"flips[{layer}]", flips, 0, status.batches * config.rows[layer] * config.synapses[layer])


def _check_state(config: AnyConfig, state: State) -> None:
    check_integer("rng", state.rng)
    check_within("rng", state.rng, 1, 2**32 - 1)
    for layer, shape in enumerate(zip(config.rows, config.synapses, strict=True)):
        w, m, mmax = state.weights[layer], state.counters[layer], config.mmaxes[layer]
        lowest = -mmax - (config.rule == Rule.LBE)
        fit = w.shape == shape and w.dtype == np.int8 and -1 <= w.min() <= w.max() <= 1
        if not fit or (config.precision == Precision.BINARY and not w.all()):
            raise ConfigError(f"the weights of layer {layer} do not fit its configuration")
        if m.shape != shape or m.dtype != np.int16 or not lowest <= m.min() <= m.max() <= mmax:
            raise ConfigError(f"the counters of layer {layer} do not fit its configuration")
        if config.rule == Rule.LBE and not np.array_equal(w, signs(m >= 0)):
            raise ConfigError(f"the weights of layer {layer} are not the signs of its counters")


def _check_origin(checkpoint: Checkpoint) -> None:
    """Name, class column, split and hash of the data."""
    name, split, digest = checkpoint.dataset, checkpoint.test_split, checkpoint.data_sha256
    if name is not None and not (isinstance(name, str) and 0 < len(name) <= MAX_NAME and "\0" not in name):
        raise ConfigError("dataset: is not the name of a data set")
    label = checkpoint.label
    if label is not None and not (isinstance(label, str) and 0 < len(label) <= MAX_NAME and "\0" not in label):
        raise ConfigError("label: is not the name of a column")
    if split is not None and not (isinstance(split, float) and 0 < split < 1):
        raise ConfigError(f"test_split: {split!r} is not between 0 and 1")
    if digest is not None and not (
        isinstance(digest, str) and len(digest) == 64 and set(digest) <= set("0123456789abcdef")
    ):
        raise ConfigError("data_sha256: is not a hash of 64 hexadecimal digits")


def _check_thresholds(thresholds: NDArray, inputs: int) -> None:
    """Thresholds are real numbers ``[levels]``, with inputs a multiple of the levels, or ``[levels, features]``.

    An infinite threshold gives a bit that is always 0: a feature with a single value has such thresholds.
    """
    if thresholds.dtype.kind not in "iuf" or thresholds.dtype.itemsize > 8:
        raise ConfigError(f"thresholds: of type {thresholds.dtype}, expected numbers of at most 64 bits")
    fits = thresholds.ndim == 1 and len(thresholds) and inputs % len(thresholds) == 0
    if not fits and not (thresholds.ndim == 2 and thresholds.size == inputs):
        raise ConfigError(f"thresholds: shape {thresholds.shape} does not fit {inputs} input bits")
    if np.isnan(thresholds).any():
        raise ConfigError("thresholds: one of them is not a number (NaN)")


def _check_labels(name: str, array: NDArray | None, expected: int, kinds: str) -> None:
    """Labels are ``[expected]``, of a type in ``kinds``, all different, none of them NaN."""
    if array is None:
        return
    if array.shape != (expected,):
        raise ConfigError(f"{name}: shape {array.shape} does not fit, expected ({expected},)")
    if array.dtype.kind not in kinds:
        raise ConfigError(f"{name}: of type {array.dtype}, expected {'text' if kinds == 'U' else 'numbers or text'}")
    if not is_unicode(array):
        raise ConfigError(f"{name}: hold text that is not Unicode")
    if name == "classes" and (len(np.unique(array)) != expected or (array.dtype.kind == "f" and np.isnan(array).any())):
        raise ConfigError(f"{name}: they are not all different numbers or texts")
