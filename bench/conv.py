"""Convolutional networks beside dense ones: accuracy, size, and the samples that trigger an update.

    python bench/conv.py [NET …] [--dataset NAME] [--seeds 1,2,3] [--epochs N] [--augment none|shift]
                         [--thresholds N,N,…] [--mmax N,N,…] [--margin N] [--batch N] [--precision P]
                         [--board NAME] [--data-dir DIR]

A NET is a preset's name or layers, such as ``28x28,c16k5p2,c32k5s2,10``; without any, a list for the data set (digits,
mnist or fashion-mnist; by default that of the first NET, or digits). The golden model makes whole runs, one seed after
the other, on one thread: those of ``popflip train`` with the same parameters. A preset on its own data keeps its
parameters; for any other network, rules of thumb choose them. The options replace those of every network: what a pool,
a stride, a threshold, a counter or moving images bring is the difference between two lines.

``moved``: training images move by a pixel (``--augment shift``). ``state``: the bits that learning keeps, weights and
counters. ``products``: multiply-adds of a forward pass. ``updates``: the share of training samples that trigger one,
over the whole run. Accuracy is the test's: the mean, and each seed's. Seconds are processor time of a run. ``--board``
adds the cycles of a training sample on the chip of its fit, and the samples a second at the fit's clock: those that
``popflip estimate`` expects, of every twentieth batch of the first seed's run; only for presets of which it has a fit.
MNIST and Fashion-MNIST come from ``DIR`` or ``$POPFLIP_DATA``.
"""

from __future__ import annotations

import argparse
import os

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # read when NumPy is loaded
    os.environ.setdefault(threads, "1")

import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Sequence  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from popflip import constraints  # noqa: E402
from popflip.constraints.base import Board  # noqa: E402
from popflip.devices.golden import GoldenDevice  # noqa: E402
from popflip.errors import PopflipError  # noqa: E402
from popflip.estimation.cycles import cycles_of  # noqa: E402
from popflip.estimation.workload import Counter  # noqa: E402
from popflip.experiment import Experiment, prepare  # noqa: E402
from popflip.golden.config import AnyConfig, Config, Precision  # noqa: E402
from popflip.golden.gft.engine import GftEngine  # noqa: E402
from popflip.golden.presets import PRESETS  # noqa: E402
from popflip.hw.config import ChipConfig  # noqa: E402
from popflip.training import accuracy, run  # noqa: E402

SEEDS = (1, 2, 3)
NETS = {
    "digits": ("digits", "digits-conv", "8x8x4,c8k3,c16k3s2,10"),
    "mnist": ("mnist", "mnist-conv-25f", "mnist-conv", "mnist-conv-flat", "mnist-conv-wide"),
    "fashion-mnist": ("784,256,10", "fashion-conv"),
}
PUBLISHED = {
    "mnist": (
        "97.6: convolutional Tsetlin machine, Zynq ZU7, 40,000 trained samples/s at 50 MHz",
        "97.83: convolutional Tsetlin machine, a chip of 65 nm",
    ),
    "fashion-mnist": (
        "84.1: convolutional Tsetlin machine, Zynq ZU7",
        "86.6: rule LBE in software (arXiv 2412.00119)",
    ),
}
"""Test accuracy in percent of others who train on a chip, and of rule LBE's paper."""
COUNTED = 20  # of so many batches, one is counted for a chip's cycles
HEAD = ("network", "epochs", "synapses", "state", "products", "updates", "accuracy", "seeds", "seconds")


@dataclass(frozen=True)
class Result:
    """A run: test accuracy, share of training samples with an update, processor time in seconds, and the cycles of a
    training sample on a chip."""

    accuracy: float
    updates: float
    seconds: float
    cycles: float | None = None


def experiment_of(net: str, seed: int, options: argparse.Namespace) -> Experiment:
    """The experiment of a preset, or of layers, on the data set of the options."""
    given: dict[str, Any] = {"preset": net} if net in PRESETS else {"layers": net}
    for name in ("dataset", "epochs", "augment", "thresholds", "mmax", "margin", "batch", "precision", "data_dir"):
        if getattr(options, name) is not None:
            given[name] = getattr(options, name)
    return prepare(**given, seed=seed)


def chip_of(net: str, config: AnyConfig, board: Board | None) -> ChipConfig | None:
    """The chip of the board's fit for a preset; None if it has none."""
    if board is None or all(fit.preset != net for fit in board.fits):
        return None
    return board.chip(board.fit(net), config)


def speed(net: str, result: Result, board: Board) -> tuple[str, str]:
    """Cycles of a training sample on a chip, and samples a second at the clock of its fit."""
    if result.cycles is None:
        return "–", "–"
    return f"{result.cycles:,.1f}", f"{board.fit(net).clock_hz / result.cycles:,.0f}"


def learn(experiment: Experiment, chip: ChipConfig | None = None) -> Result:
    """A whole run of the golden model; with a ``chip``, its cycles too."""
    config, counter = experiment.config, None
    if chip is not None:
        assert isinstance(config, Config)
        counter = Counter(config, COUNTED)
    device = GoldenDevice(config, GftEngine(config, counter) if counter else None)
    started = time.process_time()
    run(device, experiment.training_samples, experiment.y_train)
    seconds = time.process_time() - started
    status = device.status()
    found = accuracy(device.infer(experiment.x_test), experiment.y_test)
    cycles = None
    if counter is not None:
        total = cycles_of(chip, counter.work())
        cycles = total.total / total.samples
    return Result(found, status.errors / status.samples, seconds, cycles)


def synapses(config: AnyConfig) -> int:
    """Synapses of all layers."""
    return sum(layer.rows * layer.synapses for layer in config.plan)


def state_bits(config: AnyConfig) -> int:
    """Bits of all weights and counters."""
    weight = 2 if config.precision == Precision.TERNARY else 1
    return sum(
        layer.rows * layer.synapses * (weight + mmax.bit_length() + 1)
        for layer, mmax in zip(config.plan, config.mmaxes, strict=True)
    )


def multiply_adds(config: AnyConfig) -> int:
    """Multiply-adds of a forward pass."""
    return sum(layer.positions * layer.rows * layer.synapses for layer in config.plan)


def line(cells: Sequence[str]) -> str:
    """A line of the table."""
    return "| " + " | ".join(cells) + " |"


def row(experiment: Experiment, results: Sequence[Result]) -> tuple[str, ...]:
    """The cells of :data:`HEAD`."""
    config, count = experiment.config, len(results)
    return (
        f"{','.join(map(str, config.layers))} {config.precision.value}" + (", moved" if experiment.images else ""),
        str(config.epochs),
        f"{synapses(config):,}",
        f"{state_bits(config) / 1000:,.0f} kbit",
        f"{multiply_adds(config) / 1e6:.2f} M",
        f"{sum(result.updates for result in results) / count:.1%}",
        f"{sum(result.accuracy for result in results) / count:.2%}",
        " ".join(f"{result.accuracy:.2%}" for result in results),
        f"{sum(result.seconds for result in results) / count:.0f}",
    )


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Convolutional networks beside dense ones, on the golden model.")
    parser.add_argument("nets", nargs="*", metavar="NET", help="presets or layers (a list for the data set)")
    parser.add_argument("--dataset", choices=NETS, help="data set of all networks (the first preset's, or digits)")
    parser.add_argument("--seeds", type=_numbers, default=SEEDS, metavar="N,N,…", help="seeds of the runs (1,2,3)")
    parser.add_argument("--epochs", type=int, help="epochs of every run")
    parser.add_argument("--augment", choices=("none", "shift"), help="whether training images move")
    parser.add_argument("--thresholds", type=_numbers, metavar="N,N,…", help="thresholds of a pixel")
    parser.add_argument("--mmax", type=_numbers, metavar="N,N,…", help="saturation of the counters of each layer")
    parser.add_argument("--margin", type=int, help="MARGIN of all networks")
    parser.add_argument("--batch", type=int, help="samples of a batch")
    parser.add_argument("--precision", choices=[each.value for each in Precision], help="binary or ternary weights")
    parser.add_argument("--board", help="adds cycles and speed of the chips of this board's fits")
    parser.add_argument("--data-dir", type=Path, help="folder with mnist/ or fashion-mnist/ in it")
    options = parser.parse_args(arguments)
    if options.dataset is None:
        own = PRESETS.get(options.nets[0]) if options.nets else None
        options.dataset = "digits" if own is None else own.dataset
    return options


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    print(f"{options.dataset}, seeds {', '.join(map(str, options.seeds))}\n")
    board = constraints.board(options.board) if options.board else None
    head = HEAD + (("cycles a sample", "trained samples/s") if board else ())
    print(line(head), line(["---"] * len(head)), sep="\n", flush=True)
    for net in options.nets or NETS[options.dataset]:
        experiments = [experiment_of(net, seed, options) for seed in options.seeds]
        chips = [chip_of(net, experiments[0].config, board), *(None for _ in experiments[1:])]
        results = [learn(*each) for each in zip(experiments, chips, strict=True)]
        print(line(row(experiments[0], results) + (speed(net, results[0], board) if board else ())), flush=True)
    if published := PUBLISHED.get(options.dataset):
        print("\npublished:", *(f"- {text}" for text in published), sep="\n")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PopflipError as error:
        sys.exit(f"conv: {error}")
