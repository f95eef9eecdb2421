"""Measure resources and speed of each board's chip, and store them in ``tests/baselines`` for comparison.

    python bench/baselines.py board build/icebreaker.json …    write a board's file, from the report of a build
    python bench/baselines.py small                            compare the small file, as the tests do
    python bench/baselines.py small --renew                    write the small file again

* A board's file holds cells, memories and clocks from the report; cycles per sample and per inference of a simulated
  chip of the same geometry, by its own counters; and the golden model's accuracy for each of the first seeds. Cycles
  per sample are the mean of evenly spaced points of a run: there the chip loads the golden model's state, learns the
  next step (a batch, or LBE's 256 samples, ends of batches included) and must arrive at the same bits.
* The small file holds, for the iCE40-HX8K board, cells as synthesis counts them and the cycles of the first batches.
  Both are exact and the same on every machine, since tools are pinned.

MNIST is read from ``--data-dir D`` or ``$POPFLIP_DATA``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from popflip import constraints
from popflip.bitstream.build import synthesis
from popflip.constraints.base import Fit
from popflip.devices.chip import ChipDevice
from popflip.devices.golden import GoldenDevice
from popflip.errors import ConfigError, PopflipError
from popflip.experiment import Experiment, prepare
from popflip.golden.config import AnyConfig
from popflip.golden.presets import PRESETS
from popflip.hw.config import ChipConfig
from popflip.sim.chip import SimulatedChip
from popflip.training import accuracy, train

sys.path.insert(0, str(Path(__file__).parent))

from rules import cycles_per_sample, state_bits, to_stderr

FOLDER = Path(__file__).parents[1] / "tests" / "baselines"
SMALL_BOARD, SMALL_BATCHES = "ice40_hx8k_b_evn", 4
RENEW = "python bench/baselines.py small --renew updates it"
POINTS = 8
SEEDS = 3
COUNTED = ("total", "forward_busy", "learn_busy", "select", "flip")


def chip_of(fit: Fit, config: AnyConfig) -> ChipConfig:
    """The chip of ``fit`` without its sample store, which does not change the cycles."""
    return ChipConfig.of(config, fit.rows, fit.synapses, fit.slots, learn_rows=fit.learn_rows, compact=fit.compact)


def simulated(fit: Fit, config: AnyConfig) -> ChipDevice:
    """A simulated chip of the geometry of ``fit``."""
    return ChipDevice(SimulatedChip(chip_of(fit, config), None, to_stderr), config, "the simulated chip")


# A board ----------------------------------------------------------------------------------------------------------


def learned(experiment: Experiment, fit: Fit, points: int) -> dict[str, Any]:
    """Cycles per training sample and per inference, and accuracy, of the run with the preset's seed."""
    with GoldenDevice(experiment.config) as golden, simulated(fit, experiment.config) as chip:
        cycles = cycles_per_sample(experiment, golden, chip, points)
        before = chip.status().cycles
        chip.infer(experiment.x_test)
        after = chip.status().cycles
        assert before is not None and after is not None
        return {
            "cycles_a_sample": round(cycles, 1),
            "cycles_an_inference": round((after["total"] - before["total"]) / len(experiment.x_test), 1),
            "accuracy": accuracy(golden.infer(experiment.x_test), experiment.y_test),
        }


def seeded(experiment: Experiment, seed: int) -> float:
    """The golden model's accuracy with another seed."""
    with GoldenDevice(replace(experiment.config, seed=seed)) as golden:
        golden.reset()
        train(golden, experiment.x_train, experiment.y_train)
        return accuracy(golden.infer(experiment.x_test), experiment.y_test)


def fit_of(report: dict[str, Any]) -> Fit:
    """The fit that a report of ``popflip build`` describes. Raises :class:`ConfigError` if there is none."""
    for fit in constraints.board(report["board"]).fits:
        if geometry(fit) == {name: report[name] for name in geometry(fit)}:
            return fit
    raise ConfigError(f"{report['board']}: the report describes no fit of constraints/{report['board']}.py")


def geometry(fit: Fit) -> dict[str, Any]:
    """The geometry of a fit, by the names in a report."""
    config = PRESETS[fit.preset].config
    return {
        "rule": str(config.rule),
        "layers": list(config.layers),
        "precision": str(config.precision),
        "rows": fit.rows,
        "synapses": fit.synapses,
        "learn_rows": fit.learn_rows,
        "slots": fit.slots,
        "clock_hz": fit.clock_hz,
    }


@cache
def run_of(fit: Fit, points: int, seeds: int, data_dir: Path | None) -> dict[str, Any]:
    """Cycles and accuracies of ``fit``, computed once for boards whose fits differ only in clock and routing."""
    experiment = prepare(preset=fit.preset, data_dir=data_dir)
    run = learned(experiment, fit, points)
    others = [seeded(experiment, seed) for seed in range(1, seeds + 1) if seed != experiment.config.seed]
    return {**run, "accuracy": [run["accuracy"], *others]}


def measured(report: dict[str, Any], points: int, seeds: int, data_dir: Path | None) -> dict[str, Any]:
    """The content of a board's file."""
    fit = fit_of(report)
    run = run_of(replace(fit, clock_hz=0, seed=0, router=""), points, seeds, data_dir)
    config = PRESETS[fit.preset].config
    return {
        "board": report["board"],
        "preset": fit.preset,
        **geometry(fit),
        "store_samples": report["store_samples"],
        "command": f"popflip build --board {report['board']} --preset {fit.preset}",
        "uses": report["uses"],
        "fmax_mhz": min(clock["fmax_mhz"] for clock in report["clocks"].values()),
        "sha256": report["sha256"],
        "points": points,
        **run,
        "state_bits": state_bits(config),
    }


# The small file --------------------------------------------------------------------------------------------------


def small_cycles() -> dict[str, int]:
    """Cycles of the first batches on the simulated chip, which must equal the golden model after each."""
    fit = constraints.board(SMALL_BOARD).fits[0]
    experiment = prepare(preset=fit.preset)
    with GoldenDevice(experiment.config) as golden, simulated(fit, experiment.config) as chip:
        golden.reset()
        chip.reset()
        run = train(chip, experiment.x_train, experiment.y_train, SMALL_BATCHES, golden=golden)
    assert run.cycles is not None and run.verified == SMALL_BATCHES
    return {name: run.cycles[name] for name in COUNTED}


def small_cells() -> dict[str, int]:
    """Cells and memories that synthesis counts."""
    board = constraints.board(SMALL_BOARD)
    fit = board.fits[0]
    cells = synthesis(board, board.chip(fit), fit)
    kinds = {"luts": "SB_LUT4", "flip_flops": "SB_DFF", "block_rams": "SB_RAM40", "sprams": "SB_SPRAM"}
    return {
        name: sum(number for cell, number in cells.items() if cell.startswith(prefix)) for name, prefix in kinds.items()
    }


def differences(kept: dict[str, int], now: dict[str, int]) -> list[str]:
    """A single line with every number that differs; no line if all are equal."""
    changed = [f"{name} {kept.get(name)} → {now[name]}" for name in now if now[name] != kept.get(name)]
    return [f"{', '.join(changed)}; {RENEW}"] if changed else []


def small(renew: bool) -> Iterator[str]:
    """Compare the small file with the current numbers, and yield a line per difference; with ``renew``, write it."""
    path = FOLDER / "small.json"
    now = {"cells": small_cells(), "cycles": small_cycles()}
    if renew:
        fit = constraints.board(SMALL_BOARD).fits[0]
        save(path, {"board": SMALL_BOARD, "preset": fit.preset, "batches": SMALL_BATCHES, **now})
    else:
        kept = json.loads(path.read_text())
        for name, numbers in now.items():
            yield from (f"{name}: {line}" for line in differences(kept[name], numbers))


def save(path: Path, content: dict[str, Any]) -> None:
    """Write ``content`` as JSON, and print the path."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(path)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Measure and store cells, memories, clocks and cycles of each board.")
    parser.add_argument("what", choices=("board", "small"))
    parser.add_argument("reports", nargs="*", type=Path, metavar="REPORT", help="reports of popflip build")
    parser.add_argument("--renew", action="store_true", help="small: write instead of compare")
    parser.add_argument("--points", type=int, default=POINTS, help=f"steps whose cycles are counted ({POINTS})")
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"runs of the golden model for the accuracy ({SEEDS})")
    parser.add_argument("--data-dir", type=Path, help="folder with mnist/ in it, instead of $POPFLIP_DATA")
    options = parser.parse_args(arguments)
    if options.what == "small":
        lines = list(small(options.renew))
        print("\n".join(lines) if lines else "as in tests/baselines/small.json")
        return 1 if lines else 0
    if not options.reports:
        raise ConfigError("board: give reports of popflip build, as build/icebreaker.json")
    for path in options.reports:
        try:
            report = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path}: {error}") from None
        content = measured(report, options.points, options.seeds, options.data_dir)
        save(FOLDER / f"{content['board']}-{content['preset']}.json", content)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:] or ["small"]))
    except PopflipError as error:
        sys.exit(f"baselines: {error}")
