"""What the votes of GFT gain from their rounding, their memory, K0 and a bound, on the chip's networks.

    python bench/votes.py [--seeds 3] [--data-dir DIR] [digits] [mnist]

Each row changes the chip's rule in one or two points. Rows of whole votes come from the golden model: the chip could
do exactly that. Rows of real votes come from popflip.torch, with the same initial weights, samples and schedule, and
need PyTorch: the loss is either the chip's margin or the cross entropy of the scores, scaled by √(2 / inputs of the
last layer). Printed are the mean test accuracy over the seeds, its distance from the chip's rule, and the spread
(standard deviation) of one seed.

`digits` is the preset, `mnist` the preset with 3 epochs instead of 15. MNIST needs ``--data-dir`` or ``POPFLIP_DATA``;
it is skipped with a message otherwise.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from popflip.devices.golden import GoldenDevice
from popflip.errors import PopflipError
from popflip.experiment import Experiment, prepare
from popflip.golden.common.status import Counts
from popflip.golden.config import Config
from popflip.golden.gft.engine import GftEngine
from popflip.golden.memory.weights import State
from popflip.steps import steps
from popflip.training import accuracy

SEEDS = 3
DATA_SETS = ("digits", "mnist")
MNIST_EPOCHS = 3
HELPS = 0.003
"""Gain in accuracy that counts as one."""


Decay = Callable[[NDArray[np.int16], int], NDArray[np.int16]]
"""Counters at the end of a batch, from those before and SHIFT."""


def to_zero(m: NDArray[np.int16], shift: int) -> NDArray[np.int16]:
    """Counters lose ``|m| >> shift`` of their magnitude: those below ``2^shift`` do not fade."""
    return m - np.sign(m) * (np.abs(m) >> shift)


def to_all(m: NDArray[np.int16], shift: int) -> NDArray[np.int16]:
    """Counters lose ``⌈|m| / 2^shift⌉`` of their magnitude: every counter fades, at least by 1."""
    return m - np.sign(m) * -(-np.abs(m) >> shift)


@dataclass(frozen=True)
class Variant:
    """A row: the parameters of the configuration that it changes, and the votes that it counts.

    ``k0`` is a factor. ``decay`` replaces the golden model's, which rounds ``m >> shift`` down: positive counters below
    ``2^shift`` do not fade, negative ones lose 1. ``votes`` is None for the golden model's whole votes, else a kind of
    :class:`popflip.torch.votes.Votes`; ``loss`` then is ``margin`` or ``cross entropy``.
    """

    name: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    k0: float = 1
    bounded: bool = False
    decay: Decay | None = None
    votes: str | None = None
    loss: str = "margin"

    def config(self, base: Config, seed: int) -> Config:
        """The configuration of one run."""
        k0 = tuple(max(1, round(count * self.k0)) for count in base.k0)
        return replace(base, seed=seed, k0=k0, **self.changes)

    def is_needless(self, base: Config) -> bool:
        """Whether it only sets what ``base`` has already."""
        return bool(self.changes) and self == Variant(self.name, self.changes) and self.config(base, base.seed) == base


ENTROPY = "cross entropy"
BASE = Variant("the chip's rule")
VARIANTS = (
    BASE,
    *(Variant(f"SHIFT {shift}", {"shift": shift}) for shift in (None, 2, 3, 4, 5, 6, 8)),
    *(Variant(f"K0 × {factor:g}", k0=factor) for factor in (0.5, 2, 4)),
    Variant("bounded", bounded=True),
    Variant("bounded, SHIFT 8", {"shift": 8}, bounded=True),
    Variant("MMAX 2047", {"mmax": 2047}),
    Variant("decay towards 0", decay=to_zero),
    Variant("decay of all counters", decay=to_all),
    Variant("MMAX 2047, decay of all counters", {"mmax": 2047}, decay=to_all),
    Variant("real counters", votes="float"),
    *(Variant(f"{ENTROPY}, {votes} votes", votes=votes, loss=ENTROPY) for votes in ("float", "int8", "sign")),
    Variant(f"{ENTROPY}, float votes, SHIFT 8", {"shift": 8}, votes="float", loss=ENTROPY),
    Variant(f"{ENTROPY}, float votes, SHIFT 8, bounded", {"shift": 8}, bounded=True, votes="float", loss=ENTROPY),
)


class VariantEngine(GftEngine):
    """GFT with a bound, which drops votes beyond a weight's end when a batch ends, and another decay."""

    def __init__(self, config: Config, variant: Variant):
        super().__init__(config)
        self.variant = variant

    def end_batch(self, state: State, k: Sequence[int], counts: Counts) -> None:
        weights = state.weights
        if self.variant.bounded:
            for w, m in zip(weights, state.counters, strict=True):
                m[(w != 0) & (np.sign(m) == w)] = 0
        before, counters = list(weights), list(state.counters)
        super().end_batch(state, k, counts)
        decay, shift = self.variant.decay, self.config.shift
        if decay is not None and shift is not None:
            for layer, (w, m) in enumerate(zip(before, counters, strict=True)):
                state.counters[layer] = np.where(weights[layer] == w, decay(m, shift), 0).astype(np.int16)


def whole_votes(experiment: Experiment, config: Config, variant: Variant) -> float:
    """Test accuracy of a run of the golden model."""
    device = GoldenDevice(config, VariantEngine(config, variant))
    total = config.batches(len(experiment.y_train))
    for index, part in steps(len(experiment.y_train), config, 0, total):
        device.train(experiment.x_train[part], experiment.y_train[part])
        device.end_batch(config.schedule(index, total))
    return accuracy(device.infer(experiment.x_test), experiment.y_test)


def real_votes(experiment: Experiment, config: Config, variant: Variant) -> float:
    """Test accuracy of a run in PyTorch with real counters, from the same initial weights and samples."""
    import torch
    from torch.nn.functional import cross_entropy

    from popflip.torch import GFT, GFTLinear, MarginLoss, chip_network

    torch.manual_seed(config.seed)
    network = chip_network(config)
    layers = [module for module in network if isinstance(module, GFTLinear)]
    groups = [{"params": [layer.weight], "k0": k0} for layer, k0 in zip(layers, config.k0, strict=True)]
    total = config.batches(len(experiment.y_train))
    optimiser = GFT(groups, steps=total, shift=config.shift, votes=str(variant.votes), bounded=variant.bounded)
    optimiser.reset(config.seed)
    scale = (2 / config.layers[-2]) ** 0.5
    losses: dict[str, Callable[[Any, Any], Any]] = {
        "margin": MarginLoss(config.margin),
        "cross entropy": lambda v, t: cross_entropy(scale * v, t, reduction="sum"),
    }
    loss = losses[variant.loss]
    x, y = torch.from_numpy(experiment.x_train).float(), torch.from_numpy(experiment.y_train)
    for _, part in steps(len(y), config, 0, total):
        loss(network(x[part]), y[part]).backward()
        optimiser.step()
    with torch.no_grad():
        predicted = network(torch.from_numpy(experiment.x_test).float()).argmax(1).numpy()
    return accuracy(predicted, experiment.y_test)


def load(name: str, data_dir: Path | None, epochs: int) -> Experiment:
    """The samples and the configuration of a data set; ``epochs`` are those of mnist."""
    if name == "digits":
        return prepare(preset="digits")
    return prepare(preset="mnist", data_dir=data_dir, epochs=epochs)


def row(name: str, results: Sequence[float], base: float) -> str:
    """A line: mean, distance from the chip's rule, and spread, in percent and points."""
    mean = statistics.fmean(results)
    spread = statistics.stdev(results) if len(results) > 1 else 0.0
    mark = " *" if mean - base >= HELPS else ""
    return f"{name:46} {mean:8.2%} {100 * (mean - base):+8.2f} {100 * spread:7.2f}{mark}"


def has_torch() -> bool:
    """Whether PyTorch is there; one thread is enough for such networks."""
    try:
        import torch
    except ModuleNotFoundError:
        return False
    torch.set_num_threads(1)
    return True


def table(title: str, experiment: Experiment, seeds: int, variants: Sequence[Variant]) -> None:
    """Print the rows of one data set as they come; the first is the one that the others are compared with."""
    base = experiment.config
    assert isinstance(base, Config)
    layers = "-".join(map(str, base.layers))
    print(f"\n{title}: {layers}, SHIFT {base.shift}, K0 {base.k0}, {seeds} seeds; *: helps by {100 * HELPS:g} points")
    print(f"{'':46} accuracy  against  spread")
    compared = None
    for variant in variants:
        if variant.is_needless(base):
            continue
        results = []
        for seed in range(1, seeds + 1):
            run = whole_votes if variant.votes is None else real_votes
            results.append(run(experiment, variant.config(base, seed), variant))
        compared = statistics.fmean(results) if compared is None else compared
        print(row(variant.name, results, compared), flush=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("datasets", nargs="*", metavar="digits|mnist", help="data sets (both)")
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"runs to average over ({SEEDS})")
    parser.add_argument("--epochs", type=int, default=MNIST_EPOCHS, help=f"epochs of mnist ({MNIST_EPOCHS})")
    parser.add_argument("--only", action="append", metavar="ROW", help="rows besides the first, each by its name (all)")
    parser.add_argument("--data-dir", type=Path, help="folder with mnist/ in it")
    options = parser.parse_args(arguments)
    variants = [each for each in VARIANTS if each is BASE or not options.only or each.name in options.only]
    if not has_torch():
        print("PyTorch is not installed: no rows of real votes (pip install 'popflip[torch]')")
        variants = [each for each in variants if each.votes is None]
    for name in options.datasets or DATA_SETS:
        if name not in DATA_SETS:
            parser.error(f"{name}: not one of {', '.join(DATA_SETS)}")
        try:
            experiment = load(name, options.data_dir, options.epochs)
        except PopflipError as error:
            print(f"{name}: skipped: {error}")
            continue
        table(f"{name}, {experiment.config.epochs} epochs", experiment, options.seeds, variants)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PopflipError as error:
        sys.exit(f"votes: {error}")
