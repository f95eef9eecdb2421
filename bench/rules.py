"""The two learning rules compared on the same data, array and board.

    python bench/rules.py [--seeds N] [--points N] [--rows P] [--synapses N] [--builds DIR] [PRESET …]

Accuracy, and the share of samples that trigger an update, come from the golden model: whole runs, the mean of the first
seeds. Cycles are the simulated chip's: at evenly spaced points of the first seed's run it loads the golden model's
state, learns the next step (a batch, or LBE's 256 samples) and must arrive at the same bits. ``--builds DIR`` also
prints cells and memories, from all reports of ``popflip build`` in DIR and its subfolders.

MNIST needs ``--data-dir`` or ``POPFLIP_DATA``; its presets are skipped with a message otherwise.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from popflip.devices.base import Device
from popflip.devices.open import open_device
from popflip.errors import ConfigError, PopflipError
from popflip.experiment import Experiment, prepare
from popflip.golden.config import AnyConfig, Precision, Rule
from popflip.golden.presets import PRESETS
from popflip.hw.config import ChipConfig
from popflip.steps import batch_name, sample_order, steps
from popflip.training import accuracy
from popflip.verification import compare

COMPARED = ("digits", "digits-binary", "digits-lbe", "digits-small", "digits-lbe-small", "mnist", "mnist-lbe")
ROWS, SYNAPSES = 4, 32
SEEDS = 3
POINTS = 8

COLUMNS = (
    ("preset", 17),
    ("rule", 4),
    ("network", 18),
    ("accuracy", 8),
    ("updates", 7),
    ("synapses", 8),
    ("bits each", 9),
    ("kbit of state", 13),
    ("cycles a sample", 15),
)


def synapses(config: AnyConfig) -> int:
    """Synapses of all layers."""
    return sum(rows * count for rows, count in zip(config.rows, config.synapses, strict=True))


def synapse_bits(config: AnyConfig) -> int:
    """Bits of a synapse on the chip: weight and counter."""
    weight = 2 if config.precision == Precision.TERNARY else 1
    return weight + config.mmax.bit_length() + 1


def state_bits(config: AnyConfig) -> int:
    """Bits that learning keeps, including LBE's fixed classifiers."""
    classifiers = config.classes * sum(config.rows) if config.rule == Rule.LBE else 0
    return synapses(config) * synapse_bits(config) + classifiers


@dataclass(frozen=True)
class Learned:
    """Whole runs of the golden model: test accuracy, and share of samples with an update; means over the seeds."""

    accuracy: float
    updates: float


def learn(experiment: Experiment, seeds: int) -> Learned:
    """Train the golden model with seeds 1, 2, …"""
    right = updates = 0.0
    for seed in range(1, seeds + 1):
        config = replace(experiment.config, seed=seed)
        with open_device("golden", config) as golden:
            golden.reset()
            total = config.batches(len(experiment.y_train))
            for index, step in steps(len(experiment.y_train), config, 0, total):
                golden.train(experiment.x_train[step], experiment.y_train[step])
                golden.end_batch(config.schedule(index, total))
            right += accuracy(golden.infer(experiment.x_test), experiment.y_test)
            status = golden.status()
            updates += status.errors / status.samples
    return Learned(right / seeds, updates / seeds)


def cycles_per_sample(experiment: Experiment, golden: Device, chip: Device, points: int) -> float:
    """Cycles per sample on ``chip``: the mean of ``points`` steps of the whole run, which ``golden`` makes."""
    config, x, y = experiment.config, experiment.x_train, experiment.y_train
    total = config.batches(len(y))
    count = sum(1 for _ in sample_order(len(y), config))
    measured = {count * (2 * point + 1) // (2 * points) for point in range(points)}
    samples = cycles = 0
    golden.reset()
    for number, (index, step) in enumerate(steps(len(y), config, 0, total)):
        k = config.schedule(index, total)
        if number in measured:
            chip.load(golden.state(), golden.status())
            before = chip.status().cycles
            chip.train(x[step], y[step])
            chip.end_batch(k)
            after = chip.status()
            assert before is not None and after.cycles is not None
            cycles += after.cycles["total"] - before["total"]
            samples += len(step)
        golden.train(x[step], y[step])
        golden.end_batch(k)
        if number in measured:
            compare(chip, golden, after, batch_name(config))
    return cycles / samples


def to_stderr(line: str) -> None:
    """Report progress outside the table."""
    print(line, file=sys.stderr)


def row(preset: str, config: AnyConfig, learned: Learned, cycles: float) -> tuple[str, ...]:
    """The cells of :data:`COLUMNS`."""
    return (
        preset,
        config.rule.value,
        f"{'-'.join(map(str, config.layers))} {config.precision.value}",
        f"{learned.accuracy:.2%}",
        f"{learned.updates:.1%}",
        str(synapses(config)),
        str(synapse_bits(config)),
        f"{state_bits(config) / 1000:.1f}",
        f"{cycles:.1f}",
    )


def line(cells: tuple[str, ...]) -> str:
    """A line of the table, right-aligned."""
    return " ".join(cell.rjust(width) for cell, (_, width) in zip(cells, COLUMNS, strict=True))


def builds(folder: Path) -> list[str]:
    """A line for each build report in ``folder``."""
    lines = []
    for path in sorted(folder.rglob("*.json")):
        report: dict[str, Any] = json.loads(path.read_text())
        if "uses" not in report:
            continue
        used = ", ".join(f"{use['used']} {name.replace('_', ' ')}" for name, use in report["uses"].items())
        reached = min(clock["fmax_mhz"] for clock in report["clocks"].values())
        network = "-".join(map(str, report["layers"]))
        array = f"{report['rows']}×{report['synapses']}"
        lines.append(
            f"{report['board']}, {report.get('rule', 'gft')}, {network} {report['precision']}, {array}: {used}; "
            f"{reached} MHz"
        )
    return lines


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="The two learning rules compared.")
    parser.add_argument("presets", nargs="*", metavar="PRESET", help=f"presets to compare ({', '.join(COMPARED)})")
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"runs to average the accuracy over ({SEEDS})")
    parser.add_argument("--points", type=int, default=POINTS, help=f"steps whose cycles are counted ({POINTS})")
    parser.add_argument("--rows", type=int, default=ROWS, help=f"rows of the array ({ROWS})")
    parser.add_argument("--synapses", type=int, default=SYNAPSES, help=f"synapses of the array ({SYNAPSES})")
    parser.add_argument("--data-dir", type=Path, help="folder with mnist/ in it")
    parser.add_argument("--builds", type=Path, help="folder with reports of popflip build")
    options = parser.parse_args(arguments)
    print(f"Cycles on an array of {options.rows} × {options.synapses}; accuracy: mean of {options.seeds} seeds.")
    print(line(tuple(name for name, _ in COLUMNS)))
    for preset in options.presets or COMPARED:
        if preset not in PRESETS:
            raise ConfigError(f"{preset}: not one of {', '.join(PRESETS)}")
        try:
            experiment = prepare(preset=preset, data_dir=options.data_dir)
        except PopflipError as error:
            print(f"{preset}: skipped: {error}")
            continue
        learned = learn(experiment, options.seeds)
        config = experiment.config
        chip = ChipConfig.of(config, options.rows, options.synapses)
        with open_device("golden", config) as golden, open_device("sim", config, chip, announce=to_stderr) as device:
            cycles = cycles_per_sample(experiment, golden, device, options.points)
        print(line(row(preset, experiment.config, learned, cycles)), flush=True)
    if options.builds:
        print("\n".join(builds(options.builds)))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PopflipError as error:
        sys.exit(f"rules: {error}")
