"""Layers: what a network is made of, as text and as shapes (docs/conv.md).

``28x28,c16k5p2,c32k5s2,10`` is an image, then layers: convolutional ones and dense ones. :func:`parse` reads the items,
:func:`plan` puts the layers one after the other.

Every message of a :class:`ConfigError` names the item, what it has and what it may have.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from popflip.golden.errors import ConfigError

MAX_LAYERS = 8
MAX_WIDTH = 65_535
MAX_ACTIVATIONS = 2**20
MAX_KERNEL = 15
MAX_STRIDE = 4
MAX_POOL = 4
MAX_SHOWN_BITS = 256  # of a number that a message quotes

_IMAGE = re.compile(r"([0-9]{1,40})x([0-9]{1,40})(?:x([0-9]{1,40}))?")
_CONV = re.compile(r"c([0-9]{1,40})k([0-9]{1,40})(?:s([0-9]{1,40}))?(?:p([0-9]{1,40}))?")
_NUMBER = re.compile(r"[0-9]{1,40}")
_FORMS = "a number of neurons, an image such as 28x28, or a convolution such as c16k5s1p2"


@dataclass(frozen=True)
class Planes:
    """Activations or input bits of an image, ``[height][width][channels]``; the channel changes fastest.

    As an item of a network: its input image.
    """

    height: int
    width: int
    channels: int = 1

    @property
    def size(self) -> int:
        """Number of activations."""
        return self.height * self.width * self.channels

    def __str__(self) -> str:
        sizes = (self.height, self.width) + ((self.channels,) if self.channels > 1 else ())
        return "x".join(map(str, sizes))


@dataclass(frozen=True)
class Conv:
    """A convolutional layer as an item of a network: ``rows`` of ``kernel × kernel`` pixels, moved by ``stride``
    pixels. The sums of ``pool × pool`` positions are added up.
    """

    rows: int
    kernel: int
    stride: int = 1
    pool: int = 1

    def __str__(self) -> str:
        stride = f"s{self.stride}" if self.stride > 1 else ""
        pool = f"p{self.pool}" if self.pool > 1 else ""
        return f"c{self.rows}k{self.kernel}{stride}{pool}"


Item = Planes | Conv | int
"""An item of a network: its image, a convolutional layer, or the neurons of a dense layer (first: the input bits)."""


@dataclass(frozen=True)
class Layer:
    """A layer in its place: ``rows`` of synapses, used at every position of the planes ``inputs``.

    A dense layer is the case of one position: its inputs are a single pixel with a channel for each of them. ``bias``
    is 1 if a row's last synapse is a bias, whose input is always 1.
    """

    inputs: Planes
    rows: int
    kernel: int = 1
    stride: int = 1
    pool: int = 1
    bias: int = 0

    @property
    def padding(self) -> int:
        """Pixels outside the image, on each side, that patches reach; all their inputs are 0."""
        return self.kernel // 2

    @property
    def synapses(self) -> int:
        """Synapses of a row, the bias included."""
        return self.kernel**2 * self.inputs.channels + self.bias

    @property
    def outputs(self) -> Planes:
        """The neurons: one for each row and each pool. Positions that fill no pool are not used."""
        height, width = (
            ((size - 1) // self.stride + 1) // self.pool for size in (self.inputs.height, self.inputs.width)
        )
        return Planes(height, width, self.rows)

    @property
    def neurons(self) -> int:
        """Number of neurons."""
        return self.outputs.size

    @property
    def pools(self) -> int:
        """Pools of ``pool × pool`` positions: neurons of each row."""
        return self.outputs.height * self.outputs.width

    @property
    def positions(self) -> int:
        """Positions at which each row is used."""
        return self.pools * self.pool**2


def parse(layers: object) -> tuple[Item, ...]:
    """The items of ``layers``: a text with commas between them, or a sequence of texts and numbers.

    Raises :class:`ConfigError` for an item that is none.
    """
    items = layers.split(",") if isinstance(layers, str) else layers
    if not isinstance(items, Sequence) or isinstance(items, bytes):
        raise ConfigError(f"layers: {_shown(layers)} is not a list of layers; give {_FORMS}")
    return tuple(_item(index, item) for index, item in enumerate(items))


def plain(items: Sequence[Item]) -> tuple[int | str, ...]:
    """``items`` as numbers and texts, each in its shortest form. :func:`parse` is the inverse."""
    return tuple(item if isinstance(item, int) else str(item) for item in items)


def plan(items: Sequence[Item], bias: int = 1) -> tuple[Layer, ...]:
    """The layers of a network of ``items``, each in its place. ``bias`` : biases of a dense layer's row, 1 or 0.

    Raises :class:`ConfigError` if an item cannot follow those before it, or if there are too few or too many.
    """
    if not 2 <= len(items) <= MAX_LAYERS + 1:
        raise ConfigError(f"layers: {len(items)} given, expected the inputs and 1 to {MAX_LAYERS} layers after them")
    first, *others = items
    if isinstance(first, Conv):
        raise ConfigError(f"layers[0]: {first} needs an image before it, such as 28x28")
    planes = first if isinstance(first, Planes) else Planes(1, 1, first)
    layers: list[Layer] = []
    for index, item in enumerate(others, 1):
        layers.append(_placed(index, item, items[index - 1], planes, bias))
        planes = layers[-1].outputs
    if isinstance(others[-1], Conv):
        raise ConfigError(f"layers[{len(others)}]: {others[-1]} is the last layer; the last one is dense")
    return tuple(layers)


def _placed(index: int, item: Item, before: Item, planes: Planes, bias: int) -> Layer:
    """The layer of ``item``, which follows ``before`` and reads ``planes``."""
    if isinstance(item, Planes):
        raise ConfigError(f"layers[{index}]: {item} is an image; only the first item may be one")
    if isinstance(item, int):
        return Layer(Planes(1, 1, planes.size), item, bias=bias)
    if isinstance(before, int):
        raise ConfigError(f"layers[{index}]: {item} follows {before}; convolutions come first, and after an image")
    layer = Layer(planes, item.rows, item.kernel, item.stride, item.pool)
    outputs = layer.outputs
    if not outputs.size:
        raise ConfigError(
            f"layers[{index}]: {item} has no {item.pool} × {item.pool} positions on {planes.height} × {planes.width} "
            "pixels; pool or stride less"
        )
    if outputs.size > MAX_ACTIVATIONS:
        raise ConfigError(
            f"layers[{index}]: {item} has {outputs.size} neurons, more than {MAX_ACTIVATIONS}; pool more, or take "
            "fewer rows"
        )
    return layer


def _item(index: int, value: object) -> Item:
    """The item that ``value``, a number or a text, stands for."""
    name = f"layers[{index}]"
    text = value.strip() if isinstance(value, str) else value
    if isinstance(text, str) and _NUMBER.fullmatch(text):
        text = int(text)
    if isinstance(text, int) and not isinstance(text, bool):
        _check(name, text, 1, MAX_WIDTH)
        return text
    if isinstance(text, Planes | Conv):
        text = str(text)
    if isinstance(text, str) and (found := _IMAGE.fullmatch(text)):
        return _image(name, Planes(*(int(size) for size in found.groups("1"))))
    if isinstance(text, str) and (found := _CONV.fullmatch(text)):
        return _conv(name, Conv(*(int(number) for number in found.groups("1"))))
    raise ConfigError(f"{name}: {_shown(value)} is not {_FORMS}")


def _image(name: str, image: Planes) -> Planes:
    for what, value in (("height", image.height), ("width", image.width), ("planes", image.channels)):
        _check(f"{name}: {what}", value, 1, MAX_WIDTH)
    _check(f"{name}: input bits", image.size, 1, MAX_WIDTH)
    return image


def _conv(name: str, conv: Conv) -> Conv:
    _check(f"{name}: rows", conv.rows, 1, MAX_WIDTH)
    _check(f"{name}: kernel", conv.kernel, 1, MAX_KERNEL)
    if conv.kernel % 2 == 0:
        raise ConfigError(f"{name}: kernel: {conv.kernel} is even; take {conv.kernel - 1} or {conv.kernel + 1}")
    _check(f"{name}: stride", conv.stride, 1, MAX_STRIDE)
    _check(f"{name}: pool", conv.pool, 1, MAX_POOL)
    return conv


def _check(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        text = str(value) if value.bit_length() <= MAX_SHOWN_BITS else f"a number of {value.bit_length()} bits"
        raise ConfigError(f"{name}: {text} is outside {low} … {high}")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}…"
