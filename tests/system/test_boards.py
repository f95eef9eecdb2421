"""Boards: their pins, their clocks, and how they are found."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product

import pytest
from amaranth.vendor import LatticeICE40Platform
from paths import ROOT

from popflip import constraints
from popflip.constraints.pins import pin_file
from popflip.golden.config import Precision
from popflip.golden.errors import ConfigError
from popflip.hw.config import ChipConfig
from popflip.hw.lib.pll import Ecp5Pll, Ice40Pll, find_pll
from popflip.hw.link.store import SpramBytes, stride
from popflip.hw.link.uart import divisor
from popflip.hw.memory.sdram_part import PARTS

pytestmark = pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")  # some are only looked at

NAMES = sorted(constraints.boards())


def pins(file: str) -> str:
    """The pin file ``file``, as it is checked in."""
    return (ROOT / "constraints" / file).read_text()


def test_every_documented_board_exists():
    assert {"colorlight_i5", "ice40_hx8k_b_evn", "icebreaker", "orangecrab_25f", "ulx3s_85f"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_pin_file_is_what_the_platform_makes(name):
    path, text = pin_file(name)
    assert path.read_text() == text, "python -m popflip.constraints updates it"


def test_pins_of_the_link():
    """In the files, which the test above compares with what the platforms make."""
    assert "set_io uart_0__rx__io 6\nset_io uart_0__tx__io 9\n" in pins("icebreaker.pcf")
    assert "set_io uart_0__rx__io B10\nset_io uart_0__tx__io B12\n" in pins("ice40_hx8k_b_evn.pcf")
    for name, rx, tx in (("ulx3s_85f", "M1", "L4"), ("orangecrab_25f", "N17", "M18"), ("colorlight_i5", "H18", "J17")):
        text = pins(f"{name}.lpf")
        assert f'LOCATE COMP "uart_0__rx__io" SITE "{rx}";' in text
        assert f'LOCATE COMP "uart_0__tx__io" SITE "{tx}";' in text


def test_a_pin_that_must_be_high_is_driven():
    """An undriven one is pulled low, and the ULX3S's ESP32 takes that for a request to load another bitstream."""
    assert constraints.board("ulx3s_85f").tied_high == ("wifi_gpio0",)
    assert 'LOCATE COMP "wifi_gpio0_0__io" SITE "L2";' in pins("ulx3s_85f.lpf")
    board = constraints.board("ulx3s_85f")
    platform = board.platform()
    chip = ChipConfig((1, 2), Precision.BINARY, 1, 1, 1, 4, 2)
    design = platform.prepare(board.top(chip, platform, 25e6), "popflip", emit_src=False).files["popflip.il"]
    (driver,) = re.findall(r"^module \\popflip.wifi_gpio0\n(.*?)^module", design, re.MULTILINE | re.DOTALL)
    assert "connect \\o$1 1'1\n" in driver  # what the buffer drives
    assert "connect \\oe 1'1\n" in driver


def test_an_oscillator_away_from_the_pll_pad_gets_a_fabric_pll():
    """nextpnr: "PACKAGEPIN … is not connected to any PLL BEL"."""
    board = constraints.board("ice40_hx8k_b_evn")
    platform = board.platform()
    chip = ChipConfig((1, 2), Precision.BINARY, 1, 1, 1, 4, 2)
    plan = platform.prepare(board.top(chip, platform, 48e6), "popflip", emit_src=False)
    design = plan.files["popflip.il"]
    assert "SB_PLL40_CORE" in design and "SB_PLL40_PAD" not in design


def test_a_pll_lies_where_its_board_needs_it():
    """nextpnr: "failed to route HPBX0000 to X3/Y25/LDCC3.CLKI"."""
    sites = {}
    for name in ("colorlight_i5", "ulx3s_85f"):
        board = constraints.board(name)
        platform = board.platform()
        plan = platform.prepare(
            board.top(ChipConfig((1, 2), Precision.BINARY, 1, 1, 1, 4, 2), platform, 50e6), "popflip"
        )
        sites[name] = re.findall(r'attribute \\BEL "(.*)"', plan.files["popflip.il"])
    assert sites == {"colorlight_i5": ["X70/Y49/EHXPLL_LR"], "ulx3s_85f": []}


def test_a_build_needs_no_tool_for_loading():
    platform = constraints.board("orangecrab_25f").platform()
    assert not [text for text in (*platform.required_tools, *platform.command_templates) if "dfu" in text]


@pytest.mark.parametrize(("name", "fit"), [(name, fit) for name in NAMES for fit in constraints.board(name).fits])
def test_every_fit_makes_a_chip_and_a_link(name, fit):
    board = constraints.board(name)
    chip = board.chip(fit)
    assert (chip.slots, chip.learn_rows, chip.compact) == (fit.slots, fit.learn_rows, fit.compact)
    platform = board.platform()
    top = board.top(chip, platform, fit.clock_hz)
    assert top.chip.identity.clock_hz == round(top.clock.hz)
    assert top.chip.identity.buffer_bytes == board.buffer
    assert abs(top.clock.hz - fit.clock_hz) <= fit.clock_hz / 100
    assert top.uart.divisor == divisor(top.clock.hz, board.baud)
    if isinstance(platform, LatticeICE40Platform):
        assert top.clock.pll.hz == 2 * top.clock.hz  # a flip-flop makes the clock
    else:
        assert (top.clock.pll is None) == (fit.clock_hz == platform.default_clk_frequency)


def test_the_fit_is_the_presets_or_the_rules_or_the_first():
    board = constraints.board("icebreaker")
    assert [fit.preset for fit in board.fits] == ["digits-small", "digits-lbe-small", "mnist-small", "mnist-conv-25f"]
    first, second, third, last = board.fits
    assert board.fit() == board.fit("digits") == board.fit("digits-small", "gft") == board.fit(rule="gft") == first
    assert board.fit("digits-lbe-small") == board.fit("mnist-lbe") == board.fit(rule="lbe") == second
    assert board.fit("mnist-small") == third
    assert board.fit("mnist-conv-25f") == last
    assert board.fit("no such preset") == first  # reading the preset is the error


@pytest.mark.parametrize("name", NAMES)
def test_the_store_is_the_boards_and_as_large_as_its_memory(name):
    board = constraints.board(name)
    for layers in ((192, 32, 10), (784, 256, 10)):
        chip = ChipConfig(layers, Precision.TERNARY, 127, 1, 2, 8)
        samples = board.store_samples(chip)
        part = PARTS.get(board.sdram)
        size = board.store_bytes if part is None else part.words * part.data_bits // 8
        assert samples * stride(chip) <= size < 2 * max(1, samples) * stride(chip)
        storing = replace(chip, store_samples=samples, sdram=board.sdram if samples else "")
        top = board.top(storing, board.platform(), board.fit().clock_hz)
        assert top.chip.identity.store_samples == samples
        if board.sdram:
            assert top.chip.link.store.part is part
        elif samples:
            assert isinstance(top.chip.link.store.memory, board.store_memory)


def test_an_icebreaker_keeps_all_digits_in_single_port_ram():
    board = constraints.board("icebreaker")
    assert board.store_memory is SpramBytes
    for preset in ("digits-small", "digits-lbe-small"):
        assert board.chip(board.fit(preset)).store_samples >= 1437


def test_a_compact_chip_has_the_single_port_ram_for_its_counters():
    board = constraints.board("icebreaker")
    fit = board.fit("mnist-small")
    assert board.chip(fit).store_samples == 0
    assert board.chip(fit, store=0).compact
    with pytest.raises(ConfigError) as error:
        board.chip(fit, store=1024)
    assert str(error.value) == ("store: counters lie in the single-port RAM of iCEBreaker (iCE40 UP5K); leave it out")
    board = constraints.board("ulx3s_85f")
    with pytest.raises(ConfigError) as error:
        board.chip(board.fit(), synapses=8, compact=True)
    assert str(error.value) == "compact: ULX3S 85F (ECP5) has no single-port RAM for its counters; leave it out"


def test_unknown_board_is_one_line():
    with pytest.raises(ConfigError) as error:
        constraints.board("versa")
    assert str(error.value) == f"board: 'versa' is not one of {', '.join(NAMES)}"


def test_a_board_is_one_file(tmp_path, monkeypatch):
    source = (pin_file("icebreaker")[0].with_suffix(".py")).read_text()
    (tmp_path / "mine.py").write_text(source.replace("iCEBreaker (", "My board ("))
    monkeypatch.setattr(constraints, "__path__", [*constraints.__path__, str(tmp_path)])
    assert sorted(constraints.boards()) == sorted([*NAMES, "mine"])
    assert constraints.board("mine").summary == "My board (iCE40 UP5K)"


# PLLs -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [18e6, 24e6, 30e6, 33.3e6, 48e6, 60e6, 270e6])
def test_ice40_pll_is_the_nearest_there_is(wanted):
    """Formula and limits written out again, from the data sheet: every setting of every divider."""
    nearest = min(
        abs(12e6 * (divf + 1) / 2**divq / (divr + 1) - wanted)
        for divr, divf, divq in product(range(16), range(128), range(8))
        if 10e6 <= 12e6 / (divr + 1) <= 133e6
        and 533e6 <= 12e6 / (divr + 1) * (divf + 1) <= 1066e6
        and 16e6 <= 12e6 / (divr + 1) * (divf + 1) / 2**divq <= 275e6
        and 1 <= divq <= 6
    )
    pll = find_pll(Ice40Pll, 12e6, wanted)
    assert abs(pll.hz - wanted) == nearest
    assert pll.hz == 12e6 * (pll.divf + 1) / 2**pll.divq / (pll.divr + 1)


@pytest.mark.parametrize(
    ("reference", "wanted"), [(25e6, 50e6), (25e6, 54.2e6), (25e6, 62.2e6), (48e6, 32e6), (48e6, 95.7e6)]
)
def test_ecp5_pll_is_the_nearest_there_is(reference, wanted):
    oscillators = {
        reference / divide * multiply * output
        for divide, multiply, output in product(range(1, 8), range(1, 81), range(1, 129))  # larger: below 10 MHz
        if reference / divide >= 10e6 and 400e6 <= reference / divide * multiply * output <= 800e6
    }
    nearest = min(abs(hz / divide - wanted) for hz, divide in product(oscillators, range(1, 129)))
    pll = find_pll(Ecp5Pll, reference, wanted)
    assert round(abs(pll.hz - wanted)) == round(nearest)
    assert pll.vco_hz == reference / pll.input * pll.feedback * pll.output
    assert 400e6 <= pll.vco_hz <= 800e6
    assert pll.hz == pll.vco_hz / (pll.secondary or pll.output)


def test_known_settings():
    assert find_pll(Ice40Pll, 12e6, 48e6) == Ice40Pll(12e6, 0, 63, 4)  # as icepll
    assert find_pll(Ice40Pll, 12e6, 48e6).filter_range == 1
    assert find_pll(Ecp5Pll, 25e6, 50e6) == Ecp5Pll(25e6, 1, 2, 8)
    assert find_pll(Ecp5Pll, 25e6, 55e6) == Ecp5Pll(25e6, 1, 1, 22, 10)  # 550 MHz, from the second output


@pytest.mark.parametrize(("phase", "setting"), [(16, 1), (20, 2), (40, 3), (60, 4), (100, 5), (130, 6)])
def test_loop_filter_follows_the_phase_detector(phase, setting):
    assert Ice40Pll(phase * 1e6, 0, 1, 1).filter_range == setting


@pytest.mark.parametrize(("kind", "wanted"), [(Ice40Pll, 12e6), (Ice40Pll, 300e6), (Ecp5Pll, 900e6)])
def test_an_impossible_clock_is_one_line(kind, wanted):
    with pytest.raises(ConfigError, match=r"^clock: no PLL setting makes \d+ MHz of 12 MHz$"):
        find_pll(kind, 12e6, wanted)


@pytest.mark.parametrize(
    ("name", "preset", "phase"),
    [("ulx3s_85f", "mnist-tiles", (7, 4, 2)), ("colorlight_i5", "mnist-25f", (8, 5, 6)), ("ulx3s_85f", "digits", None)],
)
def test_an_sdram_has_registers_in_its_pads_and_a_clock_that_is_late(name, preset, phase):
    """3 ns, in eighths of a cycle of the PLL's oscillator. Without a PLL, the clock is inverted."""
    board = constraints.board(name)
    fit = next(fit for fit in board.fits if fit.preset == preset)
    platform = board.platform()
    small = replace(ChipConfig((1, 2), Precision.BINARY, 1, 1, 1, 4, 2), store_samples=16, sdram=board.sdram)
    plan = platform.prepare(board.top(small, platform, fit.clock_hz), "popflip", emit_src=False)
    design, pins = (next(text for file, text in plan.files.items() if file.endswith(end)) for end in (".il", ".lpf"))
    part = PARTS[board.sdram]
    assert design.count("cell \\IFS1P3DX") == part.data_bits
    assert design.count("cell \\ODDRX1F") == 1
    found = re.findall(r"parameter (?:signed )?\\CLKOS3_(DIV|CPHASE|FPHASE) (\d+)", design)
    assert found == ([] if phase is None else list(zip(("DIV", "CPHASE", "FPHASE"), map(str, phase), strict=True)))
    assert len(re.findall(r'LOCATE COMP "sdram_0__dq__io\[\d+\]"', pins)) == part.data_bits


def test_a_set_larger_than_the_sdram_is_one_line():
    board = constraints.board("ulx3s_85f")
    with pytest.raises(ConfigError) as error:
        board.chip(board.fit("mnist-tiles"), store=2**19)
    assert str(error.value) == "store: the SDRAM of ULX3S 85F (ECP5) holds 262144 samples of this network; store fewer"
    assert board.chip(board.fit("mnist-tiles"), store=0).sdram == ""
