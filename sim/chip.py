"""The simulated chip: the RTL of :class:`popflip.hw.top.Chip`, compiled, behind the same bytes as a board."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from popflip.hw.config import ChipConfig
from popflip.hw.fingerprint import build_hash
from popflip.sim.cxxrtl.compile import cached_library
from popflip.sim.cxxrtl.simulation import TIMEOUT_CYCLES, Simulation

if TYPE_CHECKING:
    from amaranth.lib import wiring

CYCLES_PER_WORD = 256  # more than any pass spends on an N-synapse word of the counter memory


class SimulatedChip(Simulation):
    """The chip of ``chip`` in simulation, built on first use and then kept under the hash of all its sources.

    ``waves`` names a VCD file for all signals. ``announce`` is called with a line of text ahead of a build. Raises
    :class:`popflip.sim.errors.SimulatorError` if the chip cannot be built or the file not be written.
    """

    def __init__(
        self,
        chip: ChipConfig,
        waves: Path | str | None = None,
        announce: Callable[[str], object] | None = None,
    ):
        def component() -> wiring.Component:
            from popflip.hw.top import Chip  # loads Amaranth, which a chip from the cache does without

            return Chip(chip)

        library = cached_library("chip", build_hash(chip).hex(), component, waves is not None, announce)
        super().__init__(library, waves, TIMEOUT_CYCLES + CYCLES_PER_WORD * chip.counter_map.depth)
