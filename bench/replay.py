"""Speed of a board over its link, with samples sent or replayed. The chip and both ends of the line are simulated.

    python bench/replay.py [--batches N] [icebreaker …]

Each board has the network, array, clock, link speed and packet buffer of its bitstream, and trains the first batches of
its preset. Cycles are exact: the same command prints the same numbers everywhere. The simulated host answers at once; a
real one is slightly slower.

* ``samples/s``: at the board's clock, including ends of batches and the host's status requests.
* ``line``: share of all cycles in which a byte is on its way to the board.
* ``chip``: share of all cycles in which the chip is busy.

Exit code 1 if the line is the limit and idle in more than 5 % of the cycles.
"""

from __future__ import annotations

import argparse
import sys

from popflip import constraints
from popflip.devices.chip import ChipDevice
from popflip.errors import PopflipError
from popflip.experiment import prepare
from popflip.hw.fingerprint import build_hash
from popflip.report import bounds, busy_cycles, summary
from popflip.sim.board import SimulatedBoard
from popflip.sim.cache import content_hash
from popflip.sim.cxxrtl.compile import cached_library
from popflip.sim.cxxrtl.simulation import Simulation
from popflip.training import store_training_set, train

BATCHES = 28
GOAL = 0.95  # share of the cycles with a byte on the line, where it is the limit


class Line(Simulation):
    """A simulated board that counts the bytes sent to it."""

    sent = 0

    def write(self, data: bytes) -> None:
        self.sent += len(data)
        super().write(data)


def measure(name: str, batches: int) -> bool:
    """Print the lines of a board, and return whether it meets the goal."""
    board = constraints.board(name)
    fit = board.fit()
    experiment, chip = prepare(preset=fit.preset), board.chip(fit)
    design = SimulatedBoard(chip, round(fit.clock_hz), board.baud, board.buffer)

    key = content_hash(build_hash(chip), repr((fit.clock_hz, board.baud, board.buffer)))
    library = cached_library("board", key, lambda: design, announce=lambda line: print(line, file=sys.stderr))
    met = True
    for wanted in (False, True) if chip.store_samples >= len(experiment.y_train) else (False,):
        with Line(library) as line:
            device = ChipDevice(line, experiment.config, name, board.baud)
            device.reset()
            stored = store_training_set(device, experiment.x_train, experiment.y_train, wanted)
            device.status()
            sent = line.sent
            run = train(device, experiment.x_train, experiment.y_train, batches, stored=stored)
            assert run.cycles is not None and device.link_speed is not None
            total = run.cycles["total"]
            busy = (line.sent - sent) * design.cycles_per_byte / total
            told = bounds(device.link_speed, run.cycles, run.samples, stored)
        print(
            f"{name:12} {'replayed' if stored else 'sent':8} {run.samples:7} {total / run.samples:13.1f} "
            f"{fit.clock_hz * run.samples / total:9,.0f} {busy:6.1%} {busy_cycles(run.cycles) / total:6.1%}"
        )
        print(f"{'':12} {summary(told)}", flush=True)
        met = met and (stored or told["link_samples_per_second"] > told["chip_samples_per_second"] or busy >= GOAL)
    return met


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Samples per second over a board's link, sent or replayed.")
    parser.add_argument("boards", nargs="*", metavar="BOARD", help="boards (all with a store)")
    parser.add_argument("--batches", type=int, default=BATCHES, help=f"batches to measure ({BATCHES})")
    options = parser.parse_args(arguments)
    names = options.boards or [name for name, board in constraints.boards().items() if board.store_bytes]
    print(f"{'board':12} {'samples':8} {'trained':>7} {'cycles/sample':>13} {'samples/s':>9} {'line':>6} {'chip':>6}")
    missed = [name for name in names if not measure(name, options.batches)]
    print(f"goal missed: {', '.join(missed)}" if missed else "all goals met")
    return 1 if missed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PopflipError as error:
        sys.exit(f"replay: {error}")
