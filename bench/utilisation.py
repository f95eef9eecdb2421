"""Where the chip's cycles go, by its own counters: the digits preset on simulated chips of several geometries.

    python bench/utilisation.py [--batches N] [2x16 4x16 …]

The first batches, in which nearly every sample triggers an update, are skipped. Cycles are exact: the same command
prints the same numbers everywhere, except for the speed of the simulation.

* ``in batch``: all cycles but those of select and flip.
* ``steady``: cycles in batch, except those at its start and end in which the chip waits for a sample from the link. A
  second run, in which no sample triggers an update, counts these.

Exit code 1 if a goal is missed:

* if forward is the bottleneck, the MAC array takes a word in at least 85 % of the steady cycles;
* forward and learning overlap: a batch takes fewer cycles than the sum of both.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace

import numpy as np

from popflip.devices.open import open_device
from popflip.errors import PopflipError
from popflip.estimation.cycles import sent_bytes
from popflip.experiment import Experiment, prepare
from popflip.golden.common.packing import pack
from popflip.history import Run
from popflip.hw.config import ChipConfig
from popflip.training import train

GEOMETRIES = ((2, 16), (4, 16), (4, 32), (8, 32))  # rows × synapses a cycle
FIRST_BATCHES = 4
BATCHES = 24
GOAL = 0.85  # share of the steady cycles with a busy array, if forward is the bottleneck

COLUMNS = (
    ("array", 6),
    ("samples", 7),
    ("total", 8),
    ("in batch", 8),
    ("steady", 8),
    ("forward", 8),
    ("stall", 7),
    ("learn", 8),
    ("stall", 7),
    ("select", 7),
    ("flip", 7),
    ("a sample", 8),
    ("forward/in batch", 16),
    ("forward/steady", 14),
    ("learn/steady", 12),
    ("limit", 7),
    ("Mcycles/s", 9),
)


@dataclass(frozen=True)
class Measurement:
    """``cycles`` of whole batches, by the names of ``CYCLE_COUNTERS``; in ``filling`` of them no sample had arrived."""

    rows: int
    synapses: int
    samples: int
    sample_bytes: float  # on the link, the mean
    cycles: dict[str, int]
    filling: int
    seconds: float

    @property
    def in_batch(self) -> int:
        """Cycles in which samples are learned: all but those of select and flip."""
        return in_batch(self.cycles)

    @property
    def steady(self) -> int:
        """Cycles in batch in which the link has delivered a sample."""
        return self.in_batch - self.filling

    @property
    def bottleneck(self) -> str:
        """The part in which a sample spends most cycles. The simulated link takes a cycle per byte."""
        work = {
            "forward": self.cycles["forward_busy"],
            "learn": self.cycles["learn_busy"],
            "link": self.samples * self.sample_bytes,
        }
        return max(work, key=work.__getitem__)

    @property
    def overlaps(self) -> bool:
        """Whether forward and learning together take more cycles than the batch."""
        return self.in_batch < self.cycles["forward_busy"] + self.cycles["learn_busy"]

    def missed(self) -> list[str]:
        """A line for each goal that is missed."""
        lines = []
        busy = self.cycles["forward_busy"] / self.steady
        if self.bottleneck == "forward" and busy < GOAL:
            lines.append(f"MAC array busy in {busy:.1%} of the steady cycles, goal {GOAL:.0%}")
        if not self.overlaps:
            lines.append("forward and learning do not overlap")
        return [f"{self.rows}×{self.synapses}: {line}" for line in lines]

    def row(self) -> tuple[str, ...]:
        """The cells of :data:`COLUMNS`."""
        counters = ("forward_busy", "forward_stall", "learn_busy", "learn_stall", "select", "flip")
        return (
            f"{self.rows}×{self.synapses}",
            str(self.samples),
            str(self.cycles["total"]),
            str(self.in_batch),
            str(self.steady),
            *(str(self.cycles[name]) for name in counters),
            f"{self.cycles['total'] / self.samples:.1f}",
            f"{self.cycles['forward_busy'] / self.in_batch:.1%}",
            f"{self.cycles['forward_busy'] / self.steady:.1%}",
            f"{self.cycles['learn_busy'] / self.steady:.1%}",
            self.bottleneck,
            f"{self.cycles['total'] / self.seconds / 1e6:.2f}",
        )


def in_batch(cycles: dict[str, int]) -> int:
    """All cycles but those of select and flip."""
    return cycles["total"] - cycles["select"] - cycles["flip"]


def count(experiment: Experiment, rows: int, synapses: int, batches: int) -> tuple[Run, dict[str, int]]:
    """Train a simulated chip. Return the run of ``batches`` batches after the first ones, and its cycles."""
    chip = ChipConfig.of(experiment.config, rows, synapses)
    with open_device("sim", experiment.config, chip, announce=to_stderr) as device:
        device.reset()
        train(device, experiment.x_train, experiment.y_train, FIRST_BATCHES)
        run = train(device, experiment.x_train, experiment.y_train, FIRST_BATCHES + batches)
    assert run.cycles is not None
    return run, run.cycles


def to_stderr(line: str) -> None:
    """Report progress outside the table."""
    print(line, file=sys.stderr)


def measure(experiment: Experiment, rows: int, synapses: int, batches: int) -> Measurement:
    """The cycles of ``batches`` batches, and how many of them passed before a sample arrived."""
    chip = ChipConfig.of(experiment.config, rows, synapses)
    packed = pack(np.packbits(experiment.x_train, axis=1, bitorder="little"))[1]
    run, cycles = count(experiment, rows, synapses, batches)
    without_updates = replace(experiment, config=replace(experiment.config, margin=-2 * chip.v_max - 1))
    _, without = count(without_updates, rows, synapses, batches)
    return Measurement(
        rows=rows,
        synapses=synapses,
        samples=run.samples,
        sample_bytes=float(sent_bytes(chip, packed).mean()),
        cycles=cycles,
        filling=in_batch(without) - without["forward_busy"] - without["forward_stall"],
        seconds=run.seconds,
    )


def line(cells: tuple[str, ...]) -> str:
    """A line of the table, right-aligned."""
    return " ".join(cell.rjust(width) for cell, (_, width) in zip(cells, COLUMNS, strict=True))


def geometry(text: str) -> tuple[int, int]:
    """``4x16`` or ``4×16``: rows and synapses."""
    rows, synapses = text.replace("×", "x").split("x")
    return int(rows), int(synapses)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Where the chip's cycles go (digits preset, simulated chip).")
    parser.add_argument("geometries", nargs="*", type=geometry, metavar="PxN", help="rows x synapses of the MAC array")
    parser.add_argument("--batches", type=int, default=BATCHES, help=f"batches to measure ({BATCHES})")
    options = parser.parse_args(arguments)
    experiment = prepare(preset="digits")
    config = experiment.config
    print(
        f"digits {'-'.join(map(str, config.layers))} {config.precision}, batches of {config.batch}, seed {config.seed};"
    )
    print(f"batches {FIRST_BATCHES + 1} to {FIRST_BATCHES + options.batches}. Counts are cycles.")
    print(line(tuple(name for name, _ in COLUMNS)))
    missed = []
    for rows, synapses in options.geometries or GEOMETRIES:
        measurement = measure(experiment, rows, synapses, options.batches)
        print(line(measurement.row()), flush=True)
        missed += measurement.missed()
    print("\n".join(missed) if missed else "all goals met")
    return 1 if missed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PopflipError as error:
        sys.exit(f"utilisation: {error}")
