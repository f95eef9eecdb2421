"""Bitstreams: a board's design through synthesis, place and route, and packing.

The tools come with the ``build`` extra. Every step runs in a temporary folder on files with relative names, so that the
bitstream depends only on the design and the tools. Bitstream and report are written only if all steps succeed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from amaranth.build import Platform
from amaranth.build.run import BuildPlan

from popflip.bitstream import clock_sources, netlists, reports
from popflip.bitstream.families import family_of
from popflip.bitstream.margin import icetime_mhz, jitter_seconds, required_mhz
from popflip.bitstream.router_watch import is_stuck
from popflip.bitstream.toolchain import RouterStuck, Toolchain
from popflip.constraints.base import Board, Fit
from popflip.constraints.links import UsbLink
from popflip.errors import BuildError
from popflip.files import reason, whole_file
from popflip.hw.config import ChipConfig
from popflip.report import write

Announce = Callable[[str], object]

DESIGN = "popflip"

UNDEFINED_COLLISIONS = (
    "select -set shared t:$memrd_v2 r:COLLISION_X_MASK=1'0 %i r:CLK_ENABLE=1 %i r:TRANSPARENCY_MASK=1'0 %i",
    "setparam -set COLLISION_X_MASK 1'1 @shared",
)
"""Yosys commands that declare a read undefined in the cycle that writes the same word. The chip never uses such a word
(tests/test_trainer.py). Amaranth cannot express that; without these commands Yosys adds logic to every memory that
returns the old word. ROMs and asynchronous reads have no such cycle; transparent ports return the new word."""

NOT_OF_THE_CHIP = ("select -set shared @shared popflip.usb*/* %d",)
"""For a bitstream with USB, between the two: LUNA may use such words, and its queues have two clocks."""

ATTEMPTS = 4
"""Seeds to try if the router gets stuck."""

NETLISTS = {"synthesis": f"{DESIGN}.json", "route": "routed.json"}
"""The files of the netlists, by the step that writes them (:data:`popflip.bitstream.netlists.LEVELS`)."""


def build(
    board: Board, fit: Fit, chip: ChipConfig, output: Path, announce: Announce, keep: bool = False
) -> list[tuple[str, str]]:
    """Build the bitstream of ``chip`` for ``board`` with the settings of ``fit``.

    Writes the bitstream and its report, named after the board, into the folder ``output``; with ``keep``, also the
    netlists (:mod:`popflip.bitstream.netlists`), which changes no bit of the bitstream. Calls ``announce`` with a line
    of text before each step. Returns the rows of a table about all. Raises :class:`BuildError` if a step fails, the
    chip does not fit, or a clock is not met.
    """
    platform = board.platform()
    family = family_of(platform)
    tools = Toolchain(family.package)
    _check_folder(output)
    with tempfile.TemporaryDirectory(prefix="popflip-") as temporary:
        folder = Path(temporary)
        announce(f"{board.summary}: {describe(chip)}; takes minutes, one more for each tool used first")
        plan = prepare(board, platform, chip, fit)
        plan.extract(temporary)
        seed, seconds = _run_steps(tools, commands(plan, keep), folder, board, fit, announce)
        pll, hz = board.clock(platform, fit.clock_hz)
        jitter = jitter_seconds(pll)
        bitstream = (folder / f"{DESIGN}.{family.suffix}").read_bytes()
        kept = {level: (folder / name).read_bytes() for level, name in NETLISTS.items()} if keep else {}
        log, cells, timing = (_text(folder / name) for name in (f"{DESIGN}.tim", "cells.json", "timing.json"))
        report = {
            **reports.chip_report(board, fit, chip),
            "seed": seed,
            **reports.result_report(family, log, cells, timing, _factor(board, platform, fit), hz / 1e6),
            "jitter_ns": round(jitter * 1e9, 3),
            "icetime_mhz": icetime_mhz(platform.device, platform.package, folder / f"{DESIGN}.asc", announce),
            "seconds": seconds,
            "tools": tools.versions() | {package: metadata.version(package) for package in board.link.packages},
            "sha256": hashlib.sha256(bitstream).hexdigest(),
            **({"netlists": netlists.digests(kept)} if keep else {}),
        }
    reports.check_clocks(report, board)
    _make(output)
    file = output / f"{board.name}.{family.suffix}"
    with whole_file(file) as target:
        target.write(bitstream)
    if keep:
        netlists.keep(kept, file)
    write(output / f"{board.name}.json", report)
    return reports.rows(report, file, board)


def describe(chip: ChipConfig) -> str:
    """A chip in a few words."""
    layers = "-".join(map(str, chip.layers))
    return f"{layers} {chip.precision}, {chip.array_rows} rows × {chip.array_synapses} synapses a cycle"


def prepare(board: Board, platform: Platform, chip: ChipConfig, fit: Fit) -> BuildPlan:
    """All files of the build, pins included. Runs no tool. The files contain no path of this machine."""
    family = family_of(platform)
    router = f"--router {name}" if (name := fit.router or family.router) else ""
    if fit.ripup:
        router += " --tmg-ripup"
    plan = platform.prepare(
        board.top(chip, platform, fit.clock_hz),
        DESIGN,
        emit_src=False,
        script_after_read="\n".join(_collisions(board)),
        synth_opts=family.synthesis,
        script_after_synth="tee -q -o cells.json stat -json",
        # reports.check_clocks has a one-line message for clocks that are not met.
        nextpnr_opts=f"--seed {fit.seed} {router} {family.placer} --report timing.json --timing-allow-fail",
    )
    (pins,) = (file for file in plan.files if file.endswith((".pcf", ".lpf")))
    plan.files[pins] = over_constrained(plan.files[pins], _factor(board, platform, fit))
    return plan


def _collisions(board: Board) -> tuple[str, ...]:
    """The commands of :data:`UNDEFINED_COLLISIONS` for the chip alone."""
    select, set_ = UNDEFINED_COLLISIONS
    return (select, *(NOT_OF_THE_CHIP if isinstance(board.link, UsbLink) else ()), set_)


def over_constrained(pins: str, factor: float) -> str:
    """The pin file ``pins`` with ``factor`` times the clock that the chip generates."""
    return re.sub(
        r'^(FREQUENCY NET "clock\.clock"|set_frequency clock\.clock) (\S+)',
        lambda found: f"{found[1]} {float(found[2]) * factor:.6f}",
        pins,
        flags=re.MULTILINE,
    )


def _factor(board: Board, platform: Platform, fit: Fit) -> float:
    """How many times its clock is requested of nextpnr: with its margin, and a little more where it finishes below."""
    pll, hz = board.clock(platform, fit.clock_hz)
    return required_mhz(hz / 1e6, jitter_seconds(pll)) / (hz / 1e6) * (reports.MARGIN if fit.ripup else 1)


def synthesis(board: Board, chip: ChipConfig, fit: Fit) -> dict[str, int]:
    """Synthesise ``chip``, and return the number of cells of each type. Nothing is placed."""
    platform = board.platform()
    with tempfile.TemporaryDirectory(prefix="popflip-") as folder:
        plan = prepare(board, platform, chip, fit)
        plan.extract(folder)
        Toolchain(family_of(platform).package).run(commands(plan)[0], Path(folder))
        return json.loads(_text(Path(folder, "cells.json")))["design"]["num_cells_by_type"]


def commands(plan: BuildPlan, keep: bool = False) -> list[list[str]]:
    """The commands to run, in order: a tool and its arguments. With ``keep``, nextpnr also writes its netlist."""
    steps = json.loads(plan.files[f"build_{DESIGN}.json"])["commands"]
    if keep:
        place = next(step for step in steps if "--seed" in step)
        place += ["--write", NETLISTS["route"]]
    return steps


def place_and_route(tools: Toolchain, command: list[str], folder: Path, announce: Announce) -> int:
    """Run ``command`` with its seed, then with the next seeds if the router gets stuck. Return the seed that worked."""
    place = command.index("--seed") + 1
    first = int(command[place])
    log = folder / f"{DESIGN}.tim"
    for seed in range(first, first + ATTEMPTS):
        log.unlink(missing_ok=True)  # the previous seed's
        try:
            tools.run([*command[:place], str(seed), *command[place + 1 :]], folder, lambda: is_stuck(_text(log)))
            return seed
        except RouterStuck:
            announce(f"the router is stuck with seed {seed}")
    raise BuildError(
        f"{command[0]}: the router is stuck with seeds {first} to {first + ATTEMPTS - 1}; use fewer rows or synapses"
    )


def _run_steps(
    tools: Toolchain, steps: list[list[str]], folder: Path, board: Board, fit: Fit, announce: Announce
) -> tuple[int, dict[str, float]]:
    """Run every step. Return the seed of place and route, and the seconds that each tool took."""
    seed, seconds = fit.seed, {}
    for command in steps:
        announce(f"{command[0]} …")
        start = time.monotonic()
        try:
            if "--seed" in command:
                seed = place_and_route(tools, command, folder, announce)
            else:
                tools.run(command, folder)
        except BuildError:
            reports.check_fits(reports.utilisation(_text(folder / f"{DESIGN}.tim")), board)
            raise
        seconds[command[0]] = round(time.monotonic() - start, 1)
        if command[0] == "yosys":
            clock_sources.check(json.loads(_text(folder / f"{DESIGN}.json")))
    return seed, seconds


# Files ----------------------------------------------------------------------------------------------------------------


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _check_folder(folder: Path) -> None:
    """Check before the work that files can be written to ``folder`` after it."""
    existing = next(parent for parent in (folder, *folder.resolve().parents) if parent.exists())
    if not existing.is_dir():
        raise BuildError(f"output: {folder}: {existing} is a file, not a folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise BuildError(f"output: {folder}: {existing} cannot be written to")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BuildError(f"output: {folder}: {reason(error)}") from None
