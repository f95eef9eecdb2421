"""Parameters of GFT for a network with convolutional layers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from popflip.golden.errors import ConfigError
from popflip.golden.layers import Layer, Planes, parse, plain, plan
from popflip.golden.network import (
    MAX_COUNTER,
    MAX_INTEGER,
    Learning,
    Precision,
    Rule,
    check_all_within,
    check_integer,
    check_length,
    check_within,
    integers,
    member,
)

CONV_MMAX = 32_767  # a row votes at every position, so its counters go farther
DENSE_MMAX = 127


@dataclass(frozen=True)
class ConvConfig(Learning):
    """A network of convolutional and dense layers and its parameters under GFT. An invalid value raises
    :class:`ConfigError`.

    ``layers`` are the items of :mod:`popflip.golden.layers`, as a text or a sequence; kept as numbers and texts.
    """

    layers: tuple[int | str, ...]  # type: ignore[assignment]
    precision: Precision = Precision.TERNARY
    batch: int = 256  # samples
    epochs: int = 20
    k0: tuple[int, ...] = ()  # flips selected in the first batch, one a layer
    margin: int = 16  # a sample triggers an update while v_t − v_rival ≤ margin
    window: tuple[int, ...] = ()  # a hidden neuron learns while |v| ≤ window, one a hidden layer
    dclip: int = 1  # largest |δ| of a hidden neuron
    shift: int | None = 4  # a counter m loses m >> shift at the end of a batch; None: all of it (memory-less)
    mmax: int | tuple[int, ...] = ()  # counters saturate at ±mmax, one for all layers or one a layer
    flip_p256: int = 128  # a selected synapse flips with probability flip_p256 / 256
    seed: int = 1
    rule: Rule = Rule.GFT

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", plain(parse(self.layers)))
        for name in ("k0", "window"):
            object.__setattr__(self, name, integers(name, getattr(self, name)))
        for name in ("batch", "epochs", "margin", "dclip", "flip_p256", "seed"):
            check_integer(name, getattr(self, name))
        if self.shift is not None:
            check_integer("shift", self.shift)
            check_within("shift", self.shift, 0, 31)
        object.__setattr__(self, "precision", member("precision", Precision, self.precision))
        object.__setattr__(self, "rule", member("rule", Rule, self.rule))
        if self.rule != Rule.GFT:
            raise ConfigError(f"rule: {self.rule} has other parameters than {Rule.GFT}")
        if self.classes < 2:
            raise ConfigError("layers: the last width is the number of classes and must be 2 or more")
        object.__setattr__(self, "mmax", _counters(self.mmax, self.plan))
        check_length("k0", self.k0, self.depth, "layer")
        check_length("window", self.window, self.depth - 1, "hidden layer")
        check_all_within("k0", self.k0, 1, MAX_INTEGER)
        check_all_within("window", self.window, 0, MAX_INTEGER)
        check_within("batch", self.batch, 1, MAX_INTEGER)
        check_within("epochs", self.epochs, 1, MAX_INTEGER)
        check_within("margin", self.margin, -(2**31), MAX_INTEGER)
        check_within("dclip", self.dclip, 1, MAX_COUNTER)
        check_within("flip_p256", self.flip_p256, 1, 256)
        check_within("seed", self.seed, 0, 2**32 - 1)

    @cached_property
    def plan(self) -> tuple[Layer, ...]:
        """The layers, each in its place."""
        return plan(parse(self.layers))

    @property
    def image(self) -> Planes:
        """The input image; of a dense network, one pixel."""
        first = parse(self.layers[:1])[0]
        return first if isinstance(first, Planes) else self.plan[0].inputs

    @property
    def inputs(self) -> int:
        """Input bits."""
        return self.image.size

    @property
    def rows(self) -> tuple[int, ...]:
        """Rows of each layer."""
        return tuple(layer.rows for layer in self.plan)

    @property
    def synapses(self) -> tuple[int, ...]:
        """Synapses of a row of each layer, the bias of a dense layer included."""
        return tuple(layer.synapses for layer in self.plan)

    @property
    def classes(self) -> int:
        """Classes: rows of the last layer."""
        return self.plan[-1].rows

    @property
    def mmaxes(self) -> tuple[int, ...]:
        """``mmax`` of each layer."""
        return self.mmax if isinstance(self.mmax, tuple) else (self.mmax,) * self.depth

    def schedule(self, index: int, batches: int) -> tuple[int, ...]:
        """Synapses to select in each layer in batch ``n = index``, from 0, of ``T = batches``: ``⌈K0·(T−n)/T⌉``."""
        return tuple(-(-k * (batches - index) // batches) for k in self.k0)


def _counters(mmax: object, layers: tuple[Layer, ...]) -> int | tuple[int, ...]:
    """``mmax`` checked: one number for all ``layers``, or one for each; empty: the default of each layer."""
    if mmax == () or mmax is None:
        return tuple(DENSE_MMAX if layer.bias else CONV_MMAX for layer in layers)
    if isinstance(mmax, int):
        check_integer("mmax", mmax)
        check_within("mmax", mmax, 1, MAX_COUNTER)
        return mmax
    values = integers("mmax", mmax)
    check_length("mmax", values, len(layers), "layer")
    check_all_within("mmax", values, 1, MAX_COUNTER)
    return values
