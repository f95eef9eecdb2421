"""The simulated chip: the RTL of :class:`popflip.hw.top.Chip`, compiled, behind the same bytes as a board."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from popflip.hw.config import ChipConfig
from popflip.hw.fingerprint import build_hash
from popflip.sim.cache import built, cache_directory, content_hash
from popflip.sim.cxxrtl.compile import LIBRARY, PATIENCE, Simulation, build_library, identity

CYCLES_A_WORD = 256  # more than any pass spends on an N-synapse word of the counter memory


class SimulatedChip(Simulation):
    """The chip of ``chip`` in simulation. Built on first use, then kept by the hash of all it is made from.

    ``waves`` names a VCD file to record all signals in. ``announce`` is called with a line of text before a build,
    which takes long enough to look like a hang.
    """

    def __init__(
        self,
        chip: ChipConfig,
        waves: Path | str | None = None,
        announce: Callable[[str], object] | None = None,
    ):
        folder = library(chip, waves is not None, announce)
        super().__init__(folder / LIBRARY, waves, patience=PATIENCE + CYCLES_A_WORD * chip.counter_depth)


def library(chip: ChipConfig, waves: bool = False, announce: Callable[[str], object] | None = None) -> Path:
    """Folder of the compiled chip, built if there is none. Amaranth is only loaded in that case."""

    def build(folder: Path) -> None:
        from popflip.hw.top import Chip

        if announce:
            announce("building the simulated chip (about a minute, once)")
        build_library(Chip(chip), folder, cache_directory() / "chip" / f"{key}.log", waves)

    key = content_hash(build_hash(chip), identity(waves))
    return built("chip", key, build)
