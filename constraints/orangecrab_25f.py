"""OrangeCrab r0.2 with 25F: ECP5 (24,288 logic cells, 56 memories of 18 kbit).

Its USB port goes to the FPGA: N1, M2 and N2 (the pull-up). The other link uses pins 0 (to the chip) and 1 (from the
chip) of the Feather header and needs a 3.3 V USB serial adapter.
"""

from amaranth.build import Attrs
from amaranth_boards.orangecrab_r0_2 import OrangeCrabR0_2_25FPlatform
from amaranth_boards.resources import DirectUSBResource, UARTResource

from popflip.constraints.base import Board, Fit, RightPll
from popflip.constraints.links import UartLink, UsbLink


class Platform(OrangeCrabR0_2_25FPlatform):
    """The board's definition with a UART, no pulls at the wires of USB, and without ``dfu-suffix``, a tool that only
    loading needs.
    """

    resources = (
        *(resource for resource in OrangeCrabR0_2_25FPlatform.resources if resource.name != "usb"),
        DirectUSBResource(0, d_p="N1", d_n="M2", pullup="N2", attrs=Attrs(IO_TYPE="LVCMOS33", PULLMODE="NONE")),
        UARTResource(0, rx="0", tx="1", conn=("io", 0), attrs=Attrs(IO_TYPE="LVCMOS33")),
    )

    @property
    def required_tools(self):
        return [tool for tool in super().required_tools if tool != "dfu-suffix"]

    @property
    def command_templates(self):
        return [command for command in super().command_templates if "dfu-suffix" not in command]


BOARD = Board(
    summary="OrangeCrab r0.2 25F (ECP5)",
    platform=Platform,
    fits=(
        Fit("mnist-25f", rows=16, synapses=16, clock_hz=98e6, usb_hz=88e6, slots=8, learn_rows=4, seed=3, ripup=True),
        Fit("mnist-conv-25f", rows=8, synapses=16, clock_hz=60e6, slots=2, learn_rows=2, ripup=True),
    ),
    buffer=2048,
    program="dfu-util --device 1209:5af0 --alt 0 --download {bitstream}",
    links=(UartLink("USB serial adapter", "/dev/ttyUSB0"), UsbLink("USB port")),
    pll=RightPll,
)
