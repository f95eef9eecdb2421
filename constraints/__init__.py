"""Boards: one module each, found by its name.

Beside each lies the pin file its platform makes, which tests compare; ``python -m popflip.constraints`` writes them.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from amaranth.build import Platform
from amaranth.vendor import LatticeICE40Platform

from popflip.golden.config import ConfigError, Precision
from popflip.hw.config import ChipConfig
from popflip.hw.link.uart import BAUD
from popflip.hw.pll import Ecp5Pll, Ice40Pll, find_pll
from popflip.hw.top import BoardTop


@dataclass(frozen=True)
class Fit:
    """What fits a board where another preset than its own is asked for: as in :class:`Board`."""

    rows: int
    synapses: int
    slots: int
    learn_rows: int
    clock_hz: float


@dataclass(frozen=True)
class Board:
    """A board, and the network and array that fit it when nothing else is asked for.

    ``preset`` (a name of :data:`popflip.golden.config.PRESETS`), ``rows``, ``synapses``, ``slots``, ``learn_rows``:
    as :class:`ChipConfig`. ``fits``: the same for other presets, by their names. ``clock_hz``: one that routing
    meets; a PLL makes it of the board's if they differ. ``buffer``: bytes of the packet buffer. ``seed``: of place
    and route. ``program``: the command that loads ``{bitstream}``. ``port``: where the link appears on Linux.
    """

    summary: str
    platform: Callable[[], Platform]
    preset: str
    rows: int
    synapses: int
    clock_hz: float
    buffer: int
    program: str
    port: str
    slots: int = 4
    learn_rows: int = 1
    fits: Mapping[str, Fit] = field(default_factory=dict)
    baud: int = BAUD
    seed: int = 1

    def fitting(self, preset: str | None) -> Board:
        """The board with what fits ``preset``; as it is where nothing is known of it."""
        if preset not in self.fits:
            return self
        return replace(self, preset=preset, **vars(self.fits[preset]))

    def top(self, chip: ChipConfig, platform: Platform) -> BoardTop:
        """The design for ``platform``, an instance of :attr:`platform`."""
        reference = platform.default_clk_frequency
        pll = None
        if self.clock_hz != reference:
            family = Ice40Pll if isinstance(platform, LatticeICE40Platform) else Ecp5Pll
            pll = find_pll(family, reference, self.clock_hz)
        return BoardTop(chip, pll.hz if pll else reference, pll, self.buffer, self.baud)


def boards() -> dict[str, Board]:
    """The boards there are, by name."""
    return {name: board(name) for name in _names()}


def board(name: str) -> Board:
    """The board called ``name``. :class:`ConfigError` if there is none."""
    if name not in _names():
        raise ConfigError(f"--board: {name!r} is not one of {', '.join(_names())}")
    return importlib.import_module(f"{__name__}.{name}").BOARD


def pin_file(name: str) -> tuple[Path, str]:
    """Where the pin file of board ``name`` is kept, and what is in it: pins and clocks, the same for every network."""
    entry = board(name)
    platform = entry.platform()
    smallest = ChipConfig((1, 2), Precision.BINARY, 1, 1, 1, 4, 2)
    plan = platform.prepare(entry.top(smallest, platform), "popflip", emit_src=False)
    (file,) = (file for file in plan.files if file.endswith((".pcf", ".lpf")))
    return Path(__path__[0], name).with_suffix(Path(file).suffix), plan.files[file].rstrip() + "\n"


def _names() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))
