"""Netlists after synthesis and after routing: Yosys's models of the cells, and memories as in a bitstream.

The chips here are chains of cells from pin rx to pin tx. Each cell passes its input on, by constants that make it do
so, and the bytes that come out must be those that went in.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from popflip.bitstream import netlists
from popflip.cli.main import run_command
from popflip.errors import BuildError
from popflip.silicon.cells import models, netlist
from popflip.silicon.dual_port import DualPortRam
from popflip.silicon.netlist import ONE, ZERO, BlockRam, ClockGate, Netlist, SinglePortRam
from popflip.silicon.simulation import Bitstream, _verilator, compile_netlist
from popflip.sim.cxxrtl.simulation import Simulation
from popflip.sim.errors import SimulationTimeout

PORTS = {"uart_0__rx__io": "rx pin", "uart_0__tx__io": "tx pin", "clk12_0__io": "clock pin"}
REPORT = {"board": "icebreaker", "rule": "gft", "layers": [9, 3], "clock_hz": 12e6, "baud": 1_000_000}
ECHO = b"\x00\xff\x5aecho"

SAME, OTHER = "0000000000000010", "0000000000000000"
"""A LUT that passes on its first input if the others are 0, and one that does not."""


def cell(kind: str, inputs: str, outputs: str, **parameters: str) -> dict:
    """A cell of Yosys's JSON, whose nets have names. ``0``, ``1`` and ``x`` are constants.

    ``inputs`` and ``outputs`` : ``PORT=net net …, PORT=net …``, bit 0 first.
    """
    ports, directions = {}, {}
    for direction, text in (("input", inputs), ("output", outputs)):
        for name, _, nets in (port.partition("=") for port in text.split(", ") if port):
            ports[name], directions[name] = nets.split(), direction
    return {"type": kind, "parameters": parameters, "connections": ports, "port_directions": directions}


PINS = (
    cell("SB_IO", "PACKAGE_PIN=rx_pin", "D_IN_0=rx", PIN_TYPE="000001"),
    cell("TRELLIS_IO", "B=clock_pin", "O=clock", DIR="INPUT"),
    cell("SB_IO", "PACKAGE_PIN=tx_pin, D_OUT_0=tx, OUTPUT_ENABLE=1", "", PIN_TYPE="101001"),
)


def chip(*cells: dict) -> bytes:
    """The JSON of a chip with ``cells`` between :data:`PINS`."""
    numbers: dict[str, int] = {}

    def bit(net: str) -> int | str:
        return net if net in ("0", "1", "x") else numbers.setdefault(net, len(numbers) + 2)

    every = {
        f"cell {index}": each
        | {"connections": {port: [bit(net) for net in nets] for port, nets in each["connections"].items()}}
        for index, each in enumerate((cell("$scopeinfo", "", "", TYPE="module"), *PINS, *cells))
    }
    ports = {name: {"direction": "inout", "bits": [bit(pin.replace(" ", "_"))]} for name, pin in PORTS.items()}
    top = {"attributes": {"top": "1"}, "ports": ports, "cells": every}
    return json.dumps({"modules": {"SB_LUT4": {"attributes": {}}, "popflip": top}}).encode()


def unpacked(*cells: dict) -> Netlist:
    return netlist(chip(*cells), *PORTS, 12e6)


PASS_CARRY = {"INIT0": "0000000000001010", "INIT1": "1111111111111111", "INJECT1_0": "NO", "INJECT1_1": "NO"}
"""An adder whose bit 0 makes a carry of input A, if D is 1, and whose bit 1 lets it pass."""
LUT_RAM = f"{16:064b}"
"""LUTs as memory: word 1 has bit 0 set."""
ADDRESS = ", ".join(f"ADA{bit}={'c4' if bit == 4 else 0}" for bit in range(14))
BLOCK_RAM = {
    **{"DATA_WIDTH_A": f"{18:032b}", "DATA_WIDTH_B": f"{18:032b}", "REGMODE_A": "NOREG", "REGMODE_B": "NOREG"},
    "INITVAL_00": "1" + 20 * "0",
}
"""Word 1 of 18 bits has bit 0 set."""
WIDE_ADDRESS = ", ".join(f"ADB{bit}={'c5' if bit == 5 else 0}" for bit in range(14))
WIDE_RAM = {"DATA_WIDTH_A": f"{36:b}", "DATA_WIDTH_B": f"{36:b}", "INITVAL_00": "1" + 40 * "0"}
"""Word 1 of 36 bits has bit 0 set, which is at DOA."""


def chain(lut: str = SAME, word: str = "1") -> bytes:
    """Cells of both families, after synthesis and after routing. ``word`` is what the ROMs pass on for a 1."""
    first_word = word + 16 * "0"  # word 1 is word, word 0 is 0
    return chip(
        # iCE40, after synthesis
        cell("SB_DFF", "D=rx, C=clock", "Q=a1"),
        cell("SB_LUT4", "I0=a1, I1=0, I2=0, I3=0", "O=a2", LUT_INIT=SAME),
        cell("SB_CARRY", "I0=a2, I1=1, CI=0", "CO=a3"),
        cell("SB_DFFNESS", "D=a3, C=clock, E=1, S=0", "Q=a4"),
        cell(
            "SB_RAM40_4K",
            "RADDR=a4 0 0 0 0 0 0 0 0 0 0, RCLK=clock, RCLKE=1, RE=1, WCLK=0, WCLKE=0, WE=0",
            "RDATA=a5",
            READ_MODE="00",
            WRITE_MODE="00",
            INIT_0=first_word,
        ),
        cell("SB_GB", "USER_SIGNAL_TO_GLOBAL_BUFFER=a5", "GLOBAL_BUFFER_OUTPUT=a6"),
        # iCE40, after routing: the second cell adds the first one's carry
        cell("ICESTORM_LC", "I1=a6, I2=1, CIN=x", "O=, COUT=b1", CARRY_ENABLE="1", CIN_CONST="1", CIN_SET="0"),
        cell("ICESTORM_LC", "I3=b1, CIN=b1, CLK=clock", "O=b2", DFF_ENABLE="1", LUT_INIT="1111111100000000"),
        cell(
            "ICESTORM_RAM",
            "RADDR_0=b2, RCLK=clock, RE=1",
            "RDATA_0=b3",
            READ_MODE="00",
            WRITE_MODE="00",
            INIT_0=first_word,
        ),
        # ECP5, after synthesis
        cell("LUT4", "A=b3, B=0, C=0, D=0", "Z=c1", INIT=lut),
        cell("CCU2C", "A0=c1, B0=0, C0=0, D0=1, A1=0, B1=0, C1=0, D1=1, CIN=0", "COUT=c2", **PASS_CARRY),
        cell("TRELLIS_FF", "DI=c2, CLK=clock, LSR=0", "Q=c3", CEMUX="1 ", GSR="DISABLED", REGSET="SET"),
        cell("TRELLIS_DPR16X4", "RAD=c3 0 0 0, WAD=0 0 0 0, DI=0 0 0 0, WCK=clock, WRE=0", "DO=c4", INITVAL=LUT_RAM),
        cell("DP16KD", f"CLKA=clock, CEA=1, WEA=0, CLKB=clock, CEB=0, WEB=0, {ADDRESS}", "DOA0=c5", **BLOCK_RAM),
        cell("DP16KD", f"CLKA=clock, CEA=0, WEA=1, CLKB=clock, CEB=1, WEB=0, {WIDE_ADDRESS}", "DOA0=c6", **WIDE_RAM),
        # ECP5, after routing: a carry from one cell to the next, a flip-flop that reads M, and LUTs as memory
        cell("TRELLIS_COMB", "A=c6, B=0, C=0, D=1, FCI=0", "F=, FCO=d1", MODE="CCU2", INITVAL="0000000000001010"),
        cell("TRELLIS_COMB", "A=0, B=0, C=0, D=0, FCI=d1", "F=d2", MODE="CCU2", INITVAL=OTHER, CCU2_INJECT1="NO"),
        cell("TRELLIS_FF", "M=d2, CLK=clock, CE=1", "Q=d3", SD="0", CEMUX="CE", GSR="DISABLED"),
        cell("TRELLIS_RAMW", "A0=0, B0=0, C0=0, D0=1, C1=d3", "WADO0=e0, WADO1=e1, WADO2=e2, WADO3=e3, WDO0=e4"),
        cell(
            "TRELLIS_COMB",
            "A=0, B=0, C=0, D=1, WAD0=e0, WAD1=e1, WAD2=e2, WAD3=e3, WD=e4, WRE=1, WCK=clock",
            "F=tx",
            MODE="DPRAM",
        ),
    )


# Chains ---------------------------------------------------------------------------------------------------------------


def echo(text: bytes, folder: Path) -> bytes:
    """What the chain of cells in ``text`` sends back when it is sent :data:`ECHO`; nothing if it is broken.

    Its registers start as 0, which the line's other end takes for a start bit: the byte before the echo.
    """
    compile_netlist(netlist(text, *PORTS, 12e6), REPORT, _verilator(), folder, "-O0")
    with Simulation(folder / "chip.so", None, 2_000) as simulation:
        simulation.write(ECHO)
        try:
            return simulation.read(1 + len(ECHO))[1:]
        except SimulationTimeout:
            return b""


def test_every_cell_passes_its_input_on(tmp_path):
    assert echo(chain(), tmp_path) == ECHO


@pytest.mark.parametrize("fault", [{"lut": OTHER}, {"word": "0"}], ids=["a LUT's constant", "a bit of block RAM"])
def test_a_planted_fault_is_found(tmp_path, fault):
    assert echo(chain(**fault), tmp_path) == b""


# Cells ----------------------------------------------------------------------------------------------------------------


def wire(bit: str) -> str:
    """A cell that takes pin rx to pin tx, so that a chip is whole."""
    return cell("SB_LUT4", f"I0={bit}, I1=0, I2=0, I3=0", "O=tx", LUT_INIT=SAME)


@pytest.mark.parametrize(
    ("kind", "reference"), [("SB_PLL40_PAD", "PACKAGEPIN=clock_pin"), ("SB_PLL40_CORE", "REFERENCECLK=clock")]
)
def test_an_ice40_s_pll_is_the_source(kind, reference):
    dividers = {"DIVR": "0000", "DIVF": "0111111", "DIVQ": "101", "FEEDBACK_PATH": "SIMPLE", "FILTER_RANGE": "001"}
    pll = cell(kind, f"{reference}, BYPASS=0, RESETB=1", "PLLOUTGLOBAL=fast, LOCK=lock", **dividers)
    both = unpacked(pll, cell("SB_DFF", "D=lock, C=fast", "Q=q"), wire("rx"))
    (register,) = (each for each in both.instances if each.kind == "SB_DFF")
    assert (both.source_hz, (both.source,), (both.locked,)) == (24e6, register.ports["C"], register.ports["D"])


def test_a_pll_s_reference_is_the_board_s_clock():
    pll = cell("SB_PLL40_CORE", "REFERENCECLK=rx, BYPASS=0, RESETB=1", "PLLOUTGLOBAL=fast, LOCK=lock")
    with pytest.raises(BuildError, match=r"^the reference of a PLL is not the board's clock$"):
        unpacked(pll, cell("SB_DFF", "D=lock, C=fast", "Q=q"), wire("rx"))


@pytest.mark.parametrize("kind", ["SB_PLL40_2F_CORE", "SB_HFOSC", "SB_WARMBOOT", "SB_RGBA_DRV"])
def test_a_cell_whose_model_is_empty_is_refused(kind):
    assert kind not in models()
    with pytest.raises(BuildError, match=f"^the netlist has a {kind}, which no Popflip chip has$"):
        unpacked(cell(kind, "", ""), wire("rx"))


def test_a_clock_buffer_of_a_pll_is_the_source():
    """nextpnr leaves the PLL's output and the buffer's input unconnected; a pin of the PLL has no input."""
    dividers = {"DIVR": "0000", "DIVF": "0111111", "DIVQ": "101", "FEEDBACK_PATH": "001"}
    pll = cell("ICESTORM_PLL", "RESETB=1", "PLLOUT_A=, PLLOUT_A_GLOBAL=, LOCK=lock", **dividers)
    buffer = cell("SB_GB", "USER_SIGNAL_TO_GLOBAL_BUFFER=", "GLOBAL_BUFFER_OUTPUT=fast")
    both = unpacked(pll, buffer, cell("SB_DFF", "D=lock, C=fast", "Q=q"), wire("rx"))
    (register,) = (each for each in both.instances if each.kind == "SB_DFF")
    assert (both.source_hz, (both.source,), (both.locked,)) == (24e6, register.ports["C"], register.ports["D"])
    with pytest.raises(BuildError, match=r"^the netlist uses two outputs of PLLs, which no Popflip chip does$"):
        unpacked(pll, buffer, cell("SB_GB", "USER_SIGNAL_TO_GLOBAL_BUFFER=", "GLOBAL_BUFFER_OUTPUT=other"), wire("rx"))


def test_constants_that_nextpnr_cuts_are_read_from_its_parameters():
    width = {"DATA_WIDTH_A": f"{18:b}", "DATA_WIDTH_B": f"{18:b}"}
    cut = {"WEAMUX": "INV", "CEAMUX": "CEA", "CEBMUX": "INV", "ADA0MUX": "1 ", "DIA0MUX": "0"}
    (ram,) = unpacked(cell("DP16KD", "CLKA=clock", "DOA0=a", **width, **cut), wire("rx")).dual_port_rams
    assert (ram.ports["WEA"], ram.ports["CEA"], ram.ports["CEB"]) == ((ZERO,), (ONE,), (ZERO,))
    assert (ram.ports["ADA"][:2], ram.ports["DIA"][0]) == ((ONE, ZERO), ZERO)
    (register,) = unpacked(cell("TRELLIS_FF", "DI=rx, CLK=clock, LSR=", "Q=q", LSRMUX="INV"), wire("rx")).instances[:1]
    assert register.ports["LSR"] == (ONE,)  # no reset


@pytest.mark.parametrize(("secondary", "hz"), [("", 12e6), ("fast", 12e6 * 23 / 8)])
def test_an_ecp5_s_pll_is_the_source(secondary, hz):
    dividers = {"CLKI_DIV": f"{1:032b}", "CLKFB_DIV": f"{1:032b}", "CLKOP_DIV": f"{23:032b}", "CLKOS_DIV": f"{8:032b}"}
    outputs = f"CLKOP=slow, CLKOS={secondary}, LOCK=lock"
    pll = cell("EHXPLLL", "CLKI=clock, CLKFB=slow", outputs, FEEDBK_PATH="CLKOP", **dividers)
    gate = cell("DCCA", f"CLKI={secondary or 'slow'}, CE=lock", "CLKO=gated")
    promoted = cell("DCCA", "CLKI=gated", "CLKO=spread")  # nextpnr's: it is always open
    chip = unpacked(pll, gate, promoted, wire("rx"))
    assert chip.source_hz == hz
    first, second = chip.gates
    assert first == ClockGate(first.output, chip.source, chip.locked)
    assert second == ClockGate(second.output, first.output, ONE)


def test_memories_are_those_of_a_bitstream():
    ports = "ADDRESS=rx 0 0 0 0 0 0 0 0 0 0 0 0 0, DATAIN=1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0, MASKWREN=1 1 1 1, WREN=0"
    always = "CHIPSELECT=1, CLOCK=clock, STANDBY=0, SLEEP=0, POWEROFF=1"
    single = cell("SB_SPRAM256KA", f"{ports}, {always}", "DATAOUT=a b")
    packed = cell("ICESTORM_SPRAM", "ADDRESS_0=rx, DATAIN_1=1, WREN=1, CLOCK=clock", "DATAOUT_1=c")
    falling = cell("SB_RAM40_4KNR", "RADDR=rx, RCLKN=clock, RCLKE=1, RE=1", "RDATA=d", READ_MODE="01", WRITE_MODE="10")
    wide = {"DATA_WIDTH_A": f"{36:b}", "DATA_WIDTH_B": f"{36:b}", "INITVAL_3F": "1" * 320}
    dual = cell("DP16KD", "CLKA=clock, CEA=1, WEA=1, CLKB=clock, CEB=1, WEB=0, DIB17=rx", "DOA0=low, DOB0=high", **wide)
    chip = unpacked(single, packed, falling, dual, wire("rx"))
    assert [type(each) for each in chip.single_port_rams] == [SinglePortRam] * 2
    first, second = (each.ports for each in chip.single_port_rams)
    assert (first["ADDRESS"], first["POWEROFF"]) == ((chip.rx, *(ZERO,) * 13), (ONE,))
    assert second["DATAIN"] == (ZERO, ONE, *(ZERO,) * 14)
    assert len(set(second["DATAOUT"])) == 16
    (ram,) = chip.block_rams
    assert isinstance(ram, BlockRam)
    assert (ram.read_mode, ram.write_mode, ram.falling_read, ram.falling_write) == (1, 2, True, False)
    assert ram.ports["WCLKE"] == (ZERO,)  # of Yosys's cells every input is connected
    (memory,) = chip.dual_port_rams
    assert isinstance(memory, DualPortRam)
    assert (memory.simple, memory.widths, memory.ports["DIB"][17]) == (True, (36, 36), chip.rx)
    assert memory.words is not None
    assert (memory.words[:-32], memory.words[-32:]) == ((0,) * 2016, (0x1FF,) * 32)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (cell("MULT18X18D", "A0=rx", "P0=p"), "the netlist has a MULT18X18D, which no Popflip chip has"),
        (
            cell("SB_LUT4", "I0=rx", "O=p", LUT_INIT=SAME, DEPTH="1"),
            "the netlist has a SB_LUT4 with DEPTH, which no Popflip chip has",
        ),
        (cell("SB_DFF", "D=nowhere, C=clock", "Q=p"), "nothing drives net 8 of the netlist"),
        (
            cell("SB_IO", "PACKAGE_PIN=led, D_OUT_0=rx, OUTPUT_CLK=clock", "", PIN_TYPE="010101"),
            "the netlist has a pin with a register, which no Popflip chip has",
        ),
        (
            cell("DP16KD", "CLKA=clock, RSTA=rx", "", REGMODE_A="NOREG"),
            "the netlist has a block RAM whose port A has a register, a reset or a select",
        ),
        (
            cell("EHXPLLL", "CLKI=clock, CLKFB=other", "CLKOP=slow, LOCK=lock", FEEDBK_PATH="CLKOP"),
            "the feedback of a PLL is not its output CLKOP",
        ),
        (
            cell("SB_PLL40_PAD", "", "PLLOUTCORE=slow, LOCK=lock", FEEDBACK_PATH="DELAY"),
            "the feedback of a PLL is not the simple one",
        ),
    ],
)
def test_what_no_chip_has_is_refused(wrong, message):
    with pytest.raises(BuildError) as raised:
        unpacked(wrong, wire("rx"))
    assert str(raised.value) == message


@pytest.mark.parametrize("text", [b"", b"[]", b'{"modules": {}}', b'{"modules": {"a": {"attributes": {"top": "1"}}}}'])
def test_what_is_no_netlist_is_refused(text):
    with pytest.raises(BuildError, match=r"^the netlist is not one of Yosys or nextpnr$"):
        netlist(text, *PORTS, 12e6)


def test_a_chip_without_the_link_s_pins_is_refused():
    with pytest.raises(BuildError, match=r"^the netlist has no pins a and b$"):
        netlist(chip(wire("rx")), "a", "b", "clk12_0__io", 12e6)


def test_the_models_of_yosys_are_mended():
    assert "assign FCO = " in models()["TRELLIS_COMB"]
    assert all("1'bz" not in models()[kind] and "specify" not in models()[kind] for kind in ("ICESTORM_LC", "CCU2C"))


# Files ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def bitstream(tmp_path, monkeypatch) -> Path:
    """A bitstream whose build kept its netlist after routing."""
    monkeypatch.chdir(tmp_path)
    file = Path("icebreaker.bin")
    file.write_bytes(b"")
    kept = {"route": chip(wire("rx"))}
    netlists.keep(kept, file)
    file.with_suffix(".json").write_text(json.dumps(REPORT | {"netlists": netlists.digests(kept)}))
    return file


def test_a_kept_netlist_is_read(bitstream):
    content = Path("icebreaker-netlists/route.json").read_bytes()
    assert Bitstream.load(bitstream).content("route") == content == chip(wire("rx"))
    assert Bitstream.load(bitstream).netlist("route").source_hz == 12e6
    assert json.loads(Path("icebreaker.json").read_text())["netlists"] == {"route": hashlib.sha256(content).hexdigest()}


@pytest.mark.parametrize(
    ("level", "found", "message"),
    [
        ("synthesis", None, "the build of icebreaker.bin kept no netlists; build it again with --keep"),
        ("route", "", "icebreaker-netlists/route.json: no such file or directory; build it again with --keep"),
        ("route", "{}", "icebreaker-netlists/route.json is damaged or of another build; build it again with --keep"),
    ],
)
def test_a_missing_netlist_is_one_line(bitstream, capsys, level, found, message):
    path = Path("icebreaker-netlists/route.json")
    if found == "":
        path.unlink()
    elif found is not None:
        path.write_text(found)
    command = ["verify", "--bitstream", "icebreaker.bin", "--level", level, "--preset", "digits-small"]
    assert run_command(command) == 2
    assert capsys.readouterr().err == f"popflip: --level: {message}\n"


def test_a_level_without_a_bitstream_is_one_line(capsys):
    assert run_command(["verify", "--level", "route"]) == 2
    assert capsys.readouterr().err == "popflip: --level: is for a bitstream; name it with --bitstream\n"
