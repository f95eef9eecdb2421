"""iCEBreaker: iCE40 UP5K (5280 logic cells, memories: 30 of 4 kbit, 4 of 256 kbit), link on the second channel of its
FT2232H.
"""

from amaranth_boards.icebreaker import ICEBreakerPlatform

from popflip.constraints.base import Board, Fit
from popflip.constraints.links import UartLink
from popflip.hw.link.store import SpramBytes
from popflip.hw.memory.spram import SPRAM_BYTES, SPRAMS

BOARD = Board(
    summary="iCEBreaker (iCE40 UP5K)",
    platform=ICEBreakerPlatform,
    fits=(
        # With 4 rows, or more slots, cells run out.
        Fit("digits-small", rows=2, synapses=8, slots=2, clock_hz=12e6, seed=2),
        Fit("digits-lbe-small", rows=4, synapses=8, slots=2, clock_hz=12e6, seed=3, router="router1"),
        Fit("mnist-small", rows=4, synapses=8, slots=2, clock_hz=22.125e6, seed=2, compact=True),
        Fit("mnist-conv-25f", rows=8, synapses=4, slots=2, clock_hz=14.25e6, seed=2, compact=True),
    ),
    buffer=512,
    store_bytes=SPRAMS * SPRAM_BYTES,
    store_memory=SpramBytes,
    walks=False,  # cells run out
    program="openFPGALoader --board ice40_generic {bitstream}",
    links=(UartLink("FT2232H", "/dev/ttyUSB1"),),
)
