"""Logic and block RAM that ``popflip estimate`` expects, compared with the tools' counts.

    python bench/resources.py [--synthesise [--missing] [--jobs N]] [--fit]

Prints a line for each chip of ``bench/syntheses.json``: cells as place and route counts them after packing, and block
RAMs, both measured and estimated. ``--fit`` also prints the coefficients for ``popflip.estimation.resources`` that fit
these chips best, and the error of each chip when the fit leaves it out. ``--synthesise`` measures the chips again with
the tools of the ``build`` extra (15 minutes, less with more ``--jobs``) and writes the file; with ``--missing`` only
those that have no counts yet.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from scipy.optimize import nnls

from popflip import constraints
from popflip.bitstream.build import DESIGN, commands, prepare
from popflip.bitstream.families import family_of
from popflip.bitstream.reports import utilisation
from popflip.bitstream.toolchain import Toolchain
from popflip.estimation import resources
from popflip.files import whole_file
from popflip.golden.config import Precision, Rule
from popflip.hw.config import ChipConfig

FILE = Path(__file__).with_name("syntheses.json")
BOARDS = {"ice40": ("icebreaker", 12e6), "ecp5": ("ulx3s_85f", 25e6)}
FAMILIES = {"ice40": resources.ICE40, "ecp5": resources.ECP5}
CELLS = {"ice40": ("ICESTORM_LC", "ICESTORM_RAM"), "ecp5": ("TRELLIS_COMB", "DP16KD")}


def chip_of(row: dict[str, Any]) -> ChipConfig:
    """The chip of an entry of the file. Its ``mmax`` is a number, or a list with one for each layer."""
    limits = row["mmax"] if isinstance(row["mmax"], list) else [row["mmax"]]
    return ChipConfig(
        layers=tuple(row["layers"]),
        precision=Precision(row["precision"]),
        mmax=max(limits),
        dclip=row.get("dclip", 1),
        array_rows=row["rows"],
        array_synapses=row["synapses"],
        slots=row["slots"],
        rule=Rule(row["rule"]),
        classes=10,
        learn_rows=row["learn_rows"],
        compact=row.get("compact", False),
        mmaxes=tuple(limits) if len(set(limits)) > 1 else (),
    )


def estimated(row: dict[str, Any]) -> tuple[int | None, int]:
    """Estimated cells (GFT only) and block RAMs."""
    chip, family = chip_of(row), FAMILIES[row["family"]]
    buffer = constraints.board(BOARDS[row["family"]][0]).buffer
    cells = resources.cells(chip, family) if chip.rule == Rule.GFT else None
    return cells, resources.block_rams(chip, buffer, family)


def synthesised(row: dict[str, Any]) -> dict[str, Any]:
    """The entry with the tools' current counts."""
    name, clock = BOARDS[row["family"]]
    board = constraints.board(name)
    platform = board.platform()
    tools = Toolchain(family_of(platform).package)
    with tempfile.TemporaryDirectory(prefix="popflip-") as folder:
        plan = prepare(board, platform, chip_of(row), replace(board.fits[0], clock_hz=clock))
        plan.extract(folder)
        synthesis, place = commands(plan)[:2]
        tools.run(synthesis, Path(folder))
        *place, output, _ = place  # a design that is only packed cannot be written
        assert output in ("--asc", "--textcfg"), output
        tools.run([*place, "--pack-only"], Path(folder))
        used = utilisation(Path(folder, f"{DESIGN}.tim").read_text())
    cells, rams = (used[cell][0] for cell in CELLS[row["family"]])
    return row | {"cells": cells, "block_rams": rams}


def fit(rows: list[dict[str, Any]]) -> np.ndarray:
    """Non-negative coefficients with the least squares of relative errors."""
    counts = np.array([resources.counts(chip_of(row), FAMILIES[row["family"]]) for row in rows], float)
    cells = np.array([row["cells"] for row in rows], float)
    return nnls(counts / cells[:, None], np.ones(len(cells)))[0]


def _print_fit(family: str, rows: list[dict[str, Any]]) -> None:
    """The coefficients that fit some chips of a family, and the error of each chip when the fit leaves it out."""
    kind = "convolutional" if chip_of(rows[0]).convolves else "dense"
    print(f"{family}, {kind}: {', '.join(f'{each:.4g}' for each in fit(rows))}")
    without = [
        (fit(rows[:i] + rows[i + 1 :]) @ resources.counts(chip_of(row), FAMILIES[family])) / row["cells"] - 1
        for i, row in enumerate(rows)
    ]
    print("  left out of the fit:", ", ".join(f"{error:+.1%}" for error in without))


def _beside(estimate: int | None, measured: int | None) -> str:
    """An estimate, and by how much it is off."""
    if estimate is None:
        return "–"
    return str(estimate) if measured is None else f"{estimate} ({estimate / measured - 1:+.1%})"


def main() -> int:
    parser = argparse.ArgumentParser(description="Estimated and measured cells and block RAMs.")
    parser.add_argument("--synthesise", action="store_true", help="measure again, which takes 15 minutes")
    parser.add_argument("--missing", action="store_true", help="with --synthesise: only chips without counts")
    parser.add_argument("--jobs", type=int, default=1, help="with --synthesise: chips in parallel (1)")
    parser.add_argument("--fit", action="store_true", help="print the coefficients that fit best")
    options = parser.parse_args()
    rows = json.loads(FILE.read_text())
    if options.synthesise:
        wanted = [row for row in rows if row["cells"] is None or not options.missing]
        with ProcessPoolExecutor(options.jobs) as pool:  # not threads: extracting a plan changes the working directory
            done = track(pool.map(synthesised, wanted), "synthesising", len(wanted), console=Console(stderr=True))
            for row, measured in zip(wanted, done, strict=True):
                row |= measured
        with whole_file(FILE) as file:
            file.write(("[\n" + ",\n".join("  " + json.dumps(row) for row in rows) + "\n]\n").encode())
    print(f"{'chip':60}{'cells':>8}{'estimate':>16}{'block RAMs':>12}{'estimate':>16}")
    for row in rows:
        cells, rams = estimated(row)
        name = f"{row['family']} {row['rule']} {'-'.join(map(str, row['layers']))} {row['precision']}"
        geometry = f"{row['rows']} × {row['synapses']} × {row['learn_rows']}"
        expected, memory = _beside(cells, row["cells"]), _beside(rams, row["block_rams"])
        first, second = ("–" if each is None else str(each) for each in (row["cells"], row["block_rams"]))
        print(f"{name + ', ' + geometry:60}{first:>8}{expected:>16}{second:>12}{memory:>16}")
    if options.fit:
        for family in FAMILIES:
            for convolves in (False, True):
                mine = [row for row in rows if row["family"] == family and row["rule"] == "gft" and row["cells"]]
                _print_fit(family, [row for row in mine if chip_of(row).convolves == convolves])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
