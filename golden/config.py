"""Network and learning parameters: one frozen, validated object, and the named presets.

Everything a run's result depends on is here, except the data. What the hardware adds (rows and synapses a cycle,
memory layout, link) is in :mod:`popflip.hw.config` and never changes a result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from popflip.golden.errors import ConfigError

WORD = 32
"""Synapses in a word: the unit of random numbers, scan order and the flip signature, whatever the hardware's width."""

MAX_LAYERS = 8
MAX_WIDTH = 65_535
MAX_COUNTER = 32_767  # the state hash holds a counter as int16


E = TypeVar("E", bound=StrEnum)


class Precision(StrEnum):
    """Values a weight can take: binary −1, +1; ternary −1, 0, +1."""

    BINARY = "binary"
    TERNARY = "ternary"


class Augment(StrEnum):
    """What becomes of training images before they are learned. ``shift``: each is moved by 0 or 1 pixel at random."""

    NONE = "none"
    SHIFT = "shift"


class Rule(StrEnum):
    """Learning rule. ``gft``: gradient-free training (arXiv 2410.09734, §4). ``lbe``: local binary error signals
    (arXiv 2412.00119)."""

    GFT = "gft"
    LBE = "lbe"


def _integer(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(f"{name}: {value!r} is not a whole number")


def _integers(name: str, values: object) -> tuple[int, ...]:
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise ConfigError(f"{name}: {values!r} is not a list of whole numbers")
    for index, value in enumerate(values):
        _integer(f"{name}[{index}]", value)
    return tuple(values)


def _member(name: str, kind: type[E], value: Any) -> E:
    try:
        return kind(value)
    except ValueError:
        raise ConfigError(f"{name}: {value!r} is not one of {', '.join(kind)}") from None


def _within(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ConfigError(f"{name}: {value} is outside {low} … {high}")


def _length(name: str, values: tuple[int, ...], expected: int, unit: str) -> None:
    if len(values) != expected:
        raise ConfigError(f"{name}: {len(values)} given, expected {expected} (one per {unit})")


class Network:
    """What follows from a network's rule and its widths ``layers``: ``K[0] … K[L]``, inputs first.

    GFT: the last width is the number of classes, and every row has a bias. LBE: classes are apart, and there is none.
    """

    layers: tuple[int, ...]
    rule: Rule

    @property
    def depth(self) -> int:
        """Number of layers of weights, ``L``."""
        return len(self.layers) - 1

    @property
    def inputs(self) -> int:
        """Input bits, ``K[0]``."""
        return self.layers[0]

    @property
    def rows(self) -> tuple[int, ...]:
        """Rows (neurons) of each layer."""
        return self.layers[1:]

    @property
    def bias(self) -> int:
        """Biases of a row: 1 or 0. It is the last synapse, and its input is always 1."""
        return int(self.rule == Rule.GFT)

    @property
    def synapses(self) -> tuple[int, ...]:
        """Synapses of a row of each layer, the bias included."""
        return tuple(width + self.bias for width in self.layers[:-1])


class Learning(Network):
    """What every rule's configuration says besides: words of 32 synapses, batches, flips to select."""

    batch: int
    epochs: int

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
        """Whole batches of a full run over a training set of ``samples`` (``T`` of the schedule, spec step 7)."""
        return samples * self.epochs // self.batch

    def _check_layers(self, widths: str) -> None:
        """Between 1 and MAX_LAYERS layers of sensible widths; ``widths`` says what they are, for the message."""
        if not 2 <= len(self.layers) <= MAX_LAYERS + 1:
            raise ConfigError(
                f"layers: {len(self.layers)} widths given, expected {widths} (2 to {MAX_LAYERS + 1} numbers)"
            )
        for index, width in enumerate(self.layers):
            _within(f"layers[{index}]", width, 1, MAX_WIDTH)


@dataclass(frozen=True)
class Config(Learning):
    """A network and how it learns by GFT. Invalid values raise :class:`ConfigError` on construction.

    ``layers`` are the widths ``K[0] … K[L]``: inputs, hidden neurons of each hidden layer, classes. Layer ``l`` has
    ``K[l+1]`` rows (neurons) of ``K[l] + 1`` synapses, the last of which is the bias.
    """

    layers: tuple[int, ...]
    precision: Precision = Precision.TERNARY
    batch: int = 256  # samples
    epochs: int = 20
    k0: tuple[int, ...] = ()  # flips selected per batch at the start of the run, one a layer
    margin: int = 16  # a sample teaches while v_t − v_rival ≤ margin
    window: tuple[int, ...] = ()  # |v| a hidden neuron may have and still be taught, one a hidden layer
    dclip: int = 1  # largest |δ| of a hidden neuron
    shift: int | None = 4  # counters lose m >> shift each batch; None: all of it (memory-less)
    mmax: int = 127  # counters saturate at ±mmax
    flip_p256: int = 128  # a selected synapse flips with probability flip_p256 / 256
    seed: int = 1
    rule: Rule = Rule.GFT

    def __post_init__(self) -> None:
        for name in ("layers", "k0", "window"):
            object.__setattr__(self, name, _integers(name, getattr(self, name)))
        for name in ("batch", "epochs", "margin", "dclip", "mmax", "flip_p256", "seed"):
            _integer(name, getattr(self, name))
        if self.shift is not None:
            _integer("shift", self.shift)
            _within("shift", self.shift, 0, 31)
        object.__setattr__(self, "precision", _member("precision", Precision, self.precision))
        object.__setattr__(self, "rule", _member("rule", Rule, self.rule))
        if self.rule != Rule.GFT:
            raise ConfigError(f"rule: {self.rule} has other parameters than {Rule.GFT}")
        self._check_layers("inputs, hidden widths and classes")
        if self.classes < 2:
            raise ConfigError("layers: the last width is the number of classes and must be 2 or more")
        _length("k0", self.k0, self.depth, "layer")
        _length("window", self.window, self.depth - 1, "hidden layer")
        for index, k in enumerate(self.k0):
            _within(f"k0[{index}]", k, 1, 2**31 - 1)
        for index, window in enumerate(self.window):
            _within(f"window[{index}]", window, 0, 2**31 - 1)
        _within("batch", self.batch, 1, 2**31 - 1)
        _within("epochs", self.epochs, 1, 2**31 - 1)
        _within("margin", self.margin, -(2**31), 2**31 - 1)
        _within("dclip", self.dclip, 1, MAX_COUNTER)
        _within("mmax", self.mmax, 1, MAX_COUNTER)
        _within("flip_p256", self.flip_p256, 1, 256)
        _within("seed", self.seed, 0, 2**32 - 1)

    @property
    def classes(self) -> int:
        """Classes, ``K[L]``."""
        return self.layers[-1]

    def schedule(self, index: int, batches: int) -> tuple[int, ...]:
        """Flips to select in each layer at batch ``index`` of ``batches``: ``⌈K0·(T−n)/T⌉`` (spec step 7)."""
        return tuple(-(-k * (batches - index) // batches) for k in self.k0)


@dataclass(frozen=True)
class LbeConfig(Learning):
    """A network and how it learns by LBE. Invalid values raise :class:`ConfigError` on construction.

    ``layers`` are the widths ``K[0] … K[L]``: inputs, then the neurons of each layer. Layer ``l`` has ``K[l+1]`` rows
    (neurons) of ``K[l]`` binary synapses, and a fixed random classifier of its own.
    """

    layers: tuple[int, ...]
    classes: int
    group: tuple[int, ...] = ()  # neurons of which one at most is taught, one number a layer
    margin: tuple[int, ...] = ()  # a layer is taught while y_t − y_rival < margin, one number a layer
    reinforce_p256: int = 2  # a taught synapse is moved away from 0 with probability reinforce_p256 / 256
    mmax: int = 127  # counters saturate at −mmax − 1 and mmax: 2**bits − 1
    epochs: int = 20
    seed: int = 1
    rule: Rule = Rule.LBE

    def __post_init__(self) -> None:
        for name in ("layers", "group", "margin"):
            object.__setattr__(self, name, _integers(name, getattr(self, name)))
        for name in ("classes", "reinforce_p256", "mmax", "epochs", "seed"):
            _integer(name, getattr(self, name))
        object.__setattr__(self, "rule", _member("rule", Rule, self.rule))
        if self.rule != Rule.LBE:
            raise ConfigError(f"rule: {self.rule} has other parameters than {Rule.LBE}")
        self._check_layers("inputs and the neurons of each layer")
        _within("classes", self.classes, 2, MAX_WIDTH)
        _length("group", self.group, self.depth, "layer")
        _length("margin", self.margin, self.depth, "layer")
        for index, group in enumerate(self.group):
            _within(f"group[{index}]", group, 1, 2**31 - 1)
        for index, margin in enumerate(self.margin):
            _within(f"margin[{index}]", margin, -(2**31), 2**31 - 1)
        _within("reinforce_p256", self.reinforce_p256, 0, 256)
        _within("mmax", self.mmax, 1, 127)
        if self.mmax & (self.mmax + 1):
            raise ConfigError(f"mmax: {self.mmax} is not 1, 3, 7, 15, 31, 63 or 127 (counters of 2 to 8 bits)")
        _within("epochs", self.epochs, 1, 2**31 - 1)
        _within("seed", self.seed, 0, 2**32 - 1)

    @property
    def precision(self) -> Precision:
        """Binary: a weight is its counter's sign."""
        return Precision.BINARY

    @property
    def batch(self) -> int:  # type: ignore[override]
        """1: every sample sees the weights the one before left."""
        return 1

    def schedule(self, index: int, batches: int) -> tuple[int, ...]:
        """Nothing is selected at the end of a batch."""
        return ()


AnyConfig = Config | LbeConfig
"""The configuration of either rule; ``config.rule`` says which."""


@dataclass(frozen=True)
class Preset:
    """A named experiment: a data set, how its values become input bits, and the configuration that learns it."""

    summary: str
    dataset: str
    thresholds: tuple[int, ...]
    config: AnyConfig
    augment: Augment = Augment.NONE


PRESETS: dict[str, Preset] = {
    "digits": Preset(
        "8×8 digits, 256-64-10 ternary: the main job, about 97 %",
        "digits",
        (3, 6, 9, 12),
        Config(layers=(256, 64, 10), k0=(164, 26), window=(6,)),
    ),
    "digits-binary": Preset(
        "8×8 digits, 256-64-10 binary, about 96 %",
        "digits",
        (3, 6, 9, 12),
        Config(layers=(256, 64, 10), precision=Precision.BINARY, k0=(49, 8), window=(6,), epochs=40),
    ),
    "digits-small": Preset(
        "8×8 digits, 192-32-10 ternary: fits the block RAM of an iCE40 UP5K, about 95.5 %",
        "digits",
        (4, 8, 12),
        Config(layers=(192, 32, 10), k0=(62, 13), margin=11, window=(5,), epochs=40),
    ),
    "digits-medium": Preset(
        "8×8 digits, 192-48-10 ternary, 6-bit counters: fits the block RAM of an iCE40 HX8K, about 96 %",
        "digits",
        (4, 8, 12),
        Config(layers=(192, 48, 10), batch=128, k0=(93, 20), margin=14, window=(5,), mmax=31, epochs=40),
    ),
    "mnist": Preset(
        "MNIST, 784-256-10 ternary, about 96 %",
        "mnist",
        (128,),
        Config(layers=(784, 256, 10), batch=1024, epochs=15, k0=(803, 41), margin=32, window=(10,), shift=5),
    ),
    "mnist-tiles": Preset(
        "MNIST, pixels in tiles, 784-256-10 ternary, about 96 %: fewer words hold a one",
        "mnist-tiles",
        (128,),
        Config(layers=(784, 256, 10), batch=2048, epochs=15, k0=(1606, 82), margin=32, window=(10,), shift=5),
    ),
    "mnist-25f": Preset(
        "MNIST, pixels in tiles, 784-80-10 ternary: fits the block RAM of an ECP5 25F",
        "mnist-tiles",
        (128,),
        Config(layers=(784, 80, 10), batch=1024, epochs=15, k0=(251, 13), margin=18, window=(10,), shift=5),
    ),
    "mnist-binary": Preset(
        "MNIST, 784-256-10 binary, about 96 %",
        "mnist",
        (128,),
        Config(
            layers=(784, 256, 10),
            precision=Precision.BINARY,
            batch=1024,
            epochs=15,
            k0=(401, 20),
            margin=32,
            window=(10,),
            shift=5,
        ),
    ),
    "mnist-small": Preset(
        "MNIST, pixels in tiles, 784-128-10 binary: fits an iCE40 UP5K, about 94.5 %",
        "mnist-tiles",
        (128,),
        Config(
            layers=(784, 128, 10),
            precision=Precision.BINARY,
            batch=1024,
            epochs=15,
            k0=(201, 10),
            margin=23,
            window=(10,),
            shift=5,
        ),
    ),
    "mnist-wide": Preset(
        "MNIST, images moved at random, 784-480-10 ternary: fits the block RAM of an ECP5 85F, about 97.5 %",
        "mnist",
        (128,),
        Config(
            layers=(784, 480, 10),
            batch=2048,
            epochs=60,
            k0=(754, 38),
            margin=44,
            window=(10,),
            mmax=63,
        ),
        Augment.SHIFT,
    ),
    "digits-lbe": Preset(
        "8×8 digits, 256-128 binary, rule lbe, about 95 %",
        "digits",
        (3, 6, 9, 12),
        LbeConfig(layers=(256, 128), classes=10, group=(32,), margin=(16,)),
    ),
    "digits-lbe-small": Preset(
        "8×8 digits, 192-64 binary, rule lbe, 6-bit counters: fits an iCE40 UP5K, about 94.5 %",
        "digits",
        (4, 8, 12),
        LbeConfig(layers=(192, 64), classes=10, group=(16,), margin=(8,), mmax=31),
    ),
    "mnist-lbe": Preset(
        "MNIST, 784-512 binary, rule lbe, about 93.5 %",
        "mnist",
        (1,),
        LbeConfig(layers=(784, 512), classes=10, group=(32,), margin=(32,), reinforce_p256=1, epochs=8),
    ),
    "mnist-lbe-deep": Preset(
        "MNIST, 784-512-512 binary, rule lbe, about 94 %",
        "mnist",
        (1,),
        LbeConfig(layers=(784, 512, 512), classes=10, group=(32, 32), margin=(64, 64), reinforce_p256=1, epochs=10),
    ),
}
