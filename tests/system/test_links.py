"""The links of boards: which they have, which speeds they make, and the design of a board with USB."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from functools import cache

import pytest

from popflip import constraints
from popflip.bitstream import builds
from popflip.bitstream.build import NOT_OF_THE_CHIP, UNDEFINED_COLLISIONS, prepare
from popflip.cli.main import run_command
from popflip.constraints.links import USB_BYTES, UartLink, UsbLink
from popflip.constraints.pins import SMALLEST
from popflip.golden.errors import ConfigError
from popflip.hw.lib.pll import Ecp5Pll
from popflip.hw.link.uart import BAUD, divisor

pytestmark = pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable", "ignore::DeprecationWarning")

KINDS = {
    "colorlight_i5": ["uart"],
    "ice40_hx8k_b_evn": ["uart"],
    "icebreaker": ["uart"],
    "orangecrab_25f": ["uart", "usb"],
    "ulx3s_85f": ["uart", "usb"],
}


def test_every_board_begins_with_a_uart_at_the_speed_of_all():
    boards = constraints.boards()
    assert {name: [link.kind for link in board.links] for name, board in boards.items()} == KINDS
    assert {(type(board.link), board.baud) for board in boards.values()} == {(UartLink, BAUD)}


@pytest.mark.parametrize(
    ("link", "baud", "expected"),
    [
        (None, None, ("uart", 1_000_000)),
        ("uart", None, ("uart", 1_000_000)),
        (None, 3_000_000, ("uart", 3_000_000)),
        ("uart", 2_000_000, ("uart", 2_000_000)),
        ("uart@3000000", None, ("uart", 3_000_000)),
        ("uart@3000000", 3_000_000, ("uart", 3_000_000)),
        ("usb", None, ("usb", 10 * USB_BYTES)),
    ],
)
def test_the_link_is_chosen(link, baud, expected):
    board = constraints.board("ulx3s_85f").linked(link, baud)
    assert (board.link.kind, board.baud) == expected
    assert sorted(each.kind for each in board.links) == KINDS["ulx3s_85f"]


@pytest.mark.parametrize(
    ("board", "flags", "message"),
    [
        ("icebreaker", ["--link", "usb"], "--link: the FPGA of iCEBreaker (iCE40 UP5K) is at no USB port; it has uart"),
        ("ulx3s_85f", ["--link", "wifi"], "--link: 'wifi' is not a link of ULX3S 85F (ECP5); it has uart and usb"),
        ("ulx3s_85f", ["--link", "uart@fast"], "--link: 'fast' is not a baud rate; write uart@3000000"),
        ("ulx3s_85f", ["--link", "uart@0"], "--link: '0' is not a baud rate; write uart@3000000"),
        ("ulx3s_85f", ["--link", "usb@3000000"], "--link: USB has a speed of its own; leave it out"),
        ("ulx3s_85f", ["--link", "usb", "--baud", "3000000"], "--baud: USB has a speed of its own; leave it out"),
        (
            "ulx3s_85f",
            ["--link", "uart@3000000", "--baud", "1000000"],
            "--link: uart@3000000 and a baud of 1000000 differ; give one of them",
        ),
        (
            "ulx3s_85f",
            ["--link", "uart@4000000"],
            "--link: 4000000 baud is too fast for the FT231X of ULX3S 85F (ECP5); at most 3000000 works",
        ),
        (
            "ulx3s_85f",
            ["--baud", "4000000"],
            "--baud: 4000000 baud is too fast for the FT231X of ULX3S 85F (ECP5); at most 3000000 works",
        ),
        (
            "icebreaker",
            ["--link", "uart@6000000"],
            "--baud: 6000000 is too fast for a clock of 12000000 Hz; at most 3000000 works",
        ),
    ],
)
@pytest.mark.parametrize("command", ["build", "load", "estimate"])
def test_a_link_that_cannot_be_is_one_line(command, board, flags, message, capsys):
    assert run_command([command, "--board", board, *flags]) == 2
    assert capsys.readouterr().err == f"popflip: {message}\n"


def test_a_fit_may_have_another_clock_with_usb():
    board = constraints.board("orangecrab_25f")
    fit, beside_usb = board.fit("mnist-25f"), board.linked("usb").fit("mnist-25f")
    assert (fit.clock_hz, beside_usb.clock_hz) == (98e6, 88e6)
    assert board.linked("uart").fit("mnist-25f") == fit
    assert replace(beside_usb, clock_hz=98e6, usb_hz=88e6) == fit
    others = [each for each in constraints.board("ulx3s_85f").fits if not each.usb_hz]
    assert list(constraints.board("ulx3s_85f").linked("usb").fits) == others


def test_without_luna_usb_is_one_line(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "luna", None)
    assert run_command(["build", "--board", "orangecrab_25f", "--link", "usb"]) == 2
    assert capsys.readouterr().err == (
        "popflip: --link: USB needs luna-usb, which is not installed; run pip install 'popflip[usb]'\n"
    )


@pytest.mark.parametrize(
    ("board", "preset", "baud"),
    [
        ("ulx3s_85f", "digits", 3_000_000),
        ("ulx3s_85f", "mnist-tiles", 3_000_000),
        ("icebreaker", "digits-small", 3_000_000),
        ("icebreaker", "mnist-small", 3_000_000),
        ("ice40_hx8k_b_evn", "digits-medium", 12_000_000),
        ("orangecrab_25f", "mnist-25f", 12_000_000),
    ],
)
def test_clocks_of_the_networks_make_the_fast_speeds(board, preset, baud):
    entry = constraints.board(board).linked("uart", baud)
    fit = entry.fit(preset)
    top = entry.top(SMALLEST, entry.platform(), fit.clock_hz)
    assert top.uart.divisor == divisor(top.clock.hz, baud)
    assert abs(top.clock.hz / float(top.uart.divisor) / baud - 1) <= 0.01


# USB ------------------------------------------------------------------------------------------------------------------

PINS = {
    "orangecrab_25f": {"d_p": "N1", "d_n": "M2", "pullup": "N2"},
    "ulx3s_85f": {"d_p": "D15", "d_n": "E15", "pullup": "B12"},
}


@cache
def with_usb(name: str):
    """The board called ``name`` with USB: the plan of a build of the smallest chip."""
    pytest.importorskip("luna", reason="luna-usb is not installed (extra usb)")
    board = constraints.board(name).linked("usb")
    return prepare(board, board.platform(), SMALLEST, board.fit())


@pytest.mark.parametrize("name", PINS)
def test_pins_and_clocks_of_usb(name):
    plan = with_usb(name)
    pins = plan.files["popflip.lpf"]
    for wire, site in PINS[name].items():
        assert f'LOCATE COMP "usb_0__{wire}__io" SITE "{site}";' in pins
        assert re.search(rf'^IOBUF PORT "usb_0__{wire}__io" IO_TYPE=LVCMOS33 PULLMODE=NONE', pins, re.MULTILINE)
    assert "uart" not in pins
    hz = {net: float(value) for net, value in re.findall(r'^FREQUENCY NET "(.*)" (.*) HZ;$', pins, re.MULTILINE)}
    assert sorted(hz) == ["clock.clock", "usb_clocks.pll.usb12", "usb_clocks.pll.usb48"]
    assert hz["usb_clocks.pll.usb48"] == 4 * hz["usb_clocks.pll.usb12"]
    assert abs(hz["usb_clocks.pll.usb48"] / 48e6 - 1) < 0.002
    design = plan.files["popflip.il"]
    assert not re.search(r"_\d{9,}", design), "a name made of a place in memory"
    assert "\n".join((UNDEFINED_COLLISIONS[0], *NOT_OF_THE_CHIP, UNDEFINED_COLLISIONS[1])) in plan.files["popflip.ys"]


def test_edges_of_the_two_clocks_of_usb_are_aligned():
    """Both dividers start after as many cycles of the oscillator, and one divides by four times as many."""
    plan = with_usb("ulx3s_85f")
    (cell,) = re.findall(r"cell \\EHXPLLL .*?end", plan.files["popflip.il"], re.DOTALL)
    values = dict(re.findall(r"parameter (?:signed )?\\(CLKO\w+) (.*)", cell))
    value = {name: int(text) for name, text in values.items() if text.isdecimal()}
    assert value["CLKOS2_DIV"] == 4 * value["CLKOS_DIV"]
    assert (value["CLKOS2_CPHASE"], value["CLKOS2_FPHASE"]) == (value["CLKOS_CPHASE"], value["CLKOS_FPHASE"])


def test_a_clock_that_is_too_far_from_that_of_usb_is_one_line():
    pytest.importorskip("luna", reason="luna-usb is not installed (extra usb)")
    from popflip.hw.usb_top import usb_pll

    assert usb_pll(Ecp5Pll, 25e6).hz == 625e6 / 13
    assert usb_pll(Ecp5Pll, 48e6).hz == 48e6
    with pytest.raises(ConfigError) as error:
        usb_pll(Ecp5Pll, 19e6)
    assert str(error.value) == "link: no PLL setting makes USB's 48 MHz of 19 MHz"


def test_a_design_without_usb_needs_no_luna():
    """And does not change with it: its module is not among the sources of a chip."""
    code = """
import sys
from popflip import constraints
from popflip.constraints.pins import SMALLEST
board = constraints.board("ulx3s_85f")
platform = board.platform()
design = platform.prepare(board.top(SMALLEST, platform, 25e6), "popflip", emit_src=False).files["popflip.il"]
print("usb" in design, [name for name in sys.modules if "luna" in name or name.endswith(("hw.usb_top", "link.usb"))])
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False []\n"


def test_the_link_is_among_the_inputs_of_a_build():
    board = constraints.board("ulx3s_85f")
    fit = board.fit()
    chip = board.chip(fit)
    links = [("uart", None), ("uart", 3_000_000), ("usb", None)]
    assert len({builds.inputs_of(board.linked(*link), fit, chip) for link in links}) == 3


def test_speeds_of_usb_builds_are_no_baud_rates(tmp_path, monkeypatch):
    monkeypatch.setenv("POPFLIP_CACHE", str(tmp_path))
    board = constraints.board("ulx3s_85f")
    for number, link in enumerate((("usb", None), ("uart", 750_000))):
        builds._note(bytes([number]), board.linked(*link))
    assert builds.noted_speeds() == [750_000]
    assert builds._noted(b"\0") == {"ulx3s_85f"}


def test_usb_is_for_boards_whose_fpga_is_an_ecp5():
    assert {name for name, board in constraints.boards().items() if UsbLink in map(type, board.links)} == set(PINS)
