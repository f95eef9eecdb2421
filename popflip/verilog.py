"""A chip as Verilog."""

from __future__ import annotations

from amaranth.back import verilog

from popflip.errors import BuildError
from popflip.hw.config import ChipConfig
from popflip.hw.top import Chip
from popflip.limits import check_chip

ERROR_CHARACTERS = 300  # of Yosys's message, from its end
BYTES_PER_BIT = 64
"""Memory that the translation takes at least for a bit of a memory; 256-1024-1024-10 took 110."""


def convert(chip: ChipConfig) -> str:
    """The Verilog of ``chip`` and its link: one byte stream in, one out.

    Raises :class:`ConfigError` if the translation takes too much memory, and :class:`BuildError` if Yosys cannot be
    found or fails.
    """
    check_chip(chip, "the Verilog", BYTES_PER_BIT)
    try:
        return verilog.convert(Chip(chip), name="popflip", emit_src=False)
    except (verilog.YosysError, OSError) as error:
        message = " ".join(str(error).split())
        raise BuildError(f"Yosys cannot write Verilog: {message[-ERROR_CHARACTERS:]}") from None
