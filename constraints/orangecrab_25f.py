"""OrangeCrab r0.2 with 25F: ECP5 (24,288 logic cells, 56 memories of 18 kbit).

Its USB connects directly to the FPGA, so the link uses pins 0 (to the chip) and 1 (from the chip) of the Feather
header and needs a 3.3 V USB serial adapter.
"""

from amaranth.build import Attrs
from amaranth_boards.orangecrab_r0_2 import OrangeCrabR0_2_25FPlatform
from amaranth_boards.resources import UARTResource

from popflip.constraints.base import Board, Fit, RightPll


class Platform(OrangeCrabR0_2_25FPlatform):
    """The board's definition with a UART, and without ``dfu-suffix``, a tool that only loading needs."""

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
    fits=(
        Fit("mnist-25f", rows=16, synapses=16, clock_hz=98e6, slots=8, learn_rows=4, seed=2, ripup=True),
        Fit("mnist-conv-25f", rows=8, synapses=16, clock_hz=60e6, slots=2, learn_rows=2, ripup=True),
    ),
    buffer=2048,
    program="dfu-util --device 1209:5af0 --alt 0 --download {bitstream}",
    port="/dev/ttyUSB0",
    pll=RightPll,
)
