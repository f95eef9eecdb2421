"""iCE40-HX8K breakout board: iCE40 HX8K (7680 logic cells, 32 memories of 4 kbit), link on the second channel of its
FT2232H.
"""

from amaranth.hdl import Const, Instance, Module, Signal
from amaranth_boards.ice40_hx8k_b_evn import ICE40HX8KBEVNPlatform

from popflip.constraints.base import Board, Fit
from popflip.constraints.links import UartLink
from popflip.hw.lib.pll import Ice40Pll


class CorePll(Ice40Pll):
    """``SB_PLL40_CORE``: the board's oscillator is on pin J3, which is not a PLL's pad."""

    def instance(self, pin, out: Signal, locked: Signal) -> Module:
        """The primitive, and the input buffer of the clock's pin."""
        m = Module()
        reference = Signal()
        m.submodules.pin = Instance("SB_IO", p_PIN_TYPE=Const(1, 6), i_PACKAGE_PIN=pin.io, o_D_IN_0=reference)
        m.submodules.pll = Instance(
            "SB_PLL40_CORE",
            p_FEEDBACK_PATH="SIMPLE",
            p_DIVR=Const(self.divr, 4),
            p_DIVF=Const(self.divf, 7),
            p_DIVQ=Const(self.divq, 3),
            p_FILTER_RANGE=Const(self.filter_range, 3),
            i_REFERENCECLK=reference,
            i_RESETB=Const(1),
            i_BYPASS=Const(0),
            o_PLLOUTGLOBAL=out,
            o_LOCK=locked,
        )
        return m


BOARD = Board(
    summary="iCE40-HX8K breakout board (iCE40 HX8K)",
    platform=ICE40HX8KBEVNPlatform,
    fits=(Fit("digits-medium", rows=8, synapses=8, slots=4, clock_hz=48e6),),
    buffer=512,
    walks=False,  # cells run out
    program="iceprog {bitstream}",
    links=(UartLink("FT2232H", "/dev/ttyUSB1"),),
    pll=CorePll,
)
