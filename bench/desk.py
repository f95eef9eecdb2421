"""MNIST at the desk: seconds from the first byte on the line of a ULX3S to a tested network. The board is simulated.

    python bench/desk.py [--data-dir D] [--baud N] [--points N,N,…] [--software SECONDS] [BOARD]

Two netlists, both with a model of the board's SDRAM at its pins that refuses whatever the data sheet forbids:

* the board with its line, both UARTs included: a short run, from the first byte to the last prediction. It ends as the
  golden model does, and shows how busy the line is while samples are stored and classified;
* the chip without the line: it stores the whole training set, and at points spread over the whole run it gets golden's
  state and learns two batches in its own order, from the SDRAM, and again with samples for free, which a line without
  limits sends. All are compared in every bit. The mean over the run interpolates linearly between the points.

The whole run then takes: all bytes of the training set on the line, the mean cycles of a trained sample for all of
them, and all bytes of the test set. Cycles and bytes are exact: the same command prints the same numbers everywhere.
Over USB the bytes take what the standard's frames bring at most (``tests/link/test_usb.py``: the chip refuses none).

Below, the golden model and scikit-learn's MLP on this machine (``bench/software.py``), and what others published about
FPGAs that train. Reads ``D/mnist/`` or ``$POPFLIP_DATA/mnist/`` and downloads nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from mnist_cycles import BATCHES, POINTS, mean
from software import PUBLISHED, Budget, Missing, Result, perceptron, popflip

from popflip import constraints
from popflip.constraints.base import Board, Fit
from popflip.constraints.links import USB_BYTES
from popflip.devices.chip import ChipDevice
from popflip.devices.golden import GoldenDevice
from popflip.devices.sample_codec import SampleCodec
from popflip.errors import Difference, PopflipError
from popflip.experiment import Experiment, prepare
from popflip.hw.fingerprint import build_hash
from popflip.hw.link.codec import OVERHEAD
from popflip.sim.board import SimulatedBoard
from popflip.sim.cache import content_hash
from popflip.sim.chip import SimulatedChip
from popflip.sim.cxxrtl.compile import cached_library
from popflip.sim.cxxrtl.simulation import Simulation
from popflip.training import check_run, run, train

BAUD = 3_000_000
STORED, TESTED = 256, 128
"""Samples of the short run over the line."""
GOAL = 0.03
"""Largest share by which samples from the SDRAM may be slower than samples for free."""


def to_stderr(line: str) -> None:
    """Report progress outside the table."""
    print(line, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Line:
    """Cycles of a byte on the line, and the share of the cycles with a byte on it while storing and classifying."""

    byte: int
    storing: float
    testing: float


class Counting(Simulation):
    """A simulated board that counts the bytes sent to it."""

    sent = 0

    def write(self, data: bytes) -> None:
        self.sent += len(data)
        super().write(data)


def short_run(board: Board, fit: Fit, experiment: Experiment, baud: int) -> Line:
    """The run over the line. Raises :class:`Difference` unless it ends as golden's."""
    shape = board.chip(fit, experiment.config)
    design = SimulatedBoard(shape, round(fit.clock_hz), baud, board.buffer)
    key = content_hash(build_hash(shape), repr((fit.clock_hz, baud, board.buffer)))
    library = cached_library("board", key, lambda: design, announce=to_stderr)
    x, y, x_test = experiment.x_train[:STORED], experiment.y_train[:STORED], experiment.x_test[:TESTED]
    config = replace(experiment.config, batch=STORED // 2, epochs=2)
    golden = GoldenDevice(config)
    expected = run(golden, x, y)
    with Counting(library) as line:
        device = ChipDevice(line, config, "the simulated board", baud)
        device.status()
        shares = []
        for work in (lambda: device.store(x, y), lambda: device.infer(x_test)):
            sent, begin = line.sent, line.cycles
            work()
            device.link.wait()
            shares.append((line.sent - sent) * design.cycles_per_byte / (line.cycles - begin))
        found = run(device, x, y, replay=True)
        check_run(replace(found, history=()), replace(expected, history=()), device, golden, x_test)
    return Line(design.cycles_per_byte, *shares)


def cycles(board: Board, fit: Fit, experiment: Experiment, points: tuple[int, ...]) -> tuple[float, float]:
    """Mean cycles of a trained sample over the run: from the SDRAM, and for free. Prints a line per point."""
    config, x, y = experiment.config, experiment.x_train, experiment.y_train
    last = config.batches(len(y)) - BATCHES
    means: tuple[list, list] = ([], [])
    with (
        GoldenDevice(config) as golden,
        ChipDevice(SimulatedChip(board.chip(fit, config), announce=to_stderr), config) as chip,
    ):
        golden.reset()
        chip.store(x, y)
        print(f"{'batch':>13} {'updates':>13} {'from SDRAM':>13} {'for free':>13} {'slower':>13}")
        for point in (last * thousandths // 1000 for thousandths in points):
            if golden.status().batches < point:
                train(golden, x, y, point)
            start, ends = (golden.state(), golden.status()), []
            for stored, found in zip((True, False), means, strict=True):
                chip.load(*start)
                result = train(chip, x, y, point + BATCHES, stored=stored)
                assert result.cycles is not None
                found.append((point + BATCHES / 2, result.cycles["total"] / result.samples))
                ends.append((chip.state().sha256(), chip.status().signature))
            train(golden, x, y, point + BATCHES)
            if set(ends) != {(golden.state().sha256(), golden.status().signature)}:
                raise Difference(f"batch {point + BATCHES}: {ends} differ from golden")
            updates = (golden.status().errors - start[1].errors) / (BATCHES * config.batch)
            with_sdram, free = means[0][-1][1], means[1][-1][1]
            cells = (str(point), f"{updates:.1%}", f"{with_sdram:.1f}", f"{free:.1f}", f"{with_sdram / free - 1:.1%}")
            print(" ".join(cell.rjust(13) for cell in cells), flush=True)
    return mean(means[0]), mean(means[1])


def bytes_on_the_line(codec: SampleCodec, experiment: Experiment) -> tuple[int, int]:
    """Bytes that store the training set, and bytes that bring the test set."""
    stored = codec.storing(experiment.x_train, experiment.y_train)
    tested = codec.inference(experiment.x_test)
    stored_bytes, tested_bytes = (sum(OVERHEAD + len(each.data) for each in part) for part in (stored, tested))
    return stored_bytes, tested_bytes


def report(board: Board, fit: Fit, experiment: Experiment, line: Line, per_sample: tuple[float, float]) -> float:
    """Print the seconds of the whole run. Returns their sum."""
    clock, config = fit.clock_hz, experiment.config
    codec = SampleCodec(board.chip(fit, config), board.buffer // 2 - OVERHEAD)
    stored, tested = bytes_on_the_line(codec, experiment)
    samples = config.batches(len(experiment.y_train)) * config.batch
    rows = (
        ("store the training set", f"{stored} bytes, line busy {line.storing:.1%}", stored * line.byte / line.storing),
        (f"learn {config.epochs} epochs", f"{samples} samples × {per_sample[0]:.2f} cycles", samples * per_sample[0]),
        ("test", f"{tested} bytes, line busy {line.testing:.1%}", tested * line.byte / line.testing),
    )
    total = sum(count for *_, count in rows) / clock
    for name, detail, count in rows:
        print(f"{name:24} {count / clock:8.2f} s  {detail}")
    print(f"{'first byte to test':24} {total:8.2f} s")
    if usb := next((link for link in board.links if link.kind == "usb"), None):
        at_full_speed = (stored + tested) / USB_BYTES + rows[1][2] / clock
        detail = f"{usb.socket}, {USB_BYTES} bytes/s, its limit at full speed"
        print(f"{'the same over USB':24} {at_full_speed:8.2f} s  {detail}")
    free = per_sample[1]
    print(
        f"trained samples/s: {clock / per_sample[0]:,.0f} from the SDRAM, {clock / free:,.0f} for free "
        f"({per_sample[0] / free - 1:.2%} more cycles)"
    )
    return total


def compare(experiment: Experiment, seconds: float) -> None:
    """Print the golden model and scikit-learn on this machine, and what others published."""
    budget = Budget(experiment.config.epochs, seconds)
    for learner in (popflip, perceptron):
        try:
            found: Result = learner(experiment, budget)
        except Missing as reason:
            print(reason)
            continue
        spent = found.seconds + found.inference_seconds
        print(f"{found.name:52} {spent:8.2f} s for {found.epochs} epochs and the test, accuracy {found.accuracy:.2%}")
    for name, (accuracy, trained, _), source in PUBLISHED:
        speed = f"{trained} samples/s" if trained else "speed not given"
        print(f"{name:52} {speed}, accuracy {accuracy}: {source}")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Seconds from the first byte to a tested network, on a board.")
    parser.add_argument("board", nargs="?", default="ulx3s_85f", help="a board with SDRAM (ulx3s_85f)")
    parser.add_argument("--data-dir", type=Path, help="folder with mnist/ in it, instead of $POPFLIP_DATA")
    parser.add_argument("--preset", default="mnist-tiles", help="experiment (mnist-tiles)")
    parser.add_argument("--baud", type=int, default=BAUD, help=f"speed of the line ({BAUD})")
    parser.add_argument("--points", default=",".join(map(str, POINTS)), help="places in the run, in thousandths")
    parser.add_argument(
        "--software", type=float, default=60, metavar="SECONDS", help="limit for each learner here (60)"
    )
    options = parser.parse_args(arguments)
    if options.preset.startswith("mnist") and options.data_dir is None and not os.environ.get("POPFLIP_DATA"):
        print("skipped: needs MNIST; give --data-dir D or POPFLIP_DATA=D, where D holds mnist/")
        return 0
    board = constraints.board(options.board)
    fit = board.fit(options.preset)
    experiment = prepare(preset=options.preset, data_dir=options.data_dir, order="chip")
    line = short_run(board, fit, experiment, options.baud)
    per_sample = cycles(board, fit, experiment, tuple(map(int, options.points.split(","))))
    report(board, fit, experiment, line, per_sample)
    compare(experiment, options.software)
    return 0 if per_sample[0] <= (1 + GOAL) * per_sample[1] else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PopflipError as error:
        sys.exit(f"desk: {error}")
