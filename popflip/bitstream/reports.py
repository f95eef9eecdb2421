"""Resources and speed of a build: from the tools' files to the report and the printed table."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

from popflip.bitstream.families import Family
from popflip.bitstream.margin import required_mhz
from popflip.bitstream.netlists import folder_of
from popflip.constraints.base import Board, Fit
from popflip.errors import BuildError
from popflip.hw.config import ChipConfig

MARGIN = 1.01
"""Over-constraint factor for ``--tmg-ripup`` builds, which finish slightly below the requested frequency."""

LABELS = {
    "luts": "LUTs",
    "flip_flops": "flip-flops",
    "logic_cells": "logic cells",
    "block_rams": "block RAMs",
    "sprams": "single-port RAMs",
}
"""Resources in the order of the report, with their names in the table."""


def chip_report(board: Board, fit: Fit, chip: ChipConfig) -> dict[str, Any]:
    """The part of the report that describes the design."""
    return {
        "board": board.name,
        "rule": str(chip.rule),
        "layers": list(chip.layers),
        "precision": str(chip.precision),
        "rows": chip.array_rows,
        "synapses": chip.array_synapses,
        "learn_rows": chip.learn_rows,
        "slots": chip.slots,
        "store_samples": chip.store_samples,
        "clock_hz": fit.clock_hz,
        "link": board.link.kind,
        "baud": board.baud,
    }


def result_report(
    family: Family, log: str, cells: str, timing: str, factor: float = 1, chip_mhz: float = 0
) -> dict[str, Any]:
    """The part of the report that describes the result: resources, clocks and the slowest path.

    ``log`` is place and route's, ``timing`` its timing report, ``cells`` the statistics of synthesis. ``factor`` and
    ``chip_mhz``: see :func:`clocks`.
    """
    paths = json.loads(timing)
    return {
        "uses": uses(family, utilisation(log), json.loads(cells)),
        "clocks": clocks(paths, factor, chip_mhz),
        "critical_path": critical_path(paths),
    }


def utilisation(log: str) -> dict[str, tuple[int, int]]:
    """Cells used and available, by type, from the log of place and route."""
    found = re.findall(r"^Info:\s+(\w+):\s+(\d+)/\s*(\d+)\s+\d+%$", log, re.MULTILINE)
    return {kind: (int(used), int(available)) for kind, used, available in found}


def check_fits(used: dict[str, tuple[int, int]], board: Board) -> None:
    """Raise :class:`BuildError` that names the cells of which the design needs more than the board has."""
    short = [f"{use} of {available} {kind}" for kind, (use, available) in used.items() if use > available]
    if short:
        raise BuildError(f"does not fit {board.summary}: needs {', '.join(short)}; use fewer layers, rows or synapses")


def uses(family: Family, used: dict[str, tuple[int, int]], statistics: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Cells used and available, by their names in the report. Resources that the part lacks are left out."""
    cells = statistics["design"]["num_cells_by_type"]
    table = {name: used[cell] for name, cell in family.uses.items() if cell in used}
    for name, prefix in family.counts.items():
        count = sum(number for cell, number in cells.items() if cell.startswith(prefix))
        table[name] = (count, table[family.of][1])
    return {name: {"used": table[name][0], "available": table[name][1]} for name in LABELS if name in table}


def clocks(timing: dict[str, Any], factor: float = 1, chip_mhz: float = 0) -> dict[str, dict[str, float]]:
    """MHz that routing reaches and that the chip needs, by clock.

    ``chip_mhz`` is the chip's clock. Of nextpnr, ``factor`` times that was requested.
    """
    return {
        net: {
            "fmax_mhz": round(hz["achieved"], 2),
            "needed_mhz": round(hz["constraint"] / (factor if _is(hz["constraint"], factor * chip_mhz) else 1), 2),
        }
        for net, hz in sorted(timing["fmax"].items())
    }


def _is(mhz: float, requested: float) -> bool:
    """Whether a clock is the requested one, but for the rounding of its constraint."""
    return abs(mhz - requested) < 0.002 * requested


def check_clocks(report: dict[str, Any], board: Board) -> None:
    """Raise :class:`BuildError` if a clock is not met with the margin of :mod:`popflip.bitstream.margin`."""
    path = report["critical_path"]
    slowest = f" (slowest from {path['source']} to {path['sink']})"
    jitter, chip = report["jitter_ns"] * 1e-9, min(clock["needed_mhz"] for clock in report["clocks"].values())
    reached = [(f"clock {net}", clock["needed_mhz"], clock["fmax_mhz"]) for net, clock in report["clocks"].items()]
    if report.get("icetime_mhz") is not None:
        reached.append(("by icetime, the clock", chip, report["icetime_mhz"]))
    for name, needed, fmax in reached:
        required = required_mhz(needed, jitter)
        if fmax < required:
            raise BuildError(
                f"{board.summary}: {name} needs {needed} MHz, {required:.2f} with its margin; routing reaches {fmax} "
                f"MHz{slowest}; use fewer rows or synapses"
            )


def critical_path(timing: dict[str, Any]) -> dict[str, Any]:
    """Start, end and delay of the slowest path within one clock domain, in proportion to the period of its clock."""
    inside = [path for path in timing["critical_paths"] if path["from"] == path["to"]]
    slowest = max(inside, key=lambda path: _nanoseconds(path) * _constraint(timing, path))
    return {
        "clock": slowest["from"].removeprefix("posedge ").removeprefix("negedge "),
        "source": signal_name(slowest["path"][0]["from"]["cell"]),
        "sink": signal_name(slowest["path"][-1]["to"]["cell"]),
        "nanoseconds": round(_nanoseconds(slowest), 2),
    }


def _constraint(timing: dict[str, Any], path: dict[str, Any]) -> float:
    """The MHz that were requested of the clock of ``path``."""
    clock = path["from"].removeprefix("posedge ").removeprefix("negedge ")
    return timing["fmax"].get(clock, {}).get("constraint", 1.0)


def _nanoseconds(path: dict[str, Any]) -> float:
    return sum(segment["delay"] for segment in path["path"])


def signal_name(cell: str) -> str:
    """The design's name in a cell's name, without the suffixes of synthesis and packing."""
    return re.sub(r"(_(SB_|TRELLIS_|LUT4|PFUMX|L6MUX|CCU2C|DP16KD|DFF)\w*|\$.*)(\..*)?$", "", cell) or cell


def rows(report: dict[str, Any], file: Path, board: Board) -> list[tuple[str, str]]:
    """Names and values of the table shown at the end of a build; ``file`` is the bitstream."""
    path = report["critical_path"]
    return [
        *((LABELS[name], f"{use['used']} of {use['available']}") for name, use in report["uses"].items()),
        *(
            (f"clock {net}", f"{clock['needed_mhz']} MHz used, {clock['fmax_mhz']} MHz reached")
            for net, clock in report["clocks"].items()
        ),
        *([("by icetime", f"{report['icetime_mhz']} MHz reached")] if report.get("icetime_mhz") is not None else []),
        ("slowest path", f"{path['nanoseconds']} ns, {path['source']} to {path['sink']}"),
        ("seconds", ", ".join(f"{tool} {seconds}" for tool, seconds in report["seconds"].items())),
        ("SHA-256", report["sha256"]),
        ("bitstream", str(file)),
        *([("netlists", str(folder_of(file)))] if "netlists" in report else []),
        ("load it with", board.program.format(bitstream=shlex.quote(str(file)))),
    ]
