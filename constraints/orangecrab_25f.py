"""OrangeCrab r0.2 with 25F: ECP5 (24,288 logic cells, 56 memories of 18 kbit).

Its USB goes straight to the FPGA, so the link is on pins 0 (to the chip) and 1 (from it) of the Feather header, for a
3.3 V USB serial adapter.
"""

from amaranth.build import Attrs
from amaranth_boards.orangecrab_r0_2 import OrangeCrabR0_2_25FPlatform
from amaranth_boards.resources import UARTResource

from popflip.constraints import Board, Fit, RightPll


class Platform(OrangeCrabR0_2_25FPlatform):
    """The board's definition with a UART. The suffix that marks a file as the board's is left to who loads it."""

    resources = (
        *OrangeCrabR0_2_25FPlatform.resources,
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
    fits=(Fit("mnist-25f", rows=16, synapses=16, clock_hz=104e6, slots=8, learn_rows=4),),
    buffer=2048,
    program="dfu-util --device 1209:5af0 --alt 0 --download {bitstream}",
    port="/dev/ttyUSB0",
    pll=RightPll,
)
