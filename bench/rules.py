"""The two learning rules side by side: the same data, the same array, the same board.

    python bench/rules.py [--seeds N] [--points N] [--rows P] [--synapses N] [--builds DIR] [PRESET …]

Accuracy and samples that teach are golden's, over whole runs; the mean of the first seeds. Cycles are the simulated
chip's own: at evenly spaced points of the first seed's run it takes over golden's state, learns the next step (a batch,
or LBE's 256 samples), and has to come to the same bits. Cells and memories are those of the reports that
``popflip build --output DIR`` leaves, if ``--builds`` names the folder that holds them: ``DIR/*.json`` of any depth.

MNIST needs ``--data-dir`` or ``POPFLIP_DATA`` and is left out, with a word, where there is none.
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
from popflip.training import accuracy, batch_name, sample_order, steps
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
    ("teach", 7),
    ("synapses", 8),
    ("bits each", 9),
    ("kbit of state", 13),
    ("cycles a sample", 15),
)


def synapses(config: AnyConfig) -> int:
    """Synapses of all layers."""
    return sum(rows * count for rows, count in zip(config.rows, config.synapses, strict=True))


def synapse_bits(config: AnyConfig) -> int:
    """Bits a synapse takes on the chip: its weight and its counter."""
    weight = 2 if config.precision == Precision.TERNARY else 1
    return weight + config.mmax.bit_length() + 1


def state_bits(config: AnyConfig) -> int:
    """All that learning needs to keep, LBE's fixed classifiers among them."""
    classifiers = config.classes * sum(config.rows) if config.rule == Rule.LBE else 0
    return synapses(config) * synapse_bits(config) + classifiers


@dataclass(frozen=True)
class Learned:
    """Whole runs on golden: test accuracy, and share of the samples that taught; means over the seeds."""

    accuracy: float
    taught: float


def learn(experiment: Experiment, seeds: int) -> Learned:
    """Train golden with seeds 1, 2, …"""
    right = taught = 0.0
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
            taught += status.errors / status.samples
    return Learned(right / seeds, taught / seeds)


def cycles_per_sample(experiment: Experiment, golden: Device, chip: Device, points: int) -> float:
    """Cycles a sample takes ``chip``, the mean of ``points`` steps of the run that ``golden`` makes from end to end."""
    config, x, y = experiment.config, experiment.x_train, experiment.y_train
    total = config.batches(len(y))
    count = sum(1 for _ in sample_order(len(y), config))
    looked_at = {count * (2 * point + 1) // (2 * points) for point in range(points)}
    samples = cycles = 0
    golden.reset()
    for number, (index, step) in enumerate(steps(len(y), config, 0, total)):
        k = config.schedule(index, total)
        if number in looked_at:
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
        if number in looked_at:
            compare(chip, golden, after, batch_name(config))
    return cycles / samples


def to_stderr(line: str) -> None:
    """Say what is being waited for, without getting into the table."""
    print(line, file=sys.stderr)


def row(preset: str, config: AnyConfig, learned: Learned, cycles: float) -> tuple[str, ...]:
    """The cells of :data:`COLUMNS`."""
    return (
        preset,
        config.rule.value,
        f"{'-'.join(map(str, config.layers))} {config.precision.value}",
        f"{learned.accuracy:.2%}",
        f"{learned.taught:.1%}",
        str(synapses(config)),
        str(synapse_bits(config)),
        f"{state_bits(config) / 1000:.1f}",
        f"{cycles:.1f}",
    )


def line(cells: tuple[str, ...]) -> str:
    """A line of the table, columns to the right."""
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
    parser = argparse.ArgumentParser(description="The two learning rules side by side.")
    parser.add_argument("presets", nargs="*", metavar="PRESET", help=f"presets to compare ({', '.join(COMPARED)})")
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"runs the accuracy is the mean of ({SEEDS})")
    parser.add_argument("--points", type=int, default=POINTS, help=f"steps in which cycles are counted ({POINTS})")
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
            print(f"{preset}: left out: {error}")
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
