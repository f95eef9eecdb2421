"""One table of every board and every network that fits it: cells, memories, clock, speed, accuracy.

    python bench/table.py [--software]

The numbers come from ``tests/baselines``, measured by the two commands below the table; a fit without numbers has
dashes. Samples per second follow from cycles at the clock used: they are the chip's limit, not its link's. Accuracy is
the golden model's, which the chip equals in every bit: the mean of the seeds in the file.

Below are numbers that others published; with ``--software`` also those of software on this machine (bench/software.py;
needs MNIST and some minutes). Last is an ESTIMATE of the UP5K's power, by a model that it states.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from popflip import constraints
from popflip.errors import PopflipError
from popflip.golden.presets import PRESETS

sys.path.insert(0, str(Path(__file__).parent))

import software

FOLDER = Path(__file__).parents[1] / "tests" / "baselines"
COLUMNS = (
    ("board", -17),
    ("network", -22),
    ("array", 9),
    ("LUTs", 6),
    ("block RAMs", 10),
    ("SPRAM", 5),
    ("MHz reached", 11),
    ("used", 4),
    ("cycles/sample", 13),
    ("trained/s", 9),
    ("inferred/s", 10),
    ("accuracy", 8),
    ("kbit of state", 13),
)

STATIC_UA, CLOCK_UA_PER_MHZ, VOLTS = 85.6, 44.0, 1.219
CELL_UA_PER_MHZ = (0.012, 0.163)
"""Currents of a UP5K's core in µA, measured by github.com/tinyvision-ai-inc/ice40_power at 12 MHz: 85.6 for a blank
design; 613.5 with a clock and a counter of 32 cells, which is 44 per MHz; 641.3 − 613.5 for 196 cells of counters, most
of which stand still; 996 − 645 for 180 cells of a multiplier that is busy in every cycle."""


def line(cells: Sequence[str]) -> str:
    """Cells in the table's columns; a width below 0 is a column of text."""
    return " ".join(
        f"{cell:<{-width}}" if width < 0 else f"{cell:>{width}}"
        for cell, (_, width) in zip(cells, COLUMNS, strict=True)
    ).rstrip()


def baseline(board: str, preset: str) -> dict[str, Any] | None:
    """The numbers in ``tests/baselines`` for a board and preset; None if they were not measured."""
    path = FOLDER / f"{board}-{preset}.json"
    return json.loads(path.read_text()) if path.exists() else None


def rate(numbers: dict[str, Any], cycles: str) -> float:
    """Samples per second at the clock used."""
    return numbers["clock_hz"] / numbers[cycles]


def cells(numbers: dict[str, Any]) -> list[str]:
    """A row's cells from the LUTs on."""
    uses = {name: str(use["used"]) for name, use in numbers["uses"].items()}
    return [
        uses["luts"],
        uses["block_rams"],
        uses.get("sprams", "–"),
        f"{numbers['fmax_mhz']:.1f}",
        f"{numbers['clock_hz'] / 1e6:g}",
        f"{numbers['cycles_a_sample']:.1f}",
        f"{rate(numbers, 'cycles_a_sample'):.0f}",
        f"{rate(numbers, 'cycles_an_inference'):.0f}",
        f"{sum(numbers['accuracy']) / len(numbers['accuracy']):.2%}",
        f"{numbers['state_bits'] / 1000:.1f}",
    ]


def table() -> Iterator[str]:
    """A row for each fit of each board."""
    yield line([name for name, _ in COLUMNS])
    for name, board in constraints.boards().items():
        for fit in board.fits:
            config = PRESETS[fit.preset].config
            network = f"{'-'.join(map(str, config.layers))} {config.precision}"
            numbers = baseline(name, fit.preset)
            row = cells(numbers) if numbers else ["–"] * (len(COLUMNS) - 3)
            yield line([name, network, f"{fit.rows}×{fit.synapses}×{fit.learn_rows}", *row])
    yield "array: rows × synapses a cycle × rows learned at once. Cycles: mean of some points of a run; whole runs of"
    yield "MNIST took 1 % to 2 % more. Commands:"
    yield "popflip build --board BOARD --preset PRESET --output build"
    yield "python bench/baselines.py board build/BOARD.json"


def published() -> Iterator[str]:
    """Rows of published chips: MNIST, as their authors measured it."""
    yield "published, trained on the FPGA, MNIST (accuracy, trained/s, inferred/s):"
    for name, numbers, reference in software.PUBLISHED:
        yield f"{name}: {', '.join(number or '–' for number in numbers)}; {reference}"


def microamperes(logic_cells: int, mhz: float, cell: float) -> float:
    """The core's current by the model: static, per MHz, and per MHz and cell."""
    return STATIC_UA + mhz * (CLOCK_UA_PER_MHZ + logic_cells * cell)


def estimate() -> Iterator[str]:
    """Power of an iCEBreaker's UP5K, for each of its fits that has numbers."""
    for fit in constraints.board("icebreaker").fits:
        numbers = baseline("icebreaker", fit.preset)
        if numbers is None:
            continue
        logic, mhz = numbers["uses"]["logic_cells"]["used"], numbers["clock_hz"] / 1e6
        low, high = (VOLTS * microamperes(logic, mhz, cell) / 1000 for cell in CELL_UA_PER_MHZ)
        speed = rate(numbers, "cycles_a_sample")
        yield (
            f"ESTIMATE, not measured: icebreaker {fit.preset}, the UP5K's core without memories, pins and board: "
            f"{low:.1f} to {high:.1f} mW, {1000 * low / speed:.2f} to {1000 * high / speed:.2f} µJ a training sample"
        )
    yield (
        f"model: {STATIC_UA:g} µA + {CLOCK_UA_PER_MHZ:g} µA/MHz + {CELL_UA_PER_MHZ[0]:g} (cells that hardly switch) to "
        f"{CELL_UA_PER_MHZ[1]:g} (cells of a busy multiplier) µA/MHz a cell, at {VOLTS:g} V; currents measured by "
        "github.com/tinyvision-ai-inc/ice40_power"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Every board and network that fits it, and published chips.")
    parser.add_argument(
        "--software", action="store_true", help="also run bench/software.py, with MNIST in $POPFLIP_DATA"
    )
    with_software = parser.parse_args().software
    for text in table():
        print(text)
    if with_software:
        software.main([])
    else:
        print("\n".join(published()))
    print("\n".join(estimate()))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PopflipError as error:
        sys.exit(f"table: {error}")
