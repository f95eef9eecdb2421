"""ULX3S with 85F: ECP5 (83,640 logic cells, 208 memories of 18 kbit), link on its FT231X."""

from amaranth_boards.ulx3s import ULX3S_85F_Platform

from popflip.constraints.base import Board, Fit

BOARD = Board(
    summary="ULX3S 85F (ECP5)",
    platform=ULX3S_85F_Platform,
    fits=(
        Fit("digits", rows=8, synapses=32, clock_hz=25e6),
        Fit("digits-lbe", rows=8, synapses=32, clock_hz=25e6),
        Fit("mnist-tiles", rows=64, synapses=16, clock_hz=67e6, slots=8, learn_rows=8, seed=3, ripup=True),
    ),
    buffer=2048,
    program="openFPGALoader --board ulx3s {bitstream}",
    port="/dev/ttyUSB0",
)
