"""Speed of a board over its link, with samples sent or replayed. The chip and both ends of the line are simulated.

    python bench/replay.py [--batches N] [--store SAMPLES] [--baud N] [--clock MHZ] [icebreaker …]

Each board has the network, array, clock, link speed and packet buffer of its bitstream, and trains the first batches of
its preset; ``--store`` gives it a sample store of another size, ``--baud`` and ``--clock`` another speed. Cycles are
exact: the same command prints the same numbers everywhere. The simulated host answers at once; a real one is slightly
slower.

* ``samples``: how many were ``sent`` or ``replayed`` in training, ``inferred`` (the test set), or ``stored`` (the
  training set, once).
* ``samples/s``: at the board's clock, including ends of batches and the host's status requests.
* ``line``: share of all cycles in which a byte is on its way to the board.
* ``chip``: share of all cycles in which the chip is busy.

Exit code 1 if the line is the limit and idle in more than 5 % of the cycles.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from popflip import constraints
from popflip.constraints.base import Board
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


@dataclass(frozen=True)
class Measurement:
    """``samples`` that took ``cycles`` cycles.

    In ``line`` of them a byte was on its way to the board, in ``chip`` the chip was busy.
    """

    board: str
    kind: str
    samples: int
    cycles: int
    line: int
    chip: int

    @property
    def met(self) -> bool:
        """Whether the line is busy enough, or the chip busier."""
        return self.line >= GOAL * self.cycles or self.chip > self.line

    def row(self, clock_hz: float) -> str:
        """A line of the table."""
        speed = clock_hz * self.samples / self.cycles
        shares = f"{self.line / self.cycles:6.1%} {self.chip / self.cycles:6.1%}"
        return (
            f"{self.board:12} {self.kind:8} {self.samples:7} {self.cycles / self.samples:13.1f} {speed:9,.0f} {shares}"
        )


def simulated(board: Board, store: int | None, clock_hz: int) -> tuple[SimulatedBoard, bytes]:
    """``board`` with a store of ``store`` samples (None: its own) at ``clock_hz``, and its compiled simulation."""
    chip = board.chip(board.fit(), store=store)
    design = SimulatedBoard(chip, clock_hz, board.baud, board.buffer)
    key = content_hash(build_hash(chip), repr((clock_hz, board.baud, board.buffer)))
    return design, cached_library("board", key, lambda: design, announce=lambda line: print(line, file=sys.stderr))


def transfer(line: Line, device: ChipDevice, work: Callable[[], object]) -> tuple[int, int, int]:
    """Cycles of ``work``, bytes that the host sent meanwhile, and cycles in which the chip was busy."""
    before = device.status().cycles
    sent, begin = line.sent, line.cycles
    work()
    device.link.wait()
    cycles, sent = line.cycles - begin, line.sent - sent
    after = device.status().cycles
    assert before is not None and after is not None
    return cycles, sent, busy_cycles(after) - busy_cycles(before)


def measure(board: Board, batches: int, store: int | None = None, clock_hz: float | None = None) -> bool:
    """Print the lines of a board at ``clock_hz`` (None: its own), and return whether it meets the goal."""
    clock_hz = board.fit().clock_hz if clock_hz is None else clock_hz
    design, library = simulated(board, store, round(clock_hz))
    experiment, name = prepare(preset=board.fit().preset), board.name
    x, y, x_test = experiment.x_train, experiment.y_train, experiment.x_test
    per_byte, found = design.cycles_per_byte, []

    def note(kind: str, samples: int, cycles: int, sent: int, chip: int) -> None:
        found.append(Measurement(name, kind, samples, cycles, sent * per_byte, chip))
        print(found[-1].row(clock_hz), flush=True)

    for wanted in (False, True) if design.chip.identity.store_samples >= len(y) else (False,):
        with Line(library) as line:
            device = ChipDevice(line, experiment.config, name, board.baud)
            device.reset()
            if wanted:
                cycles, sent, busy = transfer(line, device, partial(store_training_set, device, x, y, True))
                note("stored", len(y), cycles, sent, busy)
            device.status()
            sent = line.sent
            run = train(device, x, y, batches, stored=wanted)
            assert run.cycles is not None and device.link_speed is not None
            busy = busy_cycles(run.cycles)
            note("replayed" if wanted else "sent", run.samples, run.cycles["total"], line.sent - sent, busy)
            print(f"{'':12} {summary(bounds(device.link_speed, run.cycles, run.samples, wanted))}", flush=True)
            if not wanted:
                note("inferred", len(x_test), *transfer(line, device, partial(device.infer, x_test)))
    return all(each.met for each in found)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Samples per second over a board's link, sent or replayed.")
    parser.add_argument("boards", nargs="*", metavar="BOARD", help="boards (all with a store)")
    parser.add_argument("--batches", type=int, default=BATCHES, help=f"batches to measure ({BATCHES})")
    parser.add_argument("--store", type=int, metavar="SAMPLES", help="samples that the board's chip stores (its own)")
    parser.add_argument("--baud", type=int, metavar="N", help="speed of the link (the board's)")
    parser.add_argument("--clock", type=float, metavar="MHZ", help="clock of the chip (that of its bitstream)")
    options = parser.parse_args(arguments)
    names = options.boards or [name for name, board in constraints.boards().items() if board.store_bytes]
    print(f"{'board':12} {'':8} {'samples':>7} {'cycles/sample':>13} {'samples/s':>9} {'line':>6} {'chip':>6}")
    boards = [constraints.board(name).linked(None, options.baud) for name in names]
    hz = None if options.clock is None else 1e6 * options.clock
    missed = [board.name for board in boards if not measure(board, options.batches, options.store, hz)]
    print(f"goal missed: {', '.join(missed)}" if missed else "all goals met")
    return 1 if missed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PopflipError as error:
        sys.exit(f"replay: {error}")
