"""A trained network in one ``.npz``: enough to predict with it, or to resume its run and end in the same state."""

from __future__ import annotations

import json
import zipfile
import zlib
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from popflip.devices.base import Status
from popflip.errors import ConfigError, FileError
from popflip.files import reason, whole_file
from popflip.golden.config import AnyConfig, Config, LbeConfig, Precision, Rule
from popflip.golden.lbe.initialise import LbeState, signs
from popflip.golden.lbe.initialise import initial as lbe_initial
from popflip.golden.memory.weights import State
from popflip.golden.presets import Augment

FORMAT = 1
LABELS = ("classes", "feature_names")
"""Arrays of :class:`Checkpoint` that a file may lack."""


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

    @property
    def labels(self) -> NDArray:
        """Label of each class."""
        return np.arange(self.config.classes) if self.classes is None else self.classes


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write ``path``, whole or not at all. :class:`FileError` if it cannot be written."""
    state = checkpoint.state
    header = {
        "format": FORMAT,
        "config": asdict(checkpoint.config),
        "status": {name: value for name, value in asdict(checkpoint.status).items() if name != "cycles"},
        "rng": state.rng,
        "dataset": checkpoint.dataset,
        "test_split": checkpoint.test_split,
        "augment": checkpoint.augment,
    }
    arrays: dict[str, Any] = {f"weights{layer}": w for layer, w in enumerate(state.weights)}
    arrays |= {f"counters{layer}": m for layer, m in enumerate(state.counters)}
    arrays |= {name: value for name in LABELS if (value := getattr(checkpoint, name)) is not None}
    with whole_file(path) as file:
        np.savez_compressed(file, header=np.array(json.dumps(header)), thresholds=checkpoint.thresholds, **arrays)


def load(path: Path) -> Checkpoint:
    """Read what :func:`save` wrote. :class:`FileError` if the file holds anything else."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except OSError as error:
        raise FileError(f"{path}: {reason(error)}") from None
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, AttributeError, TypeError):
        raise FileError(f"{path}: not a network saved by Popflip") from None
    try:
        return _checkpoint(arrays)
    except (KeyError, TypeError, ValueError) as error:
        missing = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise FileError(f"{path}: not a network saved by Popflip: {missing}") from None


def _checkpoint(arrays: dict[str, NDArray]) -> Checkpoint:
    header = json.loads(str(arrays["header"][()]))
    if header["format"] != FORMAT:
        raise ConfigError(f"its format is {header['format']}, this version reads {FORMAT}")
    lbe = header["config"].get("rule") == Rule.LBE
    config: AnyConfig = (LbeConfig if lbe else Config)(**header["config"])
    state = State(
        [arrays[f"weights{layer}"] for layer in range(config.depth)],
        [arrays[f"counters{layer}"] for layer in range(config.depth)],
        header["rng"],
    )
    _check_state(config, state)
    if isinstance(config, LbeConfig):  # its classifiers follow from the seed
        state = LbeState(state.weights, state.counters, state.rng, lbe_initial(config).classifiers)
    status = _status(header["status"], config.depth)
    thresholds = arrays["thresholds"]
    _check_thresholds(thresholds, config.inputs)
    augment = Augment(header.get("augment", Augment.NONE))  # older files have no such key
    labels = {name: arrays.get(name) for name in LABELS}
    _check_labels(labels, config.classes, config.inputs // len(thresholds))
    return Checkpoint(config, state, status, header["dataset"], thresholds, header["test_split"], augment, **labels)


def _status(counts: dict[str, Any], depth: int) -> Status:
    status = Status(**counts | {"flips": tuple(counts["flips"])})
    numbers = (field.name for field in fields(Status) if field.name not in ("flips", "cycles"))
    if len(status.flips) != depth or not all(isinstance(getattr(status, name), int) for name in numbers):
        raise ConfigError("its counts are damaged")
    return status


def _check_thresholds(thresholds: NDArray, inputs: int) -> None:
    """Thresholds are ``[levels]``, with inputs a multiple of the levels, or ``[levels, features]``."""
    fits = thresholds.ndim == 1 and len(thresholds) and inputs % len(thresholds) == 0
    if not fits and not (thresholds.ndim == 2 and thresholds.size == inputs):
        raise ConfigError(f"its thresholds of shape {thresholds.shape} do not fit {inputs} input bits")


def _check_labels(labels: dict[str, NDArray | None], classes: int, features: int) -> None:
    for (name, array), expected in zip(labels.items(), (classes, features), strict=True):
        if array is not None and array.shape != (expected,):
            raise ConfigError(f"its {name} of shape {array.shape} do not fit, expected ({expected},)")


def _check_state(config: AnyConfig, state: State) -> None:
    allowed = [-1, 1] if config.precision == Precision.BINARY else [-1, 0, 1]
    lowest = -config.mmax - (config.rule == Rule.LBE)
    for layer, shape in enumerate(zip(config.rows, config.synapses, strict=True)):
        w, m = state.weights[layer], state.counters[layer]
        if w.shape != shape or w.dtype != np.int8 or not np.isin(w, allowed).all():
            raise ConfigError(f"the weights of layer {layer} do not fit its configuration")
        if m.shape != shape or m.dtype != np.int16 or not lowest <= m.min() <= m.max() <= config.mmax:
            raise ConfigError(f"the counters of layer {layer} do not fit its configuration")
        if config.rule == Rule.LBE and not np.array_equal(w, signs(m >= 0)):
            raise ConfigError(f"the weights of layer {layer} are not the signs of its counters")
    if not isinstance(state.rng, int) or not 0 < state.rng < 2**32:
        raise ConfigError("its random state is damaged")
