"""ULX3S with 85F: ECP5 (83,640 logic cells, 208 memories of 18 kbit), 32 MB of SDRAM, link on its FT231X.

Pin L2 goes to GPIO0 of the board's ESP32. The ECP5 pulls a pin that a design does not drive weakly low. The firmware of
many boards takes a GPIO0 that stays low for a few seconds as a request to take over the board: it loads another
bitstream, and the chip is gone (the board's author: github.com/olofk/edalize/issues/58). So the chip drives it high.

Port US2 goes to the FPGA: D15 and E15 drive its wires, and B12 pulls D+ up through 1.5 kΩ. Pins and pulls:
github.com/emard/ulx3s, doc/constraints/ulx3s_v20.lpf.
"""

from amaranth.build import Attrs, Pins, Resource
from amaranth_boards.resources import DirectUSBResource
from amaranth_boards.ulx3s import ULX3S_85F_Platform

from popflip.constraints.base import Board, Fit
from popflip.constraints.links import UartLink, UsbLink


class Platform(ULX3S_85F_Platform):
    """The board's definition, with the ESP32's GPIO0 as a pin of its own, and no pulls at the wires of USB."""

    resources = (
        *(resource for resource in ULX3S_85F_Platform.resources if resource.name != "usb"),
        DirectUSBResource(
            0, d_p="D15", d_n="E15", pullup="B12", attrs=Attrs(IO_TYPE="LVCMOS33", PULLMODE="NONE", DRIVE="4")
        ),
        Resource("wifi_gpio0", 0, Pins("L2", dir="o"), Attrs(IO_TYPE="LVCMOS33", PULLMODE="UP", DRIVE="4")),
    )


BOARD = Board(
    summary="ULX3S 85F (ECP5)",
    platform=Platform,
    fits=(
        Fit("digits", rows=8, synapses=32, clock_hz=25e6),
        Fit("digits-lbe", rows=8, synapses=32, clock_hz=25e6),
        Fit("mnist-tiles", rows=64, synapses=16, clock_hz=62.5e6, slots=8, learn_rows=8, router="router1"),
        Fit("digits-conv", rows=16, synapses=32, clock_hz=40e6, learn_rows=4),
        Fit("mnist-conv", rows=32, synapses=32, clock_hz=50e6, learn_rows=4, ripup=True),
        Fit("mnist-conv-flat", rows=16, synapses=32, clock_hz=45e6, learn_rows=4, router="router1"),
        Fit("mnist-conv-wide", rows=16, synapses=32, clock_hz=50e6, learn_rows=4, ripup=True),
        Fit("fashion-conv", rows=16, synapses=32, clock_hz=45e6, slots=2, learn_rows=2, router="router1"),
    ),
    buffer=2048,
    sdram="ulx3s",
    program="openFPGALoader --board ulx3s {bitstream}",
    links=(UartLink("FT231X", "/dev/ttyUSB0", most_baud=3_000_000), UsbLink("port US2")),
    tied_high=("wifi_gpio0",),
)
