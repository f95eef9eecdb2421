"""A chip as Verilog."""

from __future__ import annotations

from amaranth.back import verilog

from popflip.errors import BuildError
from popflip.hw.config import ChipConfig
from popflip.hw.top import Chip
from popflip.limits import check_memory

ERROR_CHARACTERS = 300  # of Yosys's message, from its end
BYTES_PER_BIT = 64
"""Memory that the translation takes at least for a bit of weights and counters; 256-1024-1024-10 took 110."""


def convert(chip: ChipConfig) -> str:
    """The Verilog of ``chip`` and its link: one byte stream in, one out.

    Raises :class:`ConfigError` if the translation takes too much memory, and :class:`BuildError` if Yosys cannot be
    found or fails.
    """
    synapses = sum(rows * synapses for rows, synapses in zip(chip.rows, chip.synapses, strict=True))
    layers = "-".join(map(str, chip.layers))
    check_memory(f"layers: the Verilog of {layers}", BYTES_PER_BIT * synapses * (chip.weight_bits + chip.counter_bits))
    try:
        return verilog.convert(Chip(chip), name="popflip", emit_src=False)
    except (verilog.YosysError, OSError) as error:
        message = " ".join(str(error).split())
        raise BuildError(f"Yosys cannot write Verilog: {message[-ERROR_CHARACTERS:]}") from None
