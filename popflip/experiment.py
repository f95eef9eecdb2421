"""An experiment: data as bits, and the configuration that learns them.

Parameters that are not given come from a preset. Where the preset was tuned on other data, layers or weights,
:mod:`popflip.heuristics` replaces its numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from popflip.checkpoint import Checkpoint
from popflip.data import datasets
from popflip.data.augment import MovingImages
from popflip.data.base import DataSet
from popflip.data.encoding import quantile_thresholds, thermometer
from popflip.devices.base import Status
from popflip.errors import ConfigError
from popflip.golden.common.prng import first_state
from popflip.golden.config import MAX_WIDTH, AnyConfig, Config, Rule
from popflip.golden.layers import Planes, parse, plain
from popflip.golden.memory.weights import State
from popflip.golden.network import member
from popflip.golden.presets import PRESETS, Augment, Preset
from popflip.heuristics import CALIBRATION, SMALL_DATA_SET, Shape, calibrated, configure, windows_are_guessed
from popflip.limits import check_memory

DEFAULT_PRESET = "digits"
SIMILAR = {"fashion-mnist": "mnist"}
"""Data sets without a preset: the one of the same shape whose preset they start from."""
EPOCHS_FROM_WEIGHTS = 20  # of a run that begins with the weights of a saved network
MAX_THRESHOLD = 2**53  # real numbers hold every whole number up to here


@dataclass(frozen=True)
class Experiment:
    """Training and test samples as bits, the thresholds that made the bits, and the configuration."""

    dataset: str
    thresholds: NDArray  # [levels] or [levels, features]
    test_split: float | None  # share held out of a user's data set; None: the default, or the data set has a test set
    config: AnyConfig
    x_train: NDArray[np.uint8]  # [samples, inputs]
    y_train: NDArray[np.int64]  # [samples]
    x_test: NDArray[np.uint8]
    y_test: NDArray[np.int64]
    augment: Augment = Augment.NONE
    images: MovingImages | None = None  # replaces x_train when training images move
    data_sha256: str | None = None  # DataSet.sha256
    label: str | None = None  # class column of a CSV file
    notes: tuple[str, ...] = ()  # what was noticed about the data, for the user

    @property
    def training_samples(self) -> NDArray[np.uint8] | MovingImages:
        """The samples for :func:`popflip.training.run`: ``images`` if they move, else ``x_train``."""
        return self.x_train if self.images is None else self.images

    def checkpoint(self, state: State, status: Status) -> Checkpoint:
        """The checkpoint of this experiment, with the ``state`` and ``status`` of the device that ran it."""
        return Checkpoint(
            self.config,
            state,
            status,
            self.dataset,
            self.thresholds,
            self.test_split,
            self.augment,
            data_sha256=self.data_sha256,
            label=self.label,
        )


def prepare(
    *,
    preset: str | None = None,
    dataset: str | None = None,
    data_dir: Path | None = None,
    thresholds: Sequence[float] | None = None,
    levels: int | None = None,
    label: str | None = None,
    test_split: float | None = None,
    augment: str | None = None,
    default: str = DEFAULT_PRESET,
    **learning: Any,
) -> Experiment:
    """Load the data, choose thresholds, and fit the configuration to both. None stands for a parameter not given.

    ``dataset`` is a built-in data set or a file, ``label`` the class column of a CSV file (by default the last),
    ``default`` the preset to start from if no other fits. Each of the ``thresholds`` turns a value into one bit.
    Without them, ``levels`` is the number of thresholds to take from the quantiles of the training values. ``learning``
    holds parameters of the network and its rule (:data:`popflip.heuristics.PARAMETERS`). Raises :class:`ConfigError` if
    a parameter is unusable or does not fit the data.
    """
    base = find_preset(preset, dataset, learning.get("rule"), default)
    data = datasets.load(dataset or base.dataset, data_dir, test_split, label)
    chosen = _thresholds(thresholds, levels, base, data)
    bits = data.features * len(chosen)
    _check_layers(learning.get("layers"), base, data, bits, len(chosen))
    shape = Shape(bits, data.classes, len(data.train_classes), _image(data, len(chosen)))
    tuned = data.name == base.dataset
    config = configure(base.config, learning, shape, tuned=tuned)
    if config.convolves and data.image is None and datasets.built_in(data.name):
        raise ConfigError(f"layers: {config.image} is an image, but {data.name} holds none; give a dense network")
    notes: tuple[str, ...] = ()
    if windows_are_guessed(base.config, config, learning, tuned):
        config = calibrated(config, thermometer(data.train_values[:CALIBRATION], chosen))
        numbers = ",".join(map(str, getattr(config, "window", ())))
        notes = (f"window {numbers}: half the spread of the sums of the first {CALIBRATION} samples at initialisation",)
    return _experiment(data, chosen, test_split, config, _augment(augment, base, data), notes)


def network(
    *, preset: str | None = None, dataset: str | None = None, default: str = DEFAULT_PRESET, **learning: Any
) -> AnyConfig:
    """The configuration alone, without data. Parameters as in :func:`prepare`; ``default`` names the default preset."""
    base = find_preset(preset, dataset, learning.get("rule"), default)
    shape = Shape(base.config.inputs, base.config.classes, SMALL_DATA_SET)
    return configure(base.config, learning, shape, tuned=True)


def from_checkpoint(checkpoint: Checkpoint, data_dir: Path | None = None, allow_other_data: bool = False) -> Experiment:
    """Load the data of a saved network again and return its experiment.

    Raises :class:`ConfigError` if the network names no data set, if the data does not fit it, or unless
    ``allow_other_data`` if values or classes differ from those that the network was trained on.
    """
    if checkpoint.dataset is None:
        raise ConfigError(
            "dataset: the saved network learned from arrays and names no data; give a data set to predict, or continue "
            "with popflip.Classifier"
        )
    data = datasets.load(checkpoint.dataset, data_dir, checkpoint.test_split, checkpoint.label)
    bits = data.features * len(checkpoint.thresholds)
    if bits != checkpoint.config.inputs or data.classes > checkpoint.config.classes:
        raise ConfigError(
            f"{checkpoint.dataset}: has {bits} bits and {data.classes} classes, the saved network "
            f"{checkpoint.config.inputs} and {checkpoint.config.classes}; give the data it was trained on"
        )
    experiment = _experiment(data, checkpoint.thresholds, checkpoint.test_split, checkpoint.config, checkpoint.augment)
    if not allow_other_data and checkpoint.data_sha256 not in (None, experiment.data_sha256):
        raise ConfigError(
            f"allow_other_data: {checkpoint.dataset} holds other samples than those the network was trained on; "
            "restore them, or set it to use these"
        )
    return experiment


def from_weights(
    checkpoint: Checkpoint,
    *,
    dataset: str | None = None,
    data_dir: Path | None = None,
    label: str | None = None,
    test_split: float | None = None,
    augment: str | None = None,
    **learning: Any,
) -> tuple[Experiment, Checkpoint]:
    """A new run that begins with the weights of a saved network: its experiment, and the checkpoint to begin from.

    Counters and counts start at 0, and the schedule is that of the new data. The network keeps its layers, precision
    and thresholds. ``dataset`` is by default the one that it was trained on; the other parameters are those of
    :func:`prepare`. Without ``epochs`` there are :data:`EPOCHS_FROM_WEIGHTS`, also of few samples: more would forget
    what the network knows, and gain nothing.

    Raises :class:`ConfigError` if the data does not fit the network, if the network names no data and none is given,
    or if it learns by rule lbe, whose weights are the signs of its counters.
    """
    base, labels = checkpoint.config, checkpoint.labels
    if not isinstance(base, Config):
        raise ConfigError("start: a network of rule lbe has its weights in its counters; resume its run instead")
    if not np.array_equal(labels, np.arange(base.classes)):
        raise ConfigError("start: the network has labels of its own; go on with popflip.Classifier and partial_fit")
    name = dataset or checkpoint.dataset
    if name is None:
        raise ConfigError("dataset: the saved network names no data; give the data to learn from")
    data = datasets.load(name, data_dir, test_split, label)
    thresholds = checkpoint.thresholds
    bits = data.features * len(thresholds)
    if bits != base.inputs or data.classes > base.classes:
        raise ConfigError(
            f"{name}: has {data.features} values × {len(thresholds)} thresholds = {bits} bits and {data.classes} "
            f"classes, the saved network {base.inputs} and {base.classes}; give data of the same shape"
        )
    learning = {"epochs": EPOCHS_FROM_WEIGHTS} | learning
    shape = Shape(bits, base.classes, len(data.train_classes))
    config = configure(base, learning, shape, tuned=data.name == checkpoint.dataset)
    moves = Augment.NONE if augment is None else member("augment", Augment, augment)
    experiment = _experiment(data, thresholds, test_split, config, moves)
    counters = [np.zeros_like(m) for m in checkpoint.state.counters]
    rng = first_state(config.seed)
    state = State([w.copy() for w in checkpoint.state.weights], counters, rng)
    return experiment, experiment.checkpoint(state, Status(rng=rng, flips=(0,) * config.depth))


def samples_for(
    checkpoint: Checkpoint,
    name: str | None,
    data_dir: Path | None = None,
    allow_other_data: bool = False,
    label: str | None = None,
) -> tuple[NDArray[np.uint8], NDArray[np.int64] | None]:
    """Bits ``[samples, inputs]`` for a saved network, and labels if known.

    ``name``: a built-in data set (its test samples), a file (all its samples), or None (the test samples of the data
    that the network was trained on). ``label``: the class column of a CSV file, by default that of the data that the
    network was trained on. Raises :class:`ConfigError` if the samples do not fit the network, or if those of None are
    others now (:func:`from_checkpoint`).
    """
    if name is None:
        own = from_checkpoint(checkpoint, data_dir, allow_other_data)
        return own.x_test, own.y_test
    thresholds = checkpoint.thresholds
    features = checkpoint.config.inputs // len(thresholds)
    values, classes = datasets.load_to_predict(name, data_dir, features, label or checkpoint.label)
    if classes is not None:
        unknown = np.setdiff1d(classes, checkpoint.labels)
        if unknown.size:
            known = ", ".join(map(str, checkpoint.labels))
            raise ConfigError(
                f"{name}: has class {unknown[-1]}, the network has {known}; leave out samples of other classes"
            )
    return thermometer(values, thresholds), classes


def find_preset(
    preset: str | None = None, dataset: str | None = None, rule: str | None = None, default: str = DEFAULT_PRESET
) -> Preset:
    """The preset called ``preset``; else the rule's preset for the data set; else ``default``, if it has the rule.

    Raises :class:`ConfigError` if there is no such preset or rule, or if the preset has another rule.
    """
    if rule is not None and rule not in list(Rule):
        raise ConfigError(f"rule: {rule!r} is not one of {', '.join(Rule)}")
    if preset is None:
        return PRESETS[_default_preset(dataset, rule or PRESETS[default].config.rule, default)]
    if preset not in PRESETS:
        raise ConfigError(f"preset: {preset!r} is not one of {', '.join(PRESETS)}")
    found = PRESETS[preset]
    if rule not in (None, found.config.rule):
        raise ConfigError(f"rule: preset {preset} learns by {found.config.rule}; leave one of the two out")
    return found


def _default_preset(dataset: str | None, rule: str, default: str) -> str:
    """The first preset for ``dataset`` under ``rule``; without one, ``default`` or the digits'."""
    suffix = "-lbe" if rule == Rule.LBE else ""
    if dataset is not None and (name := f"{SIMILAR.get(dataset, dataset)}{suffix}") in PRESETS:
        return name
    return default if PRESETS[default].config.rule == rule else f"{DEFAULT_PRESET}{suffix}"


def _image(data: DataSet, levels: int) -> Planes | None:
    """The images of ``data`` as bits, a plane for each of the thresholds; None if it holds no images."""
    return None if data.image is None else Planes(*data.image, levels)


def _experiment(
    data: DataSet,
    thresholds: NDArray,
    test_split: float | None,
    config: AnyConfig,
    augment: Augment,
    notes: tuple[str, ...] = (),
) -> Experiment:
    samples, bits = len(data.train_classes) + len(data.test_classes), len(thresholds) * data.features
    check_memory(f"dataset: {samples} samples of {bits} bits", 2 * samples * bits)
    images = None
    if augment == Augment.SHIFT:
        if data.image is None:
            raise ConfigError(
                f"augment: {data.name} holds no images to move; use an .npz with x of [samples, height, width]"
            )
        images = MovingImages(data.train_values, data.image, thresholds)
    return Experiment(
        dataset=data.name,
        thresholds=thresholds,
        test_split=test_split,
        config=config,
        x_train=thermometer(data.train_values, thresholds),
        y_train=data.train_classes,
        x_test=thermometer(data.test_values, thresholds),
        y_test=data.test_classes,
        augment=augment,
        images=images,
        data_sha256=data.sha256,
        label=data.label,
        notes=data.notes + notes,
    )


def _augment(augment: str | None, preset: Preset, data: DataSet) -> Augment:
    """The given augmentation, or the preset's if the preset was tuned on this data."""
    if augment is None:
        return preset.augment if data.name == preset.dataset else Augment.NONE
    if augment not in list(Augment):
        raise ConfigError(f"augment: {augment!r} is not one of {', '.join(Augment)}")
    return Augment(augment)


def _thresholds(thresholds: Sequence[float] | None, levels: int | None, preset: Preset, data: DataSet) -> NDArray:
    """The first of: the given thresholds, those of a preset tuned on this data, the data set's own, quantiles."""
    if levels is not None and (thresholds is not None or datasets.built_in(data.name)):
        raise ConfigError("levels: only for your own data without thresholds; leave it out")
    if thresholds is not None:
        return given_thresholds(thresholds)
    if data.name == preset.dataset:
        return np.array(preset.thresholds)
    if known := datasets.built_in(data.name):
        return np.array(known.thresholds)
    levels = datasets.DEFAULT_LEVELS if levels is None else levels
    if not 1 <= levels * data.features <= MAX_WIDTH:
        raise ConfigError(
            f"levels: {levels} given, at least 1 and, with {data.features} values a sample, at most "
            f"{MAX_WIDTH // data.features} are possible"
        )
    return quantile_thresholds(data.train_values, levels)


def given_thresholds(thresholds: Sequence[float]) -> NDArray:
    """The thresholds that a user gives, [levels], as whole or real numbers."""
    if not len(thresholds):
        raise ConfigError("thresholds: none given, at least one is needed")
    for threshold in thresholds:
        if not -MAX_THRESHOLD <= threshold <= MAX_THRESHOLD:
            raise ConfigError(f"thresholds: {str(threshold)[:40]} is outside −2⁵³ … 2⁵³")
    return np.array(thresholds)


def _check_layers(given: object, preset: Preset, data: DataSet, bits: int, levels: int) -> None:
    """Raise :class:`ConfigError` unless the inputs and the classes of the layers ``given`` are those of ``data``."""
    items = () if given is None else parse(given)
    if len(items) < 2:
        return
    first, image = items[0], _image(data, levels)
    fitting: Planes | int = image if isinstance(first, Planes) and image is not None else bits
    size = first.size if isinstance(first, Planes) else first
    if size != bits or (isinstance(fitting, Planes) and first != fitting):
        use = ",".join(map(str, plain((fitting, *items[1:]))))
        values = f"{image.height} × {image.width} pixels" if image and fitting == image else f"{data.features} values"
        raise ConfigError(
            f"layers: {first} inputs, but {data.name} has {values} × {levels} thresholds = {bits} bits; use {use}, or "
            "other thresholds"
        )
    last = items[-1]
    if preset.config.rule == Rule.GFT and isinstance(last, int) and last < data.classes:
        raise ConfigError(
            f"layers: {last} classes (0 … {last - 1}), but {data.name} has class {data.classes - 1}; "
            f"the last layer needs {data.classes}"
        )
