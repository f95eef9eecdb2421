"""The description of a board: its platform, its link, and the networks that fit it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from amaranth.build import Platform
from amaranth.hdl import Module, Signal
from amaranth.vendor import LatticeICE40Platform

from popflip.constraints.links import Link, UsbLink, chosen
from popflip.golden.config import AnyConfig
from popflip.golden.errors import ConfigError
from popflip.golden.presets import PRESETS
from popflip.hw.config import MAX_STORE_SAMPLES, ChipConfig
from popflip.hw.lib.pll import Ecp5Pll, Ice40Pll, find_pll
from popflip.hw.link.store import BlockBytes, Memories, SpramBytes, samples_in
from popflip.hw.memory.sdram_part import PARTS
from popflip.hw.top import BoardTop, UartTop


class RightPll(Ecp5Pll):
    """The right PLL of a 25F. nextpnr cannot route from the left one to the clock gate, whatever the network."""

    def instance(
        self,
        pin: Any,
        out: Signal,
        locked: Signal,
        quarter: Signal | None = None,
        late: tuple[Signal, float] | None = None,
    ) -> Module:
        """The primitive at the right PLL's site."""
        m = super().instance(pin, out, locked, quarter, late)
        m.submodules.pll.attrs["BEL"] = "X70/Y49/EHXPLL_LR"
        return m


@dataclass(frozen=True)
class Fit:
    """A network that fits a board, and the settings that route it.

    ``preset`` : a name of :data:`popflip.golden.presets.PRESETS`.
    ``rows``, ``synapses``, ``slots``, ``learn_rows``, ``compact`` : as in :class:`ChipConfig`.
    ``clock_hz`` : a clock that routing meets. A PLL makes it from the board's clock if they differ.
    ``usb_hz`` : the one that it meets beside the logic of USB; 0 if that is ``clock_hz`` too.
    ``seed``, ``router`` : options of nextpnr; an empty ``router`` stands for the family's default.
    ``ripup`` (ECP5) : nextpnr reroutes slow paths, which takes longer.
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
    usb_hz: float = 0.0

    def clocked(self, link: Link) -> Fit:
        """The fit with the clock that routing meets beside ``link``."""
        return replace(self, clock_hz=self.usb_hz, usb_hz=0.0) if self.usb_hz and link.kind == UsbLink.kind else self


@dataclass(frozen=True)
class Board:
    """A board, and the networks that fit it.

    ``fits`` : the first one is the default.
    ``buffer`` : bytes of the link's packet buffer.
    ``program`` : the command that loads ``{bitstream}``.
    ``links`` : its links to the host. The first one is that of the bitstream.
    ``store_bytes``, ``store_memory`` : size and kind of the FPGA's memory that holds training samples.
    ``sdram`` : the SDRAM beside the FPGA that holds them instead, as in :class:`ChipConfig`; the platform has its pins
    as resource ``sdram``.
    ``walks`` : whether chips with a store walk through it by themselves, as in :class:`ChipConfig`.
    ``pll`` : kind of PLL; None stands for the family's PLL at the clock's pad.
    ``tied_high`` : resources of the platform, pins that must be high for the board to work.
    ``name`` : name of the board's module; :func:`popflip.constraints.board` fills it in.
    """

    summary: str
    platform: Callable[[], Platform]
    fits: tuple[Fit, ...]
    buffer: int
    program: str
    links: tuple[Link, ...]
    store_bytes: int = 0
    store_memory: Memories = BlockBytes
    sdram: str = ""
    walks: bool = True
    pll: type[Ice40Pll] | type[Ecp5Pll] | None = None
    tied_high: tuple[str, ...] = ()
    name: str = ""

    @property
    def link(self) -> Link:
        """The link of the bitstream."""
        return self.links[0]

    @property
    def port(self) -> str:
        """Where the link appears on Linux, or the name of a device that finds it."""
        return self.link.port

    @property
    def baud(self) -> int:
        """Bits per second of the link; for USB, of a serial line that carries as many bytes."""
        return self.link.baud

    def linked(self, link: str | None, baud: int | None = None) -> Board:
        """The board with the link that ``link`` and ``baud`` name (:func:`popflip.constraints.links.chosen`), and the
        clocks that its fits meet beside that.
        """
        found = chosen(self.links, self.summary, link, baud)
        others = (each for each in self.links if each.kind != found.kind)
        fits = tuple(fit.clocked(found) for fit in self.fits)
        return replace(self, fits=fits, links=(found, *others), buffer=max(self.buffer, found.least_buffer))

    @property
    def single_port(self) -> bool:
        """Whether the board has the single-port RAM that holds the counters of compact chips."""
        return self.store_memory is SpramBytes

    def store_samples(self, chip: ChipConfig) -> int:
        """Training samples of ``chip`` that the board's memory holds."""
        if chip.compact and self.single_port:
            return 0
        part = PARTS.get(self.sdram)
        size = self.store_bytes if part is None else part.words * part.data_bits // 8
        return min(samples_in(replace(chip, store_samples=1, sdram=self.sdram), size), MAX_STORE_SAMPLES)

    def fit(self, preset: str | None = None, rule: str | None = None) -> Fit:
        """The fit for ``preset``; else the first one for ``rule``; else the first."""
        if preset is not None and (named := [fit for fit in self.fits if fit.preset == preset]):
            return named[0]
        rule = rule or (PRESETS[preset].config.rule if preset in PRESETS else None)
        return next((fit for fit in self.fits if PRESETS[fit.preset].config.rule == rule), self.fits[0])

    def fit_like(self, fit: Fit, config: AnyConfig) -> Fit:
        """``fit``, whose array suits its own network, or the first one for a network that convolves as ``config``."""
        alike = (each for each in (fit, *self.fits) if PRESETS[each.preset].config.convolves == config.convolves)
        return next(alike, fit)

    def chip(
        self,
        fit: Fit,
        config: AnyConfig | None = None,
        *,
        rows: int | None = None,
        synapses: int | None = None,
        learn_rows: int | None = None,
        store: int | None = None,
        compact: bool | None = None,
    ) -> ChipConfig:
        """The chip for ``config`` on this board; None stands for the network and geometry of ``fit``.

        ``store`` is a number of training samples, by default all that the board's memory holds. Raises
        :class:`ConfigError` if the board cannot have such a chip.
        """
        config = PRESETS[fit.preset].config if config is None else config
        array = (fit.rows if rows is None else rows, fit.synapses if synapses is None else synapses)
        if learn_rows is None:
            learn_rows = fit.learn_rows if array == (fit.rows, fit.synapses) else 1  # the fit's suits its own array
        compact = fit.compact if compact is None else compact
        chip = ChipConfig.of(config, *array, fit.slots, learn_rows=learn_rows, compact=compact)
        if chip.compact and not self.single_port:
            raise ConfigError(f"compact: {self.summary} has no single-port RAM for its counters; leave it out")
        if chip.compact and store:
            raise ConfigError(f"store: counters lie in the single-port RAM of {self.summary}; leave it out")
        samples = self.store_samples(chip) if store is None else store
        if not samples:
            return chip
        if self.sdram and samples > (most := self.store_samples(chip)):
            raise ConfigError(f"store: the SDRAM of {self.summary} holds {most} samples of this network; store fewer")
        return replace(chip, store_samples=samples, sdram=self.sdram, walks=self.walks)

    def clock(self, platform: Platform, clock_hz: float) -> tuple[Ice40Pll | Ecp5Pll | None, float]:
        """The PLL for a clock of about ``clock_hz``, if one is needed, and the exact frequency.

        An iCE40's clock always comes from a PLL (:mod:`popflip.hw.lib.pll`), an ECP5's only if the board's differs.
        """
        reference = platform.default_clk_frequency
        ice40 = isinstance(platform, LatticeICE40Platform)
        if not ice40 and clock_hz == reference:
            return None, reference
        kind = self.pll or (Ice40Pll if ice40 else Ecp5Pll)
        pll = find_pll(kind, reference, clock_hz * kind.CLOCK_DIVIDER)
        return pll, pll.hz / kind.CLOCK_DIVIDER

    def top(self, chip: ChipConfig, platform: Platform, clock_hz: float) -> BoardTop:
        """The design for ``platform``, an instance of :attr:`platform`, at about ``clock_hz``.

        Raises :class:`ConfigError` if the clock cannot make the link's speed, or if what USB needs is not installed.
        """
        pll, hz = self.clock(platform, clock_hz)
        rest = (self.buffer, self.store_memory, self.tied_high)
        if not isinstance(self.link, UsbLink):
            return UartTop(chip, hz, pll, *rest, baud=self.link.baud)
        require_luna()
        from popflip.hw.usb_top import UsbTop, usb_pll

        usb = usb_pll(self.link.pll, platform.default_clk_frequency)
        return UsbTop(chip, hz, pll, *rest, usb_pll=usb, serial=self.name)


def require_luna() -> None:
    """Raise :class:`ConfigError` if LUNA, which has the gateware of USB, is not installed."""
    try:
        import luna  # noqa: F401
    except ImportError:
        raise ConfigError("link: USB needs luna-usb, which is not installed; run pip install 'popflip[usb]'") from None
