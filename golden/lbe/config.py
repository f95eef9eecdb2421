"""Parameters of LBE."""

from __future__ import annotations

from dataclasses import dataclass

from popflip.golden.errors import ConfigError
from popflip.golden.layers import MAX_LAYERS, MAX_WIDTH
from popflip.golden.network import (
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


@dataclass(frozen=True)
class LbeConfig(Learning):
    """A network and its parameters under LBE (arXiv 2412.00119). An invalid value raises :class:`ConfigError`.

    ``layers`` are the widths ``K[0] … K[L]``: inputs, then the neurons of each layer. Layer ``l`` has ``K[l+1]`` rows
    (neurons) of ``K[l]`` binary synapses, and its own fixed random classifier.
    """

    layers: tuple[int, ...]
    classes: int
    group: tuple[int, ...] = ()  # at most one neuron of each group is updated, one size a layer
    margin: tuple[int, ...] = ()  # a layer is updated while y_t − y_rival < margin, one a layer
    near: tuple[int, ...] = ()  # a right neuron with |z| < near wins a group without a wrong one; by default 0
    reinforce_p256: int = 2  # an updated counter moves away from 0 with probability reinforce_p256 / 256
    mmax: int = 127  # counters saturate at −mmax − 1 and mmax: 2**bits − 1
    epochs: int = 20
    seed: int = 1
    rule: Rule = Rule.LBE
    order: Order = Order.NUMPY  # of the samples in each epoch

    def __post_init__(self) -> None:
        for name in ("layers", "group", "margin", "near"):
            object.__setattr__(self, name, integers(name, getattr(self, name)))
        for name in ("classes", "reinforce_p256", "mmax", "epochs", "seed"):
            check_integer(name, getattr(self, name))
        object.__setattr__(self, "rule", member("rule", Rule, self.rule))
        object.__setattr__(self, "order", member("order", Order, self.order))
        if self.rule != Rule.LBE:
            raise ConfigError(f"rule: {self.rule} has other parameters than {Rule.LBE}")
        if not 2 <= len(self.layers) <= MAX_LAYERS + 1:
            raise ConfigError(
                f"layers: {len(self.layers)} widths given, expected inputs and the neurons of each layer (2 to "
                f"{MAX_LAYERS + 1} numbers)"
            )
        check_all_within("layers", self.layers, 1, MAX_WIDTH)
        check_within("classes", self.classes, 2, MAX_WIDTH)
        object.__setattr__(self, "near", self.near or (0,) * self.depth)
        check_length("group", self.group, self.depth, "layer")
        check_length("margin", self.margin, self.depth, "layer")
        check_length("near", self.near, self.depth, "layer")
        check_all_within("group", self.group, 1, MAX_INTEGER)
        check_all_within("margin", self.margin, -(2**31), MAX_INTEGER)
        check_all_within("near", self.near, 0, MAX_INTEGER)
        check_within("reinforce_p256", self.reinforce_p256, 0, 256)
        check_within("mmax", self.mmax, 1, 127)
        if self.mmax & (self.mmax + 1):
            raise ConfigError(f"mmax: {self.mmax} is not 1, 3, 7, 15, 31, 63 or 127 (counters of 2 to 8 bits)")
        check_within("epochs", self.epochs, 1, MAX_INTEGER)
        check_within("seed", self.seed, 0, 2**32 - 1)

    @property
    def precision(self) -> Precision:
        """Binary: a weight is its counter's sign."""
        return Precision.BINARY

    @property
    def batch(self) -> int:  # type: ignore[override]
        """1: every sample uses the weights that the previous one left."""
        return 1

    def schedule(self, index: int, batches: int) -> tuple[int, ...]:
        """Empty: LBE selects nothing at the end of a batch."""
        return ()
