"""An experiment: data as bits and the configuration that learns them, from what was asked for and rules of thumb.

What is not asked for comes from a preset. Where the preset's numbers are for other data, layers or weights, they are
replaced by the rules of thumb in docs/algorithm.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from popflip.checkpoint import Checkpoint
from popflip.cli.options import Settings, flag
from popflip.data import datasets
from popflip.data.augment import MovingImages
from popflip.data.datasets import DataSet
from popflip.golden.config import PRESETS, AnyConfig, Augment, Config, LbeConfig, Precision, Preset, Rule
from popflip.golden.errors import ConfigError

DEFAULT_PRESET = "digits"
GFT_LEARNING = ("precision", "batch", "epochs", "k0", "window", "dclip", "mmax", "flip_p256", "seed", "rule")
"""Settings that are fields of :class:`Config` as they are."""
LBE_LEARNING = ("epochs", "mmax", "reinforce_p256", "seed", "rule")
"""Settings that are fields of :class:`LbeConfig` as they are."""
GFT_ONLY = ("batch", "k0", "window", "shift", "dclip", "flip_p256")
LBE_ONLY = ("group", "reinforce_p256")
CHANGES_THE_RUN = (
    *("preset", "dataset", "thresholds", "levels", "test_split", "augment", "layers", "shift", "margin", "group"),
    *dict.fromkeys(GFT_LEARNING + LBE_LEARNING),
)
SMALL_DATA_SET = 10_000  # training samples below which more synapses are selected in a batch
GROUP = 32  # LBE: neurons of which one is taught
WIDE = 512  # LBE: neurons from which a single layer is taught with half the margin
LAST_LAYER_FACTOR = 4  # share of the last layer's synapses selected in a batch, relative to the other layers'


@dataclass(frozen=True)
class Experiment:
    """Bits and classes to train on and to test with, the thresholds that made the bits, and the configuration."""

    dataset: str
    thresholds: NDArray  # [levels] or [levels, features]
    test_split: float | None  # share held out of an own data set; None: the default, or a test set of its own
    config: AnyConfig
    x_train: NDArray[np.uint8]  # [samples, inputs]
    y_train: NDArray[np.int64]
    x_test: NDArray[np.uint8]
    y_test: NDArray[np.int64]
    augment: Augment = Augment.NONE
    images: MovingImages | None = None  # what is learned instead of x_train, when images are moved

    @property
    def learned(self) -> NDArray[np.uint8] | MovingImages:
        """What :func:`popflip.training.train` learns from."""
        return self.x_train if self.images is None else self.images


@dataclass(frozen=True)
class Shape:
    """What of a data set decides about the network that learns it."""

    name: str
    bits: int
    classes: int
    samples: int  # for training


def prepare(settings: Settings) -> Experiment:
    """Load the data, choose thresholds, and fit the configuration to both. Anything that does not fit is an error."""
    preset = _preset(settings)
    data = datasets.load(settings.dataset or preset.dataset, settings.data_dir, settings.test_split)
    thresholds = _thresholds(settings, preset, data)
    bits = data.features * len(thresholds)
    _check_layers(settings, preset, data, bits, len(thresholds))
    config = _configure(settings, preset, Shape(data.name, bits, data.classes, len(data.train_classes)))
    return _experiment(data, thresholds, settings.test_split, config, _augment(settings, preset, data))


def resume(settings: Settings, checkpoint: Checkpoint) -> Experiment:
    """The experiment of a run to go on with. Settings that would make it another run are an error."""
    for name in CHANGES_THE_RUN:
        if getattr(settings, name) is not None:
            raise ConfigError(f"--resume: {flag(name)} is what the saved run says; leave it out")
    return from_checkpoint(checkpoint, settings.data_dir)


def samples_for(
    checkpoint: Checkpoint, name: str | None, data_dir: Path | None
) -> tuple[NDArray[np.uint8], NDArray[np.int64] | None]:
    """Bits, and classes if known: the network's own test samples, those of the data set ``name``, or all in a file."""
    if name is None:
        own = from_checkpoint(checkpoint, data_dir)
        return own.x_test, own.y_test
    config, thresholds = checkpoint.config, checkpoint.thresholds
    features = config.inputs // len(thresholds)
    values, classes = datasets.load_to_predict(name, data_dir, features)
    if classes is not None and classes.max() >= config.classes:
        raise ConfigError(f"{name}: has class {classes.max()}, the network knows 0 … {config.classes - 1}")
    return datasets.thermometer(values, thresholds), classes


def from_checkpoint(checkpoint: Checkpoint, data_dir: Path | None = None) -> Experiment:
    """The experiment a saved network came from, its data loaded again."""
    data = datasets.load(checkpoint.dataset, data_dir, checkpoint.test_split)
    bits = data.features * len(checkpoint.thresholds)
    if bits != checkpoint.config.inputs or data.classes > checkpoint.config.classes:
        raise ConfigError(
            f"{checkpoint.dataset}: has {bits} bits and {data.classes} classes, the saved network does not"
        )
    return _experiment(data, checkpoint.thresholds, checkpoint.test_split, checkpoint.config, checkpoint.augment)


def _experiment(
    data: DataSet, thresholds: NDArray, test_split: float | None, config: AnyConfig, augment: Augment
) -> Experiment:
    images = None
    if augment == Augment.SHIFT:
        if data.image is None:
            raise ConfigError(
                f"--augment: {data.name} holds no images to move; use an .npz with x of [samples, height, width]"
            )
        images = MovingImages(data.train_values, data.image, thresholds)
    return Experiment(
        dataset=data.name,
        thresholds=thresholds,
        test_split=test_split,
        config=config,
        x_train=datasets.thermometer(data.train_values, thresholds),
        y_train=data.train_classes,
        x_test=datasets.thermometer(data.test_values, thresholds),
        y_test=data.test_classes,
        augment=augment,
        images=images,
    )


def network(settings: Settings, default: str = DEFAULT_PRESET) -> AnyConfig:
    """The configuration without any data: as :func:`prepare`, for what needs the shape of the network alone.

    ``default`` is the preset to start from when nothing else is asked for.
    """
    preset = _preset(settings, default)
    shape = Shape(preset.dataset, preset.config.inputs, preset.config.classes, SMALL_DATA_SET)
    return _configure(settings, preset, shape)


def _preset(settings: Settings, default: str = DEFAULT_PRESET) -> Preset:
    """The preset asked for; else the rule's one for the data set; else ``default``, if it is the rule's."""
    rule = settings.rule
    if rule is not None and rule not in list(Rule):
        raise ConfigError(f"rule: {rule!r} is not one of {', '.join(Rule)}")
    if settings.preset is None:
        return PRESETS[_default_preset(settings.dataset, rule or PRESETS[default].config.rule, default)]
    if settings.preset not in PRESETS:
        raise ConfigError(f"--preset: {settings.preset!r} is not one of {', '.join(PRESETS)}")
    preset = PRESETS[settings.preset]
    if rule not in (None, preset.config.rule):
        raise ConfigError(f"--rule: preset {settings.preset} learns by {preset.config.rule}; leave one of the two out")
    return preset


def _default_preset(dataset: str | None, rule: str, default: str) -> str:
    suffix = "-lbe" if rule == Rule.LBE else ""
    if dataset is not None and (name := f"{dataset}{suffix}") in PRESETS:
        return name
    return default if PRESETS[default].config.rule == rule else f"{DEFAULT_PRESET}{suffix}"


def _augment(settings: Settings, preset: Preset, data: DataSet) -> Augment:
    """What was asked for, or what the preset says if it is for this data."""
    if settings.augment is None:
        return preset.augment if data.name == preset.dataset else Augment.NONE
    if settings.augment not in list(Augment):
        raise ConfigError(f"--augment: {settings.augment!r} is not one of {', '.join(Augment)}")
    return Augment(settings.augment)


def _thresholds(settings: Settings, preset: Preset, data: DataSet) -> NDArray:
    """Those asked for, the preset's if it is for this data, the data set's own, or quantiles."""
    if settings.levels is not None and (settings.thresholds is not None or datasets.built_in(data.name)):
        raise ConfigError("--levels: is for your own data without --thresholds; give one of the two")
    if settings.thresholds is not None:
        if not settings.thresholds:
            raise ConfigError("--thresholds: at least one is needed")
        return np.array(settings.thresholds)
    if data.name == preset.dataset:
        return np.array(preset.thresholds)
    if kind := datasets.built_in(data.name):
        return np.array(datasets.THRESHOLDS[kind])
    levels = datasets.DEFAULT_LEVELS if settings.levels is None else settings.levels
    if levels < 1:
        raise ConfigError("--levels: at least one is needed")
    return datasets.quantile_thresholds(data.train_values, levels)


def _check_layers(settings: Settings, preset: Preset, data: DataSet, bits: int, levels: int) -> None:
    layers = settings.layers
    if not layers or len(layers) < 2:
        return
    if layers[0] != bits:
        fitting = ",".join(map(str, (bits, *layers[1:])))
        raise ConfigError(
            f"layers: {layers[0]} inputs, but {data.name} has {data.features} values × {levels} thresholds = {bits} "
            f"bits; use --layers {fitting}, or other thresholds"
        )
    if preset.config.rule == Rule.GFT and layers[-1] < data.classes:
        raise ConfigError(
            f"layers: {layers[-1]} classes (0 … {layers[-1] - 1}), but {data.name} has class {data.classes - 1}; "
            f"the last layer needs {data.classes}"
        )


def _configure(settings: Settings, preset: Preset, data: Shape) -> AnyConfig:
    """The preset's configuration with what was asked for, and what follows from rules of thumb where that differs."""
    base = preset.config
    for name in LBE_ONLY if base.rule == Rule.GFT else GFT_ONLY:
        if getattr(settings, name) is not None:
            other = Rule.LBE if base.rule == Rule.GFT else Rule.GFT
            raise ConfigError(f"{flag(name)}: is for rule {other}, and this run learns by {base.rule}; leave it out")
    if isinstance(base, LbeConfig):
        return _configure_lbe(settings, base, data, data.name != preset.dataset)
    return _configure_gft(settings, base, data, data.name != preset.dataset)


def _configure_gft(settings: Settings, base: Config, data: Shape, other_data: bool) -> Config:
    layers = (data.bits, *base.layers[1:-1], data.classes) if settings.layers is None else settings.layers
    asked = _asked(settings, GFT_LEARNING)
    if settings.shift is not None:
        asked["shift"] = None if settings.shift == "none" else settings.shift
    if settings.margin is not None:
        if len(settings.margin) != 1:
            raise ConfigError(f"margin: {len(settings.margin)} given, expected 1 (rule gft has one)")
        asked["margin"] = settings.margin[0]
    precision = asked.get("precision", base.precision)
    if other_data:
        asked = stream_rules(data.samples) | asked
    if (layers, precision) != (base.layers, base.precision) and len(layers) >= 2:
        asked = network_rules(layers, precision, data.samples) | asked
    return replace(base, layers=layers, **asked)


def _configure_lbe(settings: Settings, base: LbeConfig, data: Shape, other_data: bool) -> LbeConfig:
    if settings.precision not in (None, Precision.BINARY):
        raise ConfigError(f"precision: {settings.precision!r} is not binary, and rule lbe has binary weights only")
    layers = (data.bits, *base.layers[1:]) if settings.layers is None else settings.layers
    asked = _asked(settings, LBE_LEARNING)
    for name in ("group", "margin"):
        values = getattr(settings, name)
        if values is not None:
            asked[name] = values * (len(layers) - 1) if len(values) == 1 else values
    if other_data or layers != base.layers:
        asked = lbe_rules(layers, data.samples) | asked
    return replace(base, layers=layers, classes=data.classes, **asked)


def _asked(settings: Settings, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(settings, name)) is not None}


def stream_rules(samples: int) -> dict[str, int]:
    """Batch and epochs for ``samples`` no preset was made for (docs/algorithm.md).

    Large batches, but never more than the samples there are; 20 epochs, and more until there are 100 batches.
    """
    batch = min(256, samples) if samples < SMALL_DATA_SET else 1024
    return {"batch": batch, "epochs": max(20, -(-100 * batch // samples))}


def network_rules(layers: tuple[int, ...], precision: str, samples: int) -> dict[str, int | tuple[int, ...]]:
    """Margin, windows, error clip and flips for a network no preset was made for (docs/algorithm.md).

    ``margin ≈ 2√(inputs of the last layer)``; ``window ≈ 0.35√(inputs of the layer)``; ``dclip`` 1 with one hidden
    layer, 3 with more; ``k0`` 0.4 % of a layer's synapses, 1 % when there are few samples, four times that in the last
    layer, half of it for binary weights.
    """
    share = (0.01 if samples < SMALL_DATA_SET else 0.004) / (2 if precision == Precision.BINARY else 1)
    synapses = [(inputs + 1) * rows for inputs, rows in pairwise(layers)]
    shares = [share] * (len(synapses) - 1) + [share * LAST_LAYER_FACTOR]
    return {
        "margin": round(2 * math.sqrt(max(0, layers[-2]))),
        "window": tuple(round(0.35 * math.sqrt(max(0, width))) for width in layers[:-2]),
        "dclip": 1 if len(layers) <= 3 else 3,
        "k0": tuple(max(1, round(part * count)) for part, count in zip(shares, synapses, strict=True)),
    }


def lbe_rules(layers: tuple[int, ...], samples: int) -> dict[str, int | tuple[int, ...]]:
    """Groups, margins and reinforcement of LBE for a network no preset was made for (docs/algorithm.md).

    ``group`` 32; ``margin`` an eighth of a layer's neurons, a sixteenth of those of a single layer of 512 or more;
    ``reinforce_p256`` 1, or 2 when there are few samples.
    """
    neurons = layers[1:]
    share = 16 if len(neurons) == 1 and neurons[0] >= WIDE else 8
    return {
        "group": (GROUP,) * len(neurons),
        "margin": tuple(width // share for width in neurons),
        "reinforce_p256": 2 if samples < SMALL_DATA_SET else 1,
    }
