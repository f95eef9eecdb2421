"""Test accuracy of rule lbe on digits, MNIST, and two data sets of its paper; by counter width.

    python bench/lbe.py [TASK …] [--bits 8,7,6] [--seeds N] [--epochs N] [--data-dir D]

Each number is the mean of runs with seeds 1, 2, … on the same data, on the golden model. ``to compare with`` is the
result of arXiv 2412.00119 for two hidden layers of that width (50 epochs, mean of 10), or that of an independent
integer implementation of the rule. MNIST and Fashion-MNIST are read from ``D`` or ``$POPFLIP_DATA``, in ``mnist/`` and
``fashion-mnist/``, and skipped if neither is given; nothing is downloaded.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from popflip.devices.golden import GoldenDevice
from popflip.errors import ConfigError, PopflipError
from popflip.experiment import Experiment, prepare
from popflip.training import accuracy, train

BITS = (8, 7, 6)
SEEDS = 3
PROTOTYPES: dict[str, Any] = {"rule": "lbe", "dataset": "prototypes", "epochs": 10, "reinforce_p256": 8}
"""Chosen on other prototypes, of seed 101: samples this noisy need more reinforcement and a larger margin."""
FASHION: dict[str, Any] = {
    "rule": "lbe",
    "dataset": "fashion-mnist",
    "thresholds": (32, 96, 160, 224),
    "reinforce_p256": 1,
}

TASKS: dict[str, tuple[dict[str, Any], str]] = {
    "prototypes-35": (PROTOTYPES | {"layers": (1000, 35, 35), "group": 7, "margin": 12}, "79.1 (paper)"),
    "prototypes-35-near": (
        PROTOTYPES | {"layers": (1000, 35, 35), "group": 7, "margin": 12, "near": 20},
        "79.1 (paper)",
    ),
    "prototypes-525": (PROTOTYPES | {"layers": (1000, 525, 525), "margin": 130}, "94.8 (paper)"),
    "fashion-35": (FASHION | {"layers": (3136, 35, 35), "group": 7, "margin": 12, "epochs": 8}, "82.2 (paper)"),
    "fashion-525": (FASHION | {"layers": (3136, 525, 525), "margin": 130, "epochs": 10}, "86.6 (paper)"),
    "digits": ({"preset": "digits-lbe"}, "95.3 (seed 1)"),
    "mnist": ({"preset": "mnist-lbe"}, "93.5 (seed 1)"),
    "mnist-deep": ({"preset": "mnist-lbe-deep"}, "94.2 (one seed)"),
}
"""Name: parameters of the experiment, and a published result to compare that of 8-bit counters with."""

DOWNLOADED = {"mnist": ("MNIST", "mnist"), "fashion": ("Fashion-MNIST", "fashion-mnist")}


def learn(experiment: Experiment, bits: int, seeds: int, epochs: int | None) -> list[float]:
    """Test accuracy in percent with counters of ``bits`` bits, for each seed."""
    results = []
    for seed in range(1, seeds + 1):
        config = replace(experiment.config, mmax=2 ** (bits - 1) - 1, seed=seed)
        if epochs is not None:
            config = replace(config, epochs=epochs)
        device = GoldenDevice(config)
        train(device, experiment.x_train, experiment.y_train)
        results.append(100 * accuracy(device.infer(experiment.x_test), experiment.y_test))
    return results


def summary(results: Sequence[float]) -> str:
    """Mean and range of the runs."""
    return f"{sum(results) / len(results):.2f} ({min(results):.2f} – {max(results):.2f})"


def line(cells: Sequence[str]) -> str:
    """A line of the table."""
    return "| " + " | ".join(cells) + " |"


def measure(name: str, bits: Sequence[int], options: argparse.Namespace) -> str:
    """Measure a task, and return its line of the table."""
    parameters, compare_with = TASKS[name]
    experiment = prepare(**parameters, data_dir=options.data_dir)
    config = experiment.config
    started = time.perf_counter()
    results = [summary(learn(experiment, width, options.seeds, options.epochs)) for width in bits]
    network = "-".join(map(str, config.layers))
    learning = f"group {_each(config.group)}, margin {_each(config.margin)}, n {config.reinforce_p256}"
    epochs = config.epochs if options.epochs is None else options.epochs
    seconds = f"{time.perf_counter() - started:.0f}"
    return line((name, network, learning, str(epochs), *results, compare_with, seconds))


def _each(values: Sequence[int]) -> str:
    """The numbers of all layers; one number if they are equal."""
    return ", ".join(map(str, values if len(set(values)) > 1 else values[:1]))


def _bits(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Test accuracy of rule lbe on the golden model.")
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=f"tasks out of {', '.join(TASKS)} (all)")
    parser.add_argument("--bits", type=_bits, default=BITS, help="widths of the counters, 2 to 8 (8,7,6)")
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"runs to average ({SEEDS})")
    parser.add_argument("--epochs", type=int, help="epochs of every run, instead of the task's")
    parser.add_argument("--data-dir", type=Path, help="folder with mnist/ and fashion-mnist/, for $POPFLIP_DATA")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.tasks if name not in TASKS]:
        raise ConfigError(f"{unknown[0]}: not one of {', '.join(TASKS)}")
    widths = tuple(f"{width} bits" for width in options.bits)
    head = ("task", "network", "parameters", "epochs", *widths, "to compare with", "seconds")
    print(f"Test accuracy in percent: mean (lowest – highest) of {options.seeds} seeds.\n")
    print(line(head), line(["---"] * len(head)), sep="\n", flush=True)
    for name in options.tasks or TASKS:
        task = name.split("-")[0]
        if task in DOWNLOADED and options.data_dir is None and not os.environ.get("POPFLIP_DATA"):
            what, folder = DOWNLOADED[task]
            print(f"{name}: skipped: needs {what}; give --data-dir D or POPFLIP_DATA=D, where D holds {folder}/")
            continue
        print(measure(name, options.bits, options), flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PopflipError as error:
        sys.exit(f"lbe: {error}")
