"""Between PyTorch and the chip: an all-ternary (or binary) network of PyTorch as a configuration, a state and a file.

::

    nn.Sequential(GFTLinear, Sign, …, GFTLinear) ──▶ export ──▶ FILE.npz ──▶ golden model, simulated chip, board
          ▲                                                        │
          └─────────────────────────── load ◀──────────────────────┘

The chip has no scale: ``sgn(scale·v) = sgn(v)``, and the class with the largest ``v`` has the largest ``scale·v``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn

from popflip import checkpoint as checkpoints
from popflip.errors import ConfigError
from popflip.golden.config import Config, Precision, Rule
from popflip.golden.memory.weights import State
from popflip.golden.network import MAX_INTEGER
from popflip.heuristics import SMALL_DATA_SET, Shape, configure
from popflip.torch.layer import SYNAPSE, GFTLinear
from popflip.torch.network import Sign
from popflip.torch.optimiser import GFT

_PLAIN = Config(layers=(1, 2), k0=(1,))
"""Where the parameters of an exported network start, before the rules of thumb."""


def chip_network(config: Config) -> nn.Sequential:
    """The network of ``config``, its weights random: floats 0 and 1 ``[n, K0]`` → whole scores ``[n, C]``.

    Raises :class:`ConfigError` for a network that reads images: its layers are not :class:`.GFTLinear` s.
    """
    if not config.dense:
        name = "-".join(map(str, config.layers))
        raise ConfigError(f"layers: {name} reads images; popflip.torch has dense layers only")
    modules: list[nn.Module] = []
    for index, layer in enumerate(config.plan):
        if index:
            modules.append(Sign(config.window[index - 1], config.dclip))
        modules.append(GFTLinear(layer.inputs.size, layer.rows, config.precision, SYNAPSE, scale=1))
    return nn.Sequential(*modules)


def chip_optimiser(network: nn.Sequential, config: Config, samples: int) -> GFT:
    """The optimiser that trains ``network`` of :func:`chip_network` on ``samples`` as the chip does, from the chip's
    initial state of the configuration's seed.

    One step is a batch. With ``MarginLoss(config.margin)``, and samples in the order of
    :func:`popflip.steps.sample_order`, it passes through the golden model's states.
    """
    groups = [
        {"params": [layer.weight], "k0": k0, "mmax": mmax}
        for layer, k0, mmax in zip(_linears(network), config.k0, config.mmaxes, strict=True)
    ]
    optimiser = GFT(
        groups,
        steps=config.batches(samples),
        flip_prob=config.flip_p256 / 256,
        shift=config.shift,
        integer=True,
    )
    optimiser.reset(config.seed)
    return optimiser


def chip_state(optimiser: GFT) -> State:
    """Weights, counters and random state of an ``integer`` optimiser with ``mmax``, as the golden model holds them."""
    if not all(group["integer"] and group["mmax"] is not None for group in optimiser.param_groups):
        raise ConfigError("optimiser: its counters are not the chip's; it needs integer=True and mmax")
    weights = [weight for group in optimiser.param_groups for weight in group["params"]]
    return State(
        [weight.detach().cpu().numpy().copy() for weight in weights],
        [optimiser.counters(weight).cpu().numpy().copy() for weight in weights],
        optimiser.rng,
    )


# Files ----------------------------------------------------------------------------------------------------------------


def export(
    network: nn.Sequential,
    path: str | Path,
    *,
    thresholds: ArrayLike = (1,),
    classes: ArrayLike | None = None,
    samples: int = SMALL_DATA_SET,
    **parameters: Any,
) -> Config:
    """Write ``network`` as a Popflip model to ``path``, an ``.npz`` for ``popflip infer --model`` and ``popflip train
    --start``, with counters of 0. Returns its configuration.

    ``network`` is a sequence of :class:`.GFTLinear` s of one precision with a :class:`.Sign` between each two, whose
    inputs are 0 and 1; layers have a bias of ``"synapse"``, or none if ternary. ``thresholds`` ``[levels]`` or
    ``[levels, features]`` made those bits from values; ``classes`` are the labels ``[C]``. The windows and dclip of the
    network's ``Sign`` s, ``parameters`` (those of ``popflip train``, such as ``margin`` and ``k0``), and rules of thumb
    for ``samples`` training samples decide how a chip goes on learning.

    Raises :class:`ConfigError` for a network that the chip does not have, and :class:`FileError` if the file cannot be
    written.
    """
    layers = _linears(network)
    config = _config(network, layers, samples, parameters)
    weights = [_chip_weights(layer) for layer in layers]
    checkpoints.save(Path(path), checkpoints.untrained(config, weights, thresholds, classes))
    return config


def load(path: str | Path) -> nn.Sequential:
    """The network in ``path``, which :func:`export`, ``popflip train --save`` or ``Classifier.save`` wrote.

    Raises :class:`FileError` if the file holds anything else, and :class:`ConfigError` for a network of rule lbe or one
    that reads images.
    """
    saved = checkpoints.load(Path(path))
    if not isinstance(saved.config, Config):
        raise ConfigError(f"path: {path} holds a network of rule {Rule.LBE}, expected {Rule.GFT}")
    network = chip_network(saved.config)
    with torch.no_grad():
        for layer, w in zip(_linears(network), saved.state.weights, strict=True):
            layer.weight.copy_(torch.from_numpy(w))
    return network


def _linears(network: nn.Module) -> list[GFTLinear]:
    """The layers of a chip's network. :class:`ConfigError` if it is none."""
    modules = list(network) if isinstance(network, nn.Sequential) else []
    expected = [GFTLinear if index % 2 == 0 else Sign for index in range(len(modules))]
    if not modules or len(modules) % 2 == 0 or [type(module) for module in modules] != expected:
        raise ConfigError("network: expected nn.Sequential of GFTLinear, Sign, …, GFTLinear; the chip has nothing else")
    return [module for module in modules if isinstance(module, GFTLinear)]


def _config(network: nn.Sequential, layers: Sequence[GFTLinear], samples: int, parameters: dict[str, Any]) -> Config:
    widths = (layers[0].in_features, *(layer.out_features for layer in layers))
    for index, (below, layer) in enumerate(pairwise(layers)):
        if layer.in_features != below.out_features:
            raise ConfigError(
                f"network: layer {index + 1} has {layer.in_features} inputs, expected {below.out_features}"
            )
    precisions = {layer.precision for layer in layers}
    if len(precisions) != 1:
        raise ConfigError("network: its layers are binary and ternary, but a chip has one precision")
    signs = [module for module in network if isinstance(module, Sign)]
    given: dict[str, Any] = {"layers": widths, "precision": precisions.pop()}
    if signs:
        windows = zip(signs, layers[:-1], strict=True)
        given["window"] = tuple(_whole(sign.window / layer.scale) for sign, layer in windows)
        if math.isfinite(clip := min(sign.dclip for sign in signs)):
            given["dclip"] = max(1, _whole(clip))
    config = configure(_PLAIN, given | parameters, Shape(widths[0], widths[-1], samples))
    assert isinstance(config, Config)
    return config


def _whole(value: float) -> int:
    """``value`` rounded down, but for what a float is off."""
    return MAX_INTEGER if value > MAX_INTEGER else math.floor(value * (1 + 1e-9))


def _chip_weights(layer: GFTLinear) -> NDArray[np.int8]:
    """Weights ``[R, K + 1]``; a layer without a bias gets one of 0."""
    w = layer.weight.detach().cpu().numpy()
    if layer.bias_synapse:
        return w.copy()
    if layer.bias is not None or layer.precision == Precision.BINARY:
        raise ConfigError(f"network: a layer has bias={layer.bias is not None}; the chip needs bias={SYNAPSE!r}")
    return np.pad(w, ((0, 0), (0, 1)))
