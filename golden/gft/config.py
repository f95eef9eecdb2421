"""Parameters of GFT."""

from __future__ import annotations

from dataclasses import dataclass

from popflip.golden.errors import ConfigError
from popflip.golden.layers import Conv, parse, plain
from popflip.golden.network import (
    MAX_COUNTER,
    MAX_INTEGER,
    Learning,
    Order,
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
class Config(Learning):
    """A network and its parameters under GFT (arXiv 2410.09734). An invalid value raises :class:`ConfigError`.

    ``layers`` are the items of :mod:`popflip.golden.layers`, as a text or a sequence, kept as numbers and texts.
    Numbers alone are the widths ``K[0] … K[L]`` of a dense network: inputs, neurons of each hidden layer, classes. Its
    layer ``l`` has ``K[l+1]`` rows (neurons) of ``K[l] + 1`` synapses; the last one is the bias.
    """

    layers: tuple[int | str, ...]
    precision: Precision = Precision.TERNARY
    batch: int = 256  # samples
    epochs: int = 20
    k0: tuple[int, ...] = ()  # flips selected in the first batch, one a layer
    margin: int = 16  # a sample triggers an update while v_t − v_rival ≤ margin
    window: tuple[int, ...] = ()  # a hidden neuron learns while |v| ≤ window, one a hidden layer
    dclip: int = 1  # largest |δ| of a hidden neuron
    shift: int | None = 4  # a counter m loses m >> shift at the end of a batch; None: all of it (memory-less)
    mmax: int | tuple[int, ...] = ()  # counters saturate at ±mmax, one for all layers or one a layer; (): defaults
    flip_p256: int = 128  # a selected synapse flips with probability flip_p256 / 256
    seed: int = 1
    rule: Rule = Rule.GFT
    order: Order = Order.NUMPY  # of the samples in each epoch

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
        object.__setattr__(self, "order", member("order", Order, self.order))
        if self.rule != Rule.GFT:
            raise ConfigError(f"rule: {self.rule} has other parameters than {Rule.GFT}")
        if self.classes < 2:
            raise ConfigError("layers: the last width is the number of classes and must be 2 or more")
        object.__setattr__(self, "mmax", self._counters())
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

    @property
    def classes(self) -> int:
        """Classes: rows of the last layer."""
        return self.plan[-1].rows

    def schedule(self, index: int, batches: int) -> tuple[int, ...]:
        """Synapses to select in each layer in batch ``n = index``, from 0, of ``T = batches``: ``⌈K0·(T−n)/T⌉``."""
        return tuple(-(-k * (batches - index) // batches) for k in self.k0)

    def _counters(self) -> int | tuple[int, ...]:
        """``mmax`` checked: one number if it is the same in all layers."""
        if self.mmax == () or self.mmax is None:
            values = tuple(CONV_MMAX if isinstance(item, Conv) else DENSE_MMAX for item in parse(self.layers)[1:])
        elif isinstance(self.mmax, int):
            check_integer("mmax", self.mmax)
            check_within("mmax", self.mmax, 1, MAX_COUNTER)
            return self.mmax
        else:
            values = integers("mmax", self.mmax)
            if len(values) != 1:
                check_length("mmax", values, self.depth, "layer")
            check_all_within("mmax", values, 1, MAX_COUNTER)
        return values[0] if len(set(values)) == 1 else values
