"""Colorlight i5 on its extension board: ECP5 25F (24,288 logic cells, 56 memories of 18 kbit), 8 MB of SDRAM, link on
the DAPLink.

Pins: github.com/wuxx/Colorlight-FPGA-Projects.
"""

from amaranth.build import Attrs, Clock, Pins, Resource
from amaranth.vendor import LatticeECP5Platform
from amaranth_boards.resources import SDRAMResource, UARTResource

from popflip.constraints.base import Board, Fit, RightPll
from popflip.constraints.links import UartLink


class Platform(LatticeECP5Platform):
    """LFE5U-25F-6BG381C with the pins that Popflip uses."""

    device, package, speed = "LFE5U-25F", "BG381", "6"
    default_clk = "clk25"
    resources = (
        Resource("clk25", 0, Pins("P3", dir="i"), Clock(25e6), Attrs(IO_TYPE="LVCMOS33")),
        UARTResource(0, rx="H18", tx="J17", attrs=Attrs(IO_TYPE="LVCMOS33")),
        SDRAMResource(
            0,
            clk="B9",
            we_n="A10",
            cas_n="A9",
            ras_n="B10",
            ba="B11 C8",
            a="B13 C14 A16 A17 B16 B15 A14 A13 A12 A11 B12",
            dq="B6 A5 A6 A7 C7 B8 B5 A8 D8 D7 E8 D6 C6 D5 E7 C5 "
            "C10 D9 E11 D11 C11 D12 E9 C12 E14 C15 E13 D15 E12 B17 D14 D13",
            attrs=Attrs(PULLMODE="NONE", DRIVE="4", SLEWRATE="FAST", IO_TYPE="LVCMOS33"),
        ),
    )
    connectors = ()


BOARD = Board(
    summary="Colorlight i5 (ECP5 25F)",
    platform=Platform,
    fits=(
        Fit("mnist-25f", rows=16, synapses=16, clock_hz=72e6, slots=8, learn_rows=4, ripup=True),
        Fit("mnist-conv-25f", rows=8, synapses=16, clock_hz=50e6, slots=2, learn_rows=2, ripup=True),
    ),
    buffer=2048,
    sdram="colorlight_i5",
    program="openFPGALoader --board colorlight-i5 {bitstream}",
    links=(UartLink("DAPLink", "/dev/ttyACM0"),),
    pll=RightPll,
)
