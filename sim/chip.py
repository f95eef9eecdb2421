"""The simulated chip: the RTL of :class:`popflip.hw.top.Chip`, compiled, behind the same bytes as a board."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from popflip.hw.config import ChipConfig
from popflip.hw.fingerprint import build_hash
from popflip.sim.cache import content_hash
from popflip.sim.cxxrtl.compile import cached_library
from popflip.sim.cxxrtl.simulation import TIMEOUT_CYCLES, Simulation

if TYPE_CHECKING:
    from amaranth.lib import wiring

MODEL = [Path(__file__).with_name("pins.py")]
"""Sources of a chip with SDRAM that are neither the hardware's nor CXXRTL's."""
CYCLES_PER_WORD = 256  # more than any pass spends on an N-synapse word of the counter memory


class SimulatedChip(Simulation):
    """A chip of shape ``chip`` in simulation. The first use builds it and keeps it under the hash of all its sources.

    An SDRAM beside the chip is a model of its data sheet (``sim/cxxrtl/sdram.h``), with a clock of
    :data:`popflip.hw.link.sdram_store.SIMULATED_HZ`.

    ``waves`` names a VCD file for all signals. The constructor calls ``announce`` with a line of text before a build.
    Raises :class:`popflip.sim.errors.SimulatorError` if it cannot build the chip or write the file.
    """

    def __init__(
        self,
        chip: ChipConfig,
        waves: Path | str | None = None,
        announce: Callable[[str], object] | None = None,
    ):
        def component() -> wiring.Component:
            from popflip.hw.top import Chip  # loads Amaranth, which a chip from the cache does not need

            if not chip.sdram:
                return Chip(chip)
            from popflip.sim.pins import ChipWithSdram

            return ChipWithSdram(Chip(chip))

        key = build_hash(chip).hex()
        if chip.sdram:
            key = content_hash(key, *(path.read_text() for path in MODEL))
        library = cached_library("chip", key, component, waves is not None, announce)
        super().__init__(library, waves, TIMEOUT_CYCLES + CYCLES_PER_WORD * chip.counter_map.depth)
