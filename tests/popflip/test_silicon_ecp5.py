"""Bitstreams of ECP5 back to netlists: the database's wires, and cells from small configurations written here.

A configuration may name any wire as the source of another, however far: the decoder follows what is set.
"""

from __future__ import annotations

import pytest

from popflip.errors import BuildError
from popflip.silicon.ecp5 import unpack
from popflip.silicon.netlist import ONE, ZERO, ClockGate, FlipFlop, Lut, LutRam, Netlist
from popflip.silicon.trellis import Fabric, fabric_of, parse

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
def fabric() -> Fabric:
    return fabric_of("LFE5U-25F")


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


# Cells of small configurations ----------------------------------------------------------------------------------------

PINS = ("CABGA381", "H18", "J17", "P3", 25e6)  # package, rx, tx, clock
FRAME = """\
.device LFE5U-25F

.tile MIB_R11C72:PICR0
enum: PIOA.BASE_TYPE INPUT_LVCMOS33
enum: PIOC.BASE_TYPE OUTPUT_LVCMOS33
arc: PADDOC_PIO N1W52_{output}

"""
"""The link's pins. What the chip sends comes from wire ``output`` of tile 10, 20."""
REGISTER = """\
.tile R10C{column}:PLC2
arc: MUXCLK0 CLK0
arc: CLK0 S37W{to_clock}_JPADDIC_PIO
arc: M0 S1E{to_rx}_JPADDIA_PIO
enum: SLICEA.REG0.SD 0
enum: SLICEA.REG0.REGSET RESET
enum: SLICEA.CEMUX 1

"""
CLOCK, RX = "r47_c0_JPADDIC_PIO", "r11_c72_JPADDIA_PIO"


def register(column: int) -> str:
    """A flip-flop Q0 in tile 10, ``column`` that takes rx at each edge of the clock."""
    return REGISTER.format(column=column, to_clock=column, to_rx=72 - column)


def value(netlist: Netlist, net: str, known: dict[str, int]) -> int:
    """The value of ``net``, by the netlist's LUTs, where the nets ``known`` have values."""
    if net in (ZERO, ONE) or net in known:
        return int(net == ONE) if net in (ZERO, ONE) else known[net]
    (lut,) = (lut for lut in netlist.luts if lut.output == net)
    return lut.table >> sum(value(netlist, each, known) << bit for bit, each in enumerate(lut.inputs)) & 1


ADDER = """\
.tile R10C20:PLC2
arc: A0 E1_Q0
arc: A2 E2_Q0
arc: B2 E3_Q0
arc: A3 E4_Q0
arc: B3 E5_Q0
arc: F2 F5B_SLICE
enum: SLICEA.MODE CCU2
enum: SLICEA.CCU2.INJECT1_0 NO
word: SLICEA.K0.INIT 0000000000001010
enum: SLICEB.MODE CCU2
enum: SLICEB.CCU2.INJECT1_0 NO
enum: SLICEB.CCU2.INJECT1_1 NO
word: SLICEB.K0.INIT 0110101010101010
word: SLICEB.K1.INIT 0110101010101010
enum: SLICEC.MODE CCU2
enum: SLICEC.CCU2.INJECT1_0 NO
word: SLICEC.K0.INIT 0000000000000000

"""
"""Slice A feeds a carry in, slice B adds two bits, slice C lets the carry out."""


@pytest.mark.parametrize(("output", "place"), [("F2", 0), ("F3", 1), ("F4", 2)])
def test_an_adder_adds(output, place):
    netlist = unpack(FRAME.format(output=output) + ADDER + "".join(map(register, range(21, 26))), *PINS)
    for case in range(32):
        carry, a0, b0, a1, b1 = (case >> bit & 1 for bit in range(5))
        known = {f"r10_c{21 + bit}_Q0_SLICE": case >> bit & 1 for bit in range(5)}
        total = a0 + 2 * a1 + b0 + 2 * b1 + carry
        assert value(netlist, netlist.tx, known) == total >> place & 1, case


def test_a_flip_flop_has_its_settings():
    text = (
        FRAME.format(output="Q1")
        + register(21)
        + register(22)
        + register(23)
        + """\
.tile R10C20:PLC2
arc: MUXCLK0 CLK1
arc: CLK1 S37W20_JPADDIC_PIO
arc: MUXLSR0 LSR0
arc: LSR0 E1_Q0
arc: CE0 E2_Q0
arc: C1 E3_Q0
enum: CLK1.CLKMUX INV
enum: SLICEA.CEMUX INV
enum: SLICEA.A1MUX 1
enum: SLICEA.B1MUX 1
enum: SLICEA.D1MUX 1
word: SLICEA.K1.INIT 1111000011110000

"""
    )
    netlist = unpack(text, *PINS)
    assert netlist.rx == RX
    assert netlist.source == CLOCK
    assert netlist.source_hz == 25e6
    assert netlist.tx == "r10_c20_Q1_SLICE"
    (mine,) = (cell for cell in netlist.flip_flops if cell.output == netlist.tx)
    inverse = "r10_c22_Q0_SLICE_inverse"
    data, reset = "r10_c20_F1_SLICE", "r10_c21_Q0_SLICE"
    assert mine == FlipFlop(netlist.tx, data, CLOCK, True, inverse, reset, 1, False, initial=1, reset_first=True)
    assert Lut(inverse, 0x5555, ("r10_c22_Q0_SLICE", ZERO, ZERO, ZERO)) in netlist.luts
    assert Lut(data, 0xF0F0, (ONE, ONE, "r10_c23_Q0_SLICE", ONE)) in netlist.luts
    plain = FlipFlop("r10_c23_Q0_SLICE", RX, CLOCK, False, ONE, ZERO, 0, False, initial=0, reset_first=True)
    assert plain in netlist.flip_flops


def test_slices_as_memory():
    """Slice C's inputs are the address and the data of a write; LUT 2 is bit 2, whose data is input D of LUT 5."""
    text = (
        FRAME.format(output="F2")
        + "".join(map(register, range(21, 26)))
        + """\
.tile R10C20:PLC2
arc: A2 E1_Q0
arc: C4 E2_Q0
arc: D5 E3_Q0
arc: LSR1 E4_Q0
arc: CLK1 S37W20_JPADDIC_PIO
enum: SLICEB.MODE DPRAM
enum: SLICEC.MODE RAMW
word: SLICEB.K0.INIT 1011111011101111

"""
    )
    (memory,) = unpack(text, *PINS).lut_rams
    read, address = ("r10_c21_Q0_SLICE", ONE, ONE, ONE), (ONE, ONE, "r10_c22_Q0_SLICE", ONE)
    data, enable = "r10_c23_Q0_SLICE", "r10_c24_Q0_SLICE"
    assert memory == LutRam("r10_c20_F2_SLICE", 0xBEEF, read, address, data, CLOCK, False, enable)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("arc: F0 F5A_SLICE", "nothing drives wire F5A_SLICE of tile 10, 20"),
        ("enum: SLICEA.MODE RAMW", "tile 10, 20: slice in mode RAMW"),
        ("arc: F0 S9_M0", "nothing drives wire M0 of tile 19, 20"),
        ("arc: F0 F0", "wire F0 of tile 10, 20 drives itself"),
        ("arc: F0 E2_JPADDIB_PIO", "the chip reads JPADDIB_PIO of tile 10, 22, which is no pin of its link"),
    ],
)
def test_what_no_chip_has_is_refused(line, message):
    with pytest.raises(BuildError) as raised:
        unpack(FRAME.format(output="F0") + f".tile R10C20:PLC2\n{line}\n", *PINS)
    assert str(raised.value) == message


def test_a_gated_clock():
    """An undriven input of the blocks beside the routing reads 1."""
    text = (
        FRAME.format(output="Q0")
        + register(20).replace("S37W20_JPADDIC_PIO", "G_CLKO_LDCC1")
        + """\
.tile MIB_R25C3:LMID_0
arc: G_LDCC1CLKI S22W3_JPADDIC_PIO
enum: DCC_L1.MODE DCCA

"""
    )
    netlist = unpack(text, *PINS)
    assert netlist.gates == [ClockGate("G_CLKO_LDCC1", CLOCK, ONE)]
    assert netlist.clocks == {"G_CLKO_LDCC1", CLOCK}


PLL = """\
.tile MIB_R50C70:PLL0_LR
arc: N1_REFCLK0 N3W70_JPADDIC_PIO
arc: N1_PLLCSOUT_PLLREFCS N1_CLK0_PLLREFCS
arc: N1_CLKFB {feedback}
enum: MODE EHXPLLL
word: CLKI_DIV 0000100
word: CLKFB_DIV 0000111

.tile MIB_R50C69:PLL1_LR
enum: CLKOP_ENABLE ENABLED
enum: CLKOS_ENABLE ENABLED
word: CLKOP_DIV 0001110
word: CLKOS_DIV 0000101

"""
"""25 MHz / 5 · 8 = 40 MHz at CLKOP; the oscillator runs at 15 times that, and CLKOS at a sixth of the oscillator."""


@pytest.mark.parametrize(("output", "hz"), [("CLKOP", 40e6), ("CLKOS", 100e6)])
def test_a_pll_s_dividers_make_its_clock(output, hz):
    clocked = register(20).replace("S37W20_JPADDIC_PIO", f"G_JLRCPLL0{output}")
    clocked = clocked.replace("S1E52_JPADDIA_PIO", "S39E50_JLOCK_PLL")
    netlist = unpack(FRAME.format(output="Q0") + clocked + PLL.format(feedback="N1_JCLKOP_PLL"), *PINS)
    assert netlist.source == f"r49_c70_J{output}_PLL"
    assert netlist.locked == "r49_c70_JLOCK_PLL"
    assert netlist.source_hz == hz


def test_a_clock_beside_the_pll_is_refused():
    clocked = register(20).replace("S37W20_JPADDIC_PIO", "G_JLRCPLL0CLKOP").replace("S1E52_JPADDIA_PIO", "E1_Q0")
    text = FRAME.format(output="Q0") + clocked + register(21) + PLL.format(feedback="N1_JCLKOP_PLL")
    with pytest.raises(BuildError, match=r"^the chip uses the board's clock beside its PLL$"):
        unpack(text, *PINS)


def test_a_pll_with_another_feedback_is_refused():
    clocked = register(20).replace("S37W20_JPADDIC_PIO", "G_JLRCPLL0CLKOP")
    with pytest.raises(BuildError, match=r"^the feedback of a PLL is not its output CLKOP$"):
        unpack(FRAME.format(output="Q0") + clocked + PLL.format(feedback="N1_JCLKOS_PLL"), *PINS)


SIMPLE_RAM = """\
.tile R10C20:PLC2
arc: M7 S27W5_JDOB0_EBR

.tile MIB_R37C15:MIB_EBR2
enum: EBR1.MODE PDPW16KD
enum: EBR1.OCEAMUX INV
enum: EBR1.PDPW16KD.DATA_WIDTH_R 36
enum: EBR1.WEAMUX INV

.tile MIB_R37C16:MIB_EBR3
word: EBR1.WID 110000000
enum: EBR1.MODE PDPW16KD
enum: EBR1.RSTAMUX INV
enum: EBR1.RSTBMUX INV

.tile CIB_R37C15:CIB_EBR
arc: JCLK0 S10W15_JPADDIC_PIO
arc: E1_JCLK0 S10W15_JPADDIC_PIO
arc: JD2 N26E57_JPADDIA_PIO
enum: CIB.JD4MUX 0

.bram_init 3
1ff 002

"""
DUAL_RAM = """\
.tile R10C20:PLC2
arc: M7 S27W7_JDOA3_EBR

.tile MIB_R37C13:MIB_EBR0
enum: EBR0.DP16KD.WRITEMODE_A READBEFOREWRITE
enum: EBR0.DP16KD.WRITEMODE_B READBEFOREWRITE
enum: EBR0.MODE DP16KD
enum: EBR0.WEBMUX INV

.tile MIB_R37C14:MIB_EBR1
word: EBR0.WID 100010000
enum: EBR0.MODE PDPW16KD
enum: EBR0.RSTAMUX INV
enum: EBR0.RSTBMUX INV

"""


def test_a_block_ram_with_a_port_that_writes_36_bits():
    (ram,) = unpack(FRAME.format(output="M7") + SIMPLE_RAM, *PINS).dual_port_rams
    assert (ram.simple, ram.widths, ram.words) == (True, (36, 36), (0x1FF, 2))
    assert ram.ports["CLKA"] == ram.ports["CLKB"] == (CLOCK,)
    assert ram.ports["DIA"] == (RX, ONE, ZERO, *(ONE,) * 15)  # tile inputs that nothing drives read 1


def test_a_block_ram_with_two_ports():
    """MODE has bits in two tiles; of each tile's, more than one value may have the same."""
    (ram,) = unpack(FRAME.format(output="M7") + DUAL_RAM, *PINS).dual_port_rams
    assert (ram.simple, ram.widths, ram.modes, ram.words) == (False, (18, 18), (1, 1), None)
    assert (ram.ports["WEA"], ram.ports["WEB"]) == ((ONE,), (ZERO,))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("enum: EBR0.WEBMUX INV", "tile 37, 13: block RAM that both ports write"),
        ("enum: EBR0.RSTAMUX INV", "tile 37, 13: block RAM whose port A has a reset"),
    ],
)
def test_a_block_ram_that_no_chip_has_is_refused(line, message):
    with pytest.raises(BuildError) as raised:
        unpack(FRAME.format(output="M7") + DUAL_RAM.replace(f"{line}\n", ""), *PINS)
    assert str(raised.value) == message
