"""Cycles per sample of an MNIST preset on a simulated chip, from its counters, at points spread over a run.

    python bench/mnist_cycles.py [--preset mnist-tiles] [--data-dir D] [--clock MHZ] [--points N,N,…] [--batches N]
                                 [--tested N] [64x16x8 … | --board NAME]

The golden model learns up to each point. There the chip loads its state and learns some batches, which are counted and
compared in every bit. The mean over the run interpolates linearly between points. Reads ``D/mnist/`` or
``$POPFLIP_DATA/mnist/`` and downloads nothing. A geometry is rows × synapses of the MAC array × rows learned at once;
``--board`` takes the array and the clock of the board's fit. Cycles are exact: the same command prints the same numbers
everywhere. A convolution takes a tenth of a second a sample here: ``--points``, ``--batches`` and ``--tested`` say how
many samples are measured.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from popflip import constraints
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


def measure(
    experiment: Experiment, shape: ChipConfig, points: Sequence[int], batches: int, tested: int | None
) -> tuple[float, float, float]:
    """Print a line per point. Return mean cycles of a training sample and an inference, and the array's in it."""
    totals, x, y = [], experiment.training_samples, experiment.y_train
    last = experiment.config.batches(len(y)) - batches
    with (
        GoldenDevice(experiment.config) as golden,
        open_device("sim", experiment.config, shape, announce=to_stderr) as chip,
    ):
        golden.reset()
        for point in (last * thousandths // 1000 for thousandths in points):
            if golden.status().batches < point:
                train(golden, x, y, point)
            chip.load(golden.state(), golden.status())
            run = train(chip, x, y, point + batches, golden=golden)
            assert run.cycles is not None
            updates = sum(result.errors for result in run.history) / run.samples
            cells = [f"{run.cycles[name] / run.samples:.1f}" for name in COLUMNS]
            print(" ".join(cell.rjust(13) for cell in (str(point), f"{updates:.1%}", *cells)), flush=True)
            totals.append((point + batches / 2, run.cycles["total"] / run.samples))
        before = chip.status().cycles
        chip.infer(experiment.x_test[:tested])
        after = chip.status().cycles
        inference, busy = ((after[n] - before[n]) / len(experiment.x_test[:tested]) for n in ("total", "forward_busy"))
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
    parser.add_argument("--board", help="the array and the clock of this board's fit, instead of a geometry")
    parser.add_argument("--points", default=",".join(map(str, POINTS)), help="places in the run, in thousandths")
    parser.add_argument("--batches", type=int, default=BATCHES, help=f"batches measured at each ({BATCHES})")
    parser.add_argument("--tested", type=int, metavar="N", help="test samples classified at the end (all)")
    options = parser.parse_args()
    if options.board and options.geometries:
        parser.error("a geometry and --board differ; give one of them")
    if options.data_dir is None and not os.environ.get("POPFLIP_DATA"):
        print("skipped: needs MNIST; give --data-dir D or POPFLIP_DATA=D, where D holds mnist/")
        return 0
    experiment = prepare(preset=options.preset, data_dir=options.data_dir)
    config, clock = experiment.config, options.clock
    if options.board:
        board = constraints.board(options.board)
        fit = board.fit(options.preset)
        shapes, clock = [board.chip(fit, config)], clock or fit.clock_hz / 1e6
    else:
        shapes = [ChipConfig.of(config, p, n, learn_rows=pc) for p, n, pc in options.geometries or GEOMETRIES]
    points = tuple(map(int, options.points.split(",")))
    for shape in shapes:
        print(f"{shape.array_rows} × {shape.array_synapses}, {shape.learn_rows} rows learned at once; cycles a sample")
        print(" ".join(name.rjust(13) for name in ("after batches", "updates", *COLUMNS)))
        training, inference, busy = measure(experiment, shape, points, options.batches, options.tested)
        print(f"mean over the run: {training:.1f} cycles a training sample, {inference:.1f} an inference")
        print(f"inference: the array is busy in {busy / inference:.1%} of the cycles")
        if clock:
            trained, inferred = (clock * 1e6 / cycles for cycles in (training, inference))
            print(f"at {clock:g} MHz: {trained:,.0f} training samples, {inferred:,.0f} inferences per second")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PopflipError as error:
        sys.exit(f"mnist_cycles: {error}")
