"""Parameters of GFT."""

from __future__ import annotations

from dataclasses import dataclass

from popflip.golden.errors import ConfigError
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


@dataclass(frozen=True)
class Config(Learning):
    """A network and its parameters under GFT (arXiv 2410.09734). An invalid value raises :class:`ConfigError`.

    ``layers`` are the widths ``K[0] … K[L]``: inputs, neurons of each hidden layer, classes. Layer ``l`` has ``K[l+1]``
    rows (neurons) of ``K[l] + 1`` synapses; the last one is the bias.
    """

    layers: tuple[int, ...]
    precision: Precision = Precision.TERNARY
    batch: int = 256  # samples
    epochs: int = 20
    k0: tuple[int, ...] = ()  # flips selected in the first batch, one a layer
    margin: int = 16  # a sample triggers an update while v_t − v_rival ≤ margin
    window: tuple[int, ...] = ()  # a hidden neuron learns while |v| ≤ window, one a hidden layer
    dclip: int = 1  # largest |δ| of a hidden neuron
    shift: int | None = 4  # a counter m loses m >> shift at the end of a batch; None: all of it (memory-less)
    mmax: int = 127  # counters saturate at ±mmax
    flip_p256: int = 128  # a selected synapse flips with probability flip_p256 / 256
    seed: int = 1
    rule: Rule = Rule.GFT

    def __post_init__(self) -> None:
        for name in ("layers", "k0", "window"):
            object.__setattr__(self, name, integers(name, getattr(self, name)))
        for name in ("batch", "epochs", "margin", "dclip", "mmax", "flip_p256", "seed"):
            check_integer(name, getattr(self, name))
        if self.shift is not None:
            check_integer("shift", self.shift)
            check_within("shift", self.shift, 0, 31)
        object.__setattr__(self, "precision", member("precision", Precision, self.precision))
        object.__setattr__(self, "rule", member("rule", Rule, self.rule))
        if self.rule != Rule.GFT:
            raise ConfigError(f"rule: {self.rule} has other parameters than {Rule.GFT}")
        self._check_layers("inputs, hidden widths and classes")
        if self.classes < 2:
            raise ConfigError("layers: the last width is the number of classes and must be 2 or more")
        check_length("k0", self.k0, self.depth, "layer")
        check_length("window", self.window, self.depth - 1, "hidden layer")
        check_all_within("k0", self.k0, 1, MAX_INTEGER)
        check_all_within("window", self.window, 0, MAX_INTEGER)
        check_within("batch", self.batch, 1, MAX_INTEGER)
        check_within("epochs", self.epochs, 1, MAX_INTEGER)
        check_within("margin", self.margin, -(2**31), MAX_INTEGER)
        check_within("dclip", self.dclip, 1, MAX_COUNTER)
        check_within("mmax", self.mmax, 1, MAX_COUNTER)
        check_within("flip_p256", self.flip_p256, 1, 256)
        check_within("seed", self.seed, 0, 2**32 - 1)

    @property
    def classes(self) -> int:
        """Classes, ``K[L]``."""
        return self.layers[-1]

    def schedule(self, index: int, batches: int) -> tuple[int, ...]:
        """Synapses to select in each layer in batch ``n = index``, from 0, of ``T = batches``: ``⌈K0·(T−n)/T⌉``."""
        return tuple(-(-k * (batches - index) // batches) for k in self.k0)
