"""Random networks and samples for a chip, and the chip itself as a testbench gets it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from popflip.golden.config import Config, LbeConfig, Precision, Rule
from popflip.golden.gft.backward import backward
from popflip.golden.lbe.initialise import signs
from popflip.hw.config import ChipConfig


def chip_of(values: dict[str, Any]) -> ChipConfig:
    """The :class:`ChipConfig` whose fields, turned into JSON and back, are ``values``."""
    layers, precision, rule = tuple(values["layers"]), Precision(values["precision"]), Rule(values["rule"])
    mmaxes = tuple(values["mmaxes"])
    return ChipConfig(**{**values, "layers": layers, "precision": precision, "rule": rule, "mmaxes": mmaxes})


def config_of(chip: ChipConfig, **learning: Any) -> Any:
    """A configuration that ``chip`` can run, with the parameters ``learning`` of its rule."""
    if chip.rule == Rule.LBE:
        defaults = {"group": (1,) * chip.depth, "margin": (0,) * chip.depth}
        return LbeConfig((chip.inputs, *chip.rows), chip.classes, mmax=chip.mmax, **(defaults | learning))
    return Config(
        chip.layers,
        chip.precision,
        k0=(1,) * chip.depth,
        window=(0,) * (chip.depth - 1),
        mmax=chip.mmax,
        **learning,
    )


def random_weights(chip: ChipConfig, rng: np.random.Generator) -> list[NDArray[np.int8]]:
    """Weights of every layer, ``[R, S]`` each, all values equally likely."""
    return [rng.choice(_weight_values(chip), shape) for shape in zip(chip.rows, chip.synapses, strict=True)]


def random_layer(
    chip: ChipConfig, layer: int, spread: float, rng: np.random.Generator
) -> tuple[NDArray[np.int8], NDArray[np.int16]]:
    """Weights and counters of a layer, ``[R, S]`` each. Under LBE the weights are the signs of the counters.

    ``spread`` is the standard deviation of the counters: small for many ties, large for many at the limits.
    """
    shape = chip.rows[layer], chip.synapses[layer]
    if chip.rule == Rule.LBE:
        m = np.clip(np.rint(rng.normal(-0.5, spread, shape)), -chip.mmax - 1, chip.mmax).astype(np.int16)
        return signs(m >= 0), m
    m = np.clip(np.rint(rng.normal(0, spread, shape)), -chip.mmax, chip.mmax)
    return rng.choice(_weight_values(chip), shape), m.astype(np.int16)


def random_inputs(chip: ChipConfig, samples: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Inputs ``[n, K0]``: the first sample all 0, the second all 1, the others of a random density each."""
    density = rng.choice([0.02, 0.2, 0.5, 0.9], (samples, 1))
    density[:2, 0] = [0, 1][:samples]
    return (rng.random((samples, chip.inputs)) < density).astype(np.uint8)


def within_window(v: NDArray[np.int32], window: int) -> NDArray[np.bool_]:
    """Whether golden updates hidden neurons with sums ``v``, ``[n, R]``: its backward pass gives them δ ≠ 0."""
    ask = np.ones((len(v), 1), np.int32)
    weights = [np.zeros((v.shape[1], 1), np.int8), np.ones((1, v.shape[1] + 1), np.int8)]
    return backward(weights, [v, ask], ask, (window,), 1)[0] != 0


def _weight_values(chip: ChipConfig) -> NDArray[np.int8]:
    return np.array([-1, 1] if chip.precision == Precision.BINARY else [-1, 0, 1], np.int8)
