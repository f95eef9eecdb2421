"""Shared by the configurations of all rules: a network's sizes, and the checks of parameters.

Every message of a :class:`ConfigError` names the parameter, its value and the values it may have.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from functools import cached_property
from typing import Any, TypeVar

from popflip.golden.errors import ConfigError
from popflip.golden.layers import Conv, Layer, Planes, parse, plan

WORD = 32
"""Synapses in a word: the unit of random masks, of scan order and of the flip signature, at any width of the array."""

MAX_COUNTER = 32_767  # the state hash holds a counter as int16
MAX_INTEGER = 2**31 - 1


class Precision(StrEnum):
    """Values of a weight: binary −1, +1; ternary −1, 0, +1."""

    BINARY = "binary"
    TERNARY = "ternary"


class Rule(StrEnum):
    """Learning rule. ``gft``: gradient-free training (arXiv 2410.09734, §4). ``lbe``: local binary error signals
    (arXiv 2412.00119)."""

    GFT = "gft"
    LBE = "lbe"


class Order(StrEnum):
    """Order of the samples in each epoch. ``numpy``: permutations that NumPy draws. ``chip``: those that a chip makes
    (:mod:`popflip.golden.common.order`)."""

    NUMPY = "numpy"
    CHIP = "chip"


class Network:
    """Sizes of a network, derived from its rule and its ``layers``: the inputs, then each layer
    (:mod:`popflip.golden.layers`). Numbers alone are the widths ``K[0] … K[L]`` of a dense network.

    GFT: the last width is the number of classes, and every row of a dense layer has a bias. LBE: the number of classes
    is a separate parameter, and no row has a bias.
    """

    layers: tuple[int | str, ...]
    rule: Rule

    @property
    def depth(self) -> int:
        """Number of layers of weights, ``L``."""
        return len(self.layers) - 1

    @cached_property
    def plan(self) -> tuple[Layer, ...]:
        """The layers, each in its place."""
        return plan(parse(self.layers), self.bias)

    @cached_property
    def image(self) -> Planes:
        """The input planes; those of a dense network are one pixel with all inputs."""
        first = parse(self.layers[:1])[0]
        return first if isinstance(first, Planes) else self.plan[0].inputs

    @property
    def dense(self) -> bool:
        """Whether ``layers`` are numbers alone: all layers are dense, and there is no image."""
        return all(isinstance(item, int) for item in parse(self.layers))

    @property
    def convolves(self) -> bool:
        """Whether any layer is convolutional."""
        return any(isinstance(item, Conv) for item in parse(self.layers))

    @property
    def inputs(self) -> int:
        """Input bits, ``K[0]``."""
        return self.image.size

    @property
    def rows(self) -> tuple[int, ...]:
        """Rows of each layer; in a dense layer, its neurons."""
        return tuple(layer.rows for layer in self.plan)

    @property
    def bias(self) -> int:
        """Biases of a dense layer's row: 1 (GFT) or 0 (LBE). The bias is the last synapse, its input always 1."""
        return int(self.rule == Rule.GFT)

    @property
    def synapses(self) -> tuple[int, ...]:
        """Synapses of a row of each layer, the bias included."""
        return tuple(layer.synapses for layer in self.plan)


class Learning(Network):
    """A network with the parameters that every rule has, and its division into 32-synapse words."""

    batch: int
    epochs: int
    mmax: int | tuple[int, ...]
    seed: int
    order: Order

    @property
    def mmaxes(self) -> tuple[int, ...]:
        """``mmax`` of each layer."""
        return self.mmax if isinstance(self.mmax, tuple) else (self.mmax,) * self.depth

    @property
    def words(self) -> tuple[int, ...]:
        """32-synapse words of a row of each layer."""
        return tuple(-(-synapses // WORD) for synapses in self.synapses)

    @property
    def word_base(self) -> tuple[int, ...]:
        """Global index of the first word of each layer (layer-major, then row, then word)."""
        bases = [0]
        for rows, words in zip(self.rows, self.words, strict=True):
            bases.append(bases[-1] + rows * words)
        return tuple(bases[:-1])

    def batches(self, samples: int) -> int:
        """Whole batches of a full run over a training set of ``samples``: ``T`` of the schedule."""
        return samples * self.epochs // self.batch


E = TypeVar("E", bound=StrEnum)


def check_integer(name: str, value: object) -> None:
    """:class:`ConfigError` if ``value`` is no integer."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(f"{name}: {value!r} is not a whole number")


def check_within(name: str, value: int, low: int, high: int) -> None:
    """:class:`ConfigError` if ``value`` is outside ``low … high``."""
    if not low <= value <= high:
        raise ConfigError(f"{name}: {value} is outside {low} … {high}")


def check_all_within(name: str, values: tuple[int, ...], low: int, high: int) -> None:
    """:func:`check_within` for each of ``values``."""
    for index, value in enumerate(values):
        check_within(f"{name}[{index}]", value, low, high)


def check_length(name: str, values: tuple[int, ...], expected: int, unit: str) -> None:
    """:class:`ConfigError` if there is not one value per ``unit``, ``expected`` in all."""
    if len(values) != expected:
        raise ConfigError(f"{name}: {len(values)} given, expected {expected} (one per {unit})")


def integers(name: str, values: object) -> tuple[int, ...]:
    """``values`` as a tuple; :class:`ConfigError` if they are no sequence of integers."""
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise ConfigError(f"{name}: {values!r} is not a list of whole numbers")
    for index, value in enumerate(values):
        check_integer(f"{name}[{index}]", value)
    return tuple(values)


def member(name: str, kind: type[E], value: Any) -> E:
    """The member of ``kind`` that ``value`` names; :class:`ConfigError` if there is none."""
    try:
        return kind(value)
    except ValueError:
        raise ConfigError(f"{name}: {value!r} is not one of {', '.join(kind)}") from None
