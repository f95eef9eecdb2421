"""iCEBreaker: iCE40 UP5K (5280 logic cells, 30 memories of 4 kbit), link on the second channel of its FT2232H."""

from amaranth_boards.icebreaker import ICEBreakerPlatform

from popflip.constraints import Board

BOARD = Board(
    summary="iCEBreaker (iCE40 UP5K)",
    platform=ICEBreakerPlatform,
    preset="digits-small",
    rows=2,  # with 4, or more slots, logic cells run out
    synapses=8,
    slots=2,
    clock_hz=12e6,
    buffer=512,
    program="openFPGALoader --board ice40_generic {bitstream}",
    port="/dev/ttyUSB1",
)
