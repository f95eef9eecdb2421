"""Boards: one module each, found by its name.

Beside each lies the pin file its platform makes, which tests compare; ``python -m popflip.constraints`` writes them.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amaranth.build import Platform
from amaranth.hdl import Module, Signal
from amaranth.vendor import LatticeICE40Platform

from popflip.golden.config import PRESETS, Precision
from popflip.golden.errors import ConfigError
from popflip.hw.config import MAX_STORE_SAMPLES, ChipConfig
from popflip.hw.lib.pll import Ecp5Pll, Ice40Pll, find_pll
from popflip.hw.link.store import BlockBytes, Memories, SpramBytes, samples_in
from popflip.hw.link.uart import BAUD
from popflip.hw.top import BoardTop


class RightPll(Ecp5Pll):
    """The right one of a 25F. From the left one nextpnr finds no way to the gate of the clock, of any network."""

    def instance(self, pin: Any, out: Signal, locked: Signal) -> Module:
        """As of any other, but at a site of its own."""
        m = super().instance(pin, out, locked)
        m.submodules.pll.attrs["BEL"] = "X70/Y49/EHXPLL_LR"
        return m


@dataclass(frozen=True)
class Fit:
    """A network that fits a board, and what it was routed with.

    ``preset`` (a name of :data:`popflip.golden.config.PRESETS`), ``rows``, ``synapses``, ``slots``, ``learn_rows``,
    ``compact``: as :class:`ChipConfig`. ``clock_hz``: one that routing meets; a PLL makes it of the board's if they
    differ. ``seed`` and ``router``: of place and route; an empty ``router`` is the family's. ``ripup`` (ECP5):
    routes that are too slow are taken up again, which takes longer.
    """

    preset: str
    rows: int
    synapses: int
    clock_hz: float
    slots: int = 4
    learn_rows: int = 1
    seed: int = 1
    router: str = ""
    ripup: bool = False
    compact: bool = False


@dataclass(frozen=True)
class Board:
    """A board, and networks that fit it.

    ``fits``: the first one is built when nothing else is asked for. ``buffer``: bytes of the packet buffer.
    ``program``: the command that loads ``{bitstream}``. ``port``: where the link appears on Linux. ``store_bytes``,
    ``store_memory``: what training samples are kept in. ``pll``: kind of PLL, if not the family's at the clock's pad.
    """

    summary: str
    platform: Callable[[], Platform]
    fits: tuple[Fit, ...]
    buffer: int
    program: str
    port: str
    baud: int = BAUD
    store_bytes: int = 0
    store_memory: Memories = BlockBytes
    pll: type[Ice40Pll] | type[Ecp5Pll] | None = None

    @property
    def single_port(self) -> bool:
        """Whether it has the single-port RAM that compact chips keep their counters in."""
        return self.store_memory is SpramBytes

    def store_samples(self, chip: ChipConfig) -> int:
        """How many training samples of ``chip`` the board keeps, if not told otherwise."""
        if chip.compact and self.single_port:
            return 0
        return min(samples_in(chip, self.store_bytes), MAX_STORE_SAMPLES)

    def fit(self, preset: str | None = None, rule: str | None = None) -> Fit:
        """The fit for ``preset``; else the first one that learns by ``rule``; else the first."""
        if preset is not None and (named := [fit for fit in self.fits if fit.preset == preset]):
            return named[0]
        rule = rule or (PRESETS[preset].config.rule if preset in PRESETS else None)
        return next((fit for fit in self.fits if PRESETS[fit.preset].config.rule == rule), self.fits[0])

    def top(self, chip: ChipConfig, platform: Platform, clock_hz: float) -> BoardTop:
        """The design for ``platform``, an instance of :attr:`platform`, at about ``clock_hz``."""
        reference = platform.default_clk_frequency
        pll = None
        if clock_hz != reference:
            family = Ice40Pll if isinstance(platform, LatticeICE40Platform) else Ecp5Pll
            pll = find_pll(self.pll or family, reference, clock_hz)
        return BoardTop(chip, pll.hz if pll else reference, pll, self.buffer, self.baud, self.store_memory)


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
    plan = platform.prepare(entry.top(smallest, platform, entry.fits[0].clock_hz), "popflip", emit_src=False)
    (file,) = (file for file in plan.files if file.endswith((".pcf", ".lpf")))
    return Path(__path__[0], name).with_suffix(Path(file).suffix), plan.files[file].rstrip() + "\n"


def _names() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))
