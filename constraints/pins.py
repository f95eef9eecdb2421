"""Pin files: the pins and clocks of each board as its platform writes them, the same for every network."""

from __future__ import annotations

from pathlib import Path

from popflip.constraints import board
from popflip.golden.config import Precision
from popflip.hw.config import ChipConfig

SMALLEST = ChipConfig((1, 2), Precision.BINARY, mmax=1, dclip=1, array_rows=1, array_synapses=4, slots=2)


def pin_file(name: str) -> tuple[Path, str]:
    """Path and content of the pin file of the board called ``name``."""
    entry = board(name)
    platform = entry.platform()
    plan = platform.prepare(entry.top(SMALLEST, platform, entry.fits[0].clock_hz), "popflip", emit_src=False)
    (file,) = (file for file in plan.files if file.endswith((".pcf", ".lpf")))
    return Path(__file__).with_name(name).with_suffix(Path(file).suffix), plan.files[file].rstrip() + "\n"
