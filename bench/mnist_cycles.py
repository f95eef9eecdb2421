"""Cycles per sample of an MNIST preset on a simulated chip, from its counters, at points spread over a run.

    python bench/mnist_cycles.py [--preset mnist-tiles] [--data-dir D] [--clock MHZ] [64x16x8 …]

The golden model learns up to each point. There the chip loads its state and learns some batches, which are counted and
compared in every bit. The mean over the run interpolates linearly between points. Reads ``D/mnist/`` or
``$POPFLIP_DATA/mnist/`` and downloads nothing. A geometry is rows × synapses of the MAC array × rows learned at once.
Cycles are exact: the same command prints the same numbers everywhere.
"""

from __future__ import annotations

import argparse
import os
import sys
from itertools import pairwise
from pathlib import Path

from popflip.devices.golden import GoldenDevice
from popflip.devices.open import open_device
from popflip.errors import PopflipError
from popflip.experiment import Experiment, prepare
from popflip.hw.config import ChipConfig
from popflip.training import train

GEOMETRIES = ((64, 16, 8),)
POINTS = (0, 5, 11, 23, 46, 67, 114, 182, 273, 387, 546, 729, 911, 1000)  # positions in the run, in thousandths
BATCHES = 2  # measured at each point
COLUMNS = ("total", "forward_busy", "forward_stall", "learn_busy", "learn_stall", "select", "flip")


def mean(points: list[tuple[float, float]]) -> float:
    """Mean over its range of the piecewise linear function through ``points``."""
    area = sum((b - a) * (y + z) / 2 for (a, y), (b, z) in pairwise(points))
    return area / (points[-1][0] - points[0][0])


def measure(experiment: Experiment, geometry: tuple[int, int, int]) -> tuple[float, float, float]:
    """Print a line per point. Return mean cycles of a training sample and an inference, and the array's in it."""
    rows, synapses, learn_rows = geometry
    shape = ChipConfig.of(experiment.config, rows, synapses, learn_rows=learn_rows)
    totals = []
    last = experiment.config.batches(len(experiment.y_train)) - BATCHES
    with (
        GoldenDevice(experiment.config) as golden,
        open_device("sim", experiment.config, shape, announce=to_stderr) as chip,
    ):
        golden.reset()
        for point in (last * thousandths // 1000 for thousandths in POINTS):
            if golden.status().batches < point:
                train(golden, experiment.x_train, experiment.y_train, point)
            chip.load(golden.state(), golden.status())
            run = train(chip, experiment.x_train, experiment.y_train, point + BATCHES, golden=golden)
            assert run.cycles is not None
            updates = sum(result.errors for result in run.history) / run.samples
            cells = [f"{run.cycles[name] / run.samples:.1f}" for name in COLUMNS]
            print(" ".join(cell.rjust(13) for cell in (str(point), f"{updates:.1%}", *cells)), flush=True)
            totals.append((point + BATCHES / 2, run.cycles["total"] / run.samples))
        before = chip.status().cycles
        chip.infer(experiment.x_test)
        after = chip.status().cycles
        inference, busy = ((after[n] - before[n]) / len(experiment.x_test) for n in ("total", "forward_busy"))
    return mean(totals), inference, busy


def to_stderr(line: str) -> None:
    """Report progress outside the table."""
    print(line, file=sys.stderr)


def geometry(text: str) -> tuple[int, int, int]:
    """``64x16x8``: rows, synapses, rows learned at once."""
    rows, synapses, learn_rows = map(int, text.replace("×", "x").split("x"))
    return rows, synapses, learn_rows


def main() -> int:
    parser = argparse.ArgumentParser(description="Cycles a sample over a run of MNIST (simulated chip).")
    parser.add_argument("geometries", nargs="*", type=geometry, metavar="PxNxPc")
    parser.add_argument("--data-dir", type=Path, help="folder with mnist/ in it, instead of $POPFLIP_DATA")
    parser.add_argument("--clock", type=float, metavar="MHZ", help="clock, to print samples per second")
    parser.add_argument("--preset", default="mnist-tiles", help="one of popflip info (mnist-tiles)")
    options = parser.parse_args()
    if options.data_dir is None and not os.environ.get("POPFLIP_DATA"):
        print("skipped: needs MNIST; give --data-dir D or POPFLIP_DATA=D, where D holds mnist/")
        return 0
    experiment = prepare(preset=options.preset, data_dir=options.data_dir)
    for rows, synapses, learn_rows in options.geometries or GEOMETRIES:
        print(f"{rows} × {synapses}, {learn_rows} rows learned at once; cycles a sample")
        print(" ".join(name.rjust(13) for name in ("after batches", "updates", *COLUMNS)))
        training, inference, busy = measure(experiment, (rows, synapses, learn_rows))
        print(f"mean over the run: {training:.1f} cycles a training sample, {inference:.1f} an inference")
        print(f"inference: the array is busy in {busy / inference:.1%} of the cycles")
        if options.clock:
            speeds = (f"{options.clock * 1e3 / cycles:.0f} k" for cycles in (training, inference))
            print("at {:g} MHz: {} training samples, {} inferences per second".format(options.clock, *speeds))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PopflipError as error:
        sys.exit(f"mnist_cycles: {error}")
