"""Rules of thumb: learning parameters for data and networks without a tuned preset (docs/algorithm.md).

:func:`configure` starts from a tuned configuration, keeps what still applies, replaces the rest by the rules below, and
lets every parameter the user gives win.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from popflip.golden.config import AnyConfig, Config, LbeConfig, Precision, Rule
from popflip.golden.conv.forward import forward
from popflip.golden.conv.patches import pixels
from popflip.golden.errors import ConfigError
from popflip.golden.gft.initialise import initial
from popflip.golden.layers import Planes, parse, plain, plan
from popflip.golden.network import integers
from popflip.limits import check_batch, check_network

SHARED = ("rule", "layers", "precision", "mmax", "epochs", "margin", "seed", "order")
"""Parameters of both rules."""
GFT_ONLY = ("batch", "k0", "window", "shift", "dclip", "flip_p256")
LBE_ONLY = ("group", "near", "reinforce_p256")
PARAMETERS = (*SHARED, *GFT_ONLY, *LBE_ONLY)
"""All parameters that :func:`configure` takes."""

SMALL_DATA_SET = 10_000  # training samples below which each batch selects more synapses
GROUP = 32  # LBE: neurons of which at most one is updated
WIDE = 512  # LBE: neurons from which a single layer has half the margin
LAST_LAYER_FACTOR = 4  # share of the last layer's synapses selected in a batch, relative to the other layers'
CALIBRATION = 1000  # first training samples whose sums choose the windows of a network with convolutional layers


@dataclass(frozen=True)
class Shape:
    """The sizes of a training set: input bits, classes, samples; and its images if it holds any."""

    bits: int
    classes: int
    samples: int
    image: Planes | None = None


def configure(base: AnyConfig, given: Mapping[str, Any], shape: Shape, *, tuned: bool = False) -> AnyConfig:
    """``base`` fitted to data of ``shape``, with the parameters ``given`` (:data:`PARAMETERS`; None: not given).

    ``tuned`` says that ``base`` was tuned on this data; otherwise :func:`stream_rules` replaces its batch and epochs.
    Layers or precision other than those of ``base`` bring in :func:`network_rules` or :func:`lbe_rules`.
    ``shift="none"`` clears the counters in every batch. ``k0``, ``window``, ``margin``, ``mmax``, ``group`` and
    ``near`` are numbers or sequences of numbers; ``layers`` is whatever :func:`popflip.golden.layers.parse` reads.

    Raises :class:`ConfigError` for a parameter that does not exist, does not fit, or belongs to the other rule, and for
    a network or a batch that this machine's memory cannot hold.
    """
    values = {name: value for name, value in given.items() if value is not None}
    for name in values:
        if name not in PARAMETERS:
            raise ConfigError(f"{name}: no such parameter; there are {', '.join(PARAMETERS)}")
    other = Rule.LBE if base.rule == Rule.GFT else Rule.GFT
    for name in LBE_ONLY if base.rule == Rule.GFT else GFT_ONLY:
        if name in values:
            raise ConfigError(f"{name}: is for rule {other}, but this network learns by {base.rule}; leave it out")
    for name in ("k0", "window", "margin", "mmax", "group", "near"):
        if name in values:
            values[name] = _numbers(values[name])
    if "layers" in values:
        values["layers"] = plain(parse(values["layers"]))
    if isinstance(base, LbeConfig):
        config: AnyConfig = _configure_lbe(base, values, shape, tuned)
    else:
        config = _configure_gft(base, values, shape, tuned)
    check_network(config)
    check_batch(config)
    return config


def _configure_gft(base: Config, values: dict[str, Any], shape: Shape, tuned: bool) -> Config:
    layers = values.pop("layers") if "layers" in values else (_first(base, shape), *base.layers[1:-1], shape.classes)
    if values.get("shift") == "none":
        values["shift"] = None
    if "margin" in values:
        values["margin"] = _one("margin", values["margin"], Rule.GFT)
    precision = values.get("precision", base.precision)
    if not tuned:
        values = stream_rules(shape.samples) | values
    if (layers, precision) != (base.layers, base.precision):
        values = network_rules(layers, precision, shape.samples) | values
        if layers != base.layers and (base.convolves or any(isinstance(item, str) for item in layers)):
            values = {"mmax": ()} | values  # each layer's default
    return replace(base, layers=layers, **values)


def _first(base: Config, shape: Shape) -> int | str:
    """The inputs of the network ``base`` for data of ``shape``: its bits, or its image."""
    if not isinstance(base.layers[0], str):
        return shape.bits
    if shape.image is not None:
        return str(shape.image)
    if base.inputs == shape.bits:
        return base.layers[0]
    raise ConfigError(
        f"layers: the preset's images are {base.image}, but the data holds {shape.bits} bits a sample; give layers"
    )


def _configure_lbe(base: LbeConfig, values: dict[str, Any], shape: Shape, tuned: bool) -> LbeConfig:
    precision = values.pop("precision", Precision.BINARY)
    if precision != Precision.BINARY:
        raise ConfigError(f"precision: {precision!r} is not binary, and rule lbe has binary weights only")
    layers = integers("layers", values.pop("layers", (shape.bits, *base.layers[1:])))
    if "mmax" in values:
        values["mmax"] = _one("mmax", values["mmax"], Rule.LBE)
    for name in ("group", "margin", "near"):
        if len(values.get(name, ())) == 1:
            values[name] *= len(layers) - 1
    if not tuned or layers != base.layers:
        values = lbe_rules(layers, shape.samples) | values
    return replace(base, layers=layers, classes=shape.classes, **values)


def _one(name: str, values: tuple, rule: Rule) -> Any:
    """The only one of ``values``."""
    if len(values) != 1:
        raise ConfigError(f"{name}: {len(values)} given, expected 1 (rule {rule} has one)")
    return values[0]


def _numbers(value: Any) -> tuple:
    return tuple(value) if hasattr(value, "__iter__") else (value,)


def stream_rules(samples: int) -> dict[str, Any]:
    """Batch and epochs for ``samples`` training samples.

    The batch is large, but no larger than the training set. There are 20 epochs, or more until there are 100 batches.
    """
    batch = min(256, samples) if samples < SMALL_DATA_SET else 1024
    return {"batch": batch, "epochs": max(20, -(-100 * batch // samples))}


def network_rules(layers: tuple[int | str, ...], precision: str, samples: int) -> dict[str, Any]:
    """Margin, windows, error clip and flips of GFT for a network of ``layers``.

    ``margin ≈ 2√(inputs of the last layer)``; ``window ≈ 0.35√(inputs of a neuron)``, which is half the standard
    deviation of the sums of independent inputs (:func:`calibrated` looks at real ones); ``dclip`` is 1 with one hidden
    layer, 3 with more. ``k0`` is 0.4 % of a layer's synapses, or 1 % with few samples; four times that in the last
    layer; half of it for binary weights.
    """
    share = (0.01 if samples < SMALL_DATA_SET else 0.004) / (2 if precision == Precision.BINARY else 1)
    network = plan(parse(layers))
    shares = [share] * (len(network) - 1) + [share * LAST_LAYER_FACTOR]
    return {
        "margin": round(2 * math.sqrt(network[-1].inputs.size)),
        "window": tuple(round(0.35 * layer.pool * math.sqrt(layer.synapses - layer.bias)) for layer in network[:-1]),
        "dclip": 1 if len(network) <= 2 else 3,
        "k0": tuple(
            max(1, round(part * layer.rows * layer.synapses)) for part, layer in zip(shares, network, strict=True)
        ),
    }


def windows_are_guessed(base: AnyConfig, config: AnyConfig, given: Mapping[str, Any], tuned: bool) -> bool:
    """Whether the windows of ``config``, from :func:`configure`, are to be :func:`calibrated`: it has convolutional
    layers, and neither the user nor a preset for this network and data chose them.
    """
    known = tuned and (config.layers, config.precision) == (base.layers, base.precision)
    return config.convolves and given.get("window") is None and not known


def calibrated(config: AnyConfig, x: NDArray[np.uint8]) -> AnyConfig:
    """``config`` with windows that fit the first :data:`CALIBRATION` of the training samples ``x`` ``[n, inputs]``.

    The window of a hidden layer is half the standard deviation of its sums at initialisation, at least 1. Only networks
    with convolutional layers change: neighbours in an image are alike, so no rule of thumb knows their sums.
    """
    if not isinstance(config, Config) or not config.convolves:
        return config
    sums = forward(initial(config).weights, pixels(x[:CALIBRATION], config.image), config.plan)
    return replace(config, window=tuple(max(1, round(float(v.std()) / 2)) for v in sums[:-1]))


def lbe_rules(layers: tuple[int, ...], samples: int) -> dict[str, Any]:
    """Groups, margins and reinforcement of LBE for a network of ``layers``.

    ``group`` is 32; ``margin`` is an eighth of a layer's neurons, or a sixteenth in a single layer of 512
    or more neurons; ``near`` is 0, as in the paper; ``reinforce_p256`` is 1, or 2 with few samples.
    """
    neurons = layers[1:]
    share = 16 if len(neurons) == 1 and neurons[0] >= WIDE else 8
    return {
        "group": (GROUP,) * len(neurons),
        "margin": tuple(width // share for width in neurons),
        "near": (0,) * len(neurons),
        "reinforce_p256": 2 if samples < SMALL_DATA_SET else 1,
    }
