"""Bitstreams of ECP5 back to netlists. ``tests/data/silicon`` holds a small chip's: 16-8-3 for a Colorlight i5."""

from __future__ import annotations

import gzip
import json

import pytest
from paths import DATA

from popflip.errors import BuildError
from popflip.silicon.ecp5 import unpack
from popflip.silicon.netlist import ONE, ZERO, ClockGate, FlipFlop, Lut, LutRam, Netlist
from popflip.silicon.simulation import Bitstream
from popflip.silicon.trellis import Fabric, parse

REPORT = {"board": "colorlight_i5", "rule": "gft", "layers": [16, 8, 3], "clock_hz": 72e6, "baud": 1_000_000}
TEXT = """\
.device LFE5U-25F

.tile R10C20:PLC2
arc: A0 H02E0701
arc: E1_H02E0501 W1_H02E0501
enum: SLICEA.MODE CCU2
word: SLICEA.K0.INIT 0000000000001010
unknown: F2B0

.bram_init 3
000 1ff 0a5
001

"""


@pytest.fixture(scope="module")
def netlist(tmp_path_factory) -> Netlist:
    file = tmp_path_factory.mktemp("silicon") / "colorlight_i5.bit"
    file.write_bytes(gzip.decompress((DATA / "silicon" / "colorlight_i5.bit.gz").read_bytes()))
    file.with_suffix(".json").write_text(json.dumps(REPORT))
    return Bitstream.load(file).netlist()


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return Fabric("LFE5U-25F")


def test_tiles_connections_settings_and_memories():
    config = parse(TEXT)
    (tile,) = config.tiles
    assert config.device == "LFE5U-25F"
    assert (tile.kind, tile.row, tile.column) == ("PLC2", 10, 20)
    assert tile.arcs == [("A0", "H02E0701"), ("E1_H02E0501", "W1_H02E0501")]
    assert tile.settings == {"SLICEA.MODE": "CCU2", "SLICEA.K0.INIT": "0000000000001010"}
    assert config.memories == {3: (0, 0x1FF, 0xA5, 1)}
    with pytest.raises(BuildError, match=r"^the unpacked bitstream has no tiles$"):
        parse("")


@pytest.mark.parametrize(
    ("name", "wire"),
    [
        ("A0", (10, 20, "A0")),
        ("A0_SLICE", (10, 20, "A0_SLICE")),
        ("E1_H02E0501", (10, 21, "H02E0501")),
        ("S3W2_JD7", (13, 18, "JD7")),
        ("N1_V01S0100", (9, 20, "V01S0100")),
        ("25K_N12_JCLK1", (-2, 20, "JCLK1")),
        ("85K_JC1", None),
        ("G_HPBX0100", (10, 20, "G_HPBX0100")),
        ("L_HPBX0100", (10, 20, "L_HPBX0100")),
        ("G_HPFE0600", (-1, -1, "G_HPFE0600")),
    ],
)
def test_a_name_is_a_wire_relative_to_its_tile(fabric, name, wire):
    assert fabric.wire(10, 20, name) == wire


def test_the_clock_network_leads_back_to_its_quadrant(fabric):
    """A branch comes from the tap whose columns it lies in; the tap's column from a spine; that from its quadrant."""
    branch = fabric.driver((10, 20, "G_HPBX0300"))
    assert branch == (10, 22, "L_HPBX0300")
    assert fabric.driver((10, 24, "G_HPBX0300")) == (10, 22, "R_HPBX0300")
    assert fabric.wire(10, 22, "G_VPTX0300") == (-1, -1, "G_VPTX0300@UL22")
    assert fabric.wire(13, 21, "G_VPTX0300") == (-1, -1, "G_VPTX0300@UL22")
    row = fabric.wire(13, 21, "G_HPRX0300")
    assert row == (-1, -1, "G_HPRX0300@UL")
    assert fabric.driver(row) == (-1, -1, "G_ULPCLK3")


def test_a_carry_leads_to_the_next_tile(fabric):
    assert fabric.driver((10, 20, "FCI_SLICE")) == (10, 20, "FCI")
    assert fabric.driver((10, 20, "HFIE0000")) == (10, 19, "FCO")
    assert fabric.driver((10, 20, "FCIB_SLICE")) == (10, 20, "FCOA_SLICE")


def test_an_unknown_pin_and_an_unknown_device_are_one_line(fabric):
    with pytest.raises(BuildError, match=r"^the ECP5's database has no pin ZZ9 of package CABGA381$"):
        fabric.pad("CABGA381", "ZZ9")
    with pytest.raises(BuildError, match=r"^the database of ECP5 has no device LFE5U-99F$"):
        Fabric("LFE5U-99F")


def test_an_empty_chip_is_refused():
    with pytest.raises(BuildError, match=r"^pin J17 is no plain output$"):
        unpack(TEXT, "CABGA381", "H18", "J17", "P3", 25e6)


def test_cells_as_verilog():
    netlist = Netlist("rx", "q", "source", ZERO, 25e6)
    netlist.flip_flops.append(FlipFlop("q", "d", "clock", False, "e", "r", 1, False, initial=1, reset_first=True))
    netlist.gates += [ClockGate("clock", "source", "e"), ClockGate("always", "source", ONE)]
    netlist.lut_rams.append(LutRam("d", 0xBEEF, ("a", "b", ZERO, ONE), ("w", "x", "y", "z"), "n", "clock", False, "e"))
    lines = netlist.verilog().splitlines()
    assert "reg q = 1'b1;" in lines
    assert "always @(posedge clock) if (r) q <= 1'b1; else if (e) q <= d;" in lines
    assert "always @(negedge source) clock_open <= e;" in lines
    assert "assign clock = source & clock_open;" in lines
    assert "assign always = source;" in lines
    assert "reg [15:0] d_memory = 16'hbeef;" in lines
    assert "assign d = d_memory[{1'b1, 1'b0, b, a}];" in lines
    assert "always @(posedge clock) if (e) d_memory[{z, y, x, w}] <= n;" in lines
    assert netlist.clocks == {"clock", "source"}
    assert netlist.clock_of_a_lut() is None
    netlist.luts.append(Lut("other", 0x8888, ("source", "e", ZERO, ZERO)))
    netlist.gates.append(ClockGate("late", "other", "e"))
    assert netlist.clock_of_a_lut() == "other"
