"""Clocks: settings of the two families' PLLs, and the chip's clock, which starts when the chip is ready for it.

:func:`find_pll` tries every divider. It picks the frequency nearest to the requested one, and among equals the fastest
phase detector, which has the least jitter.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, product
from typing import Any

from amaranth.hdl import ClockDomain, ClockSignal, Const, Elaboratable, Instance, Module, Signal
from amaranth.lib import io
from amaranth.lib.cdc import FFSynchronizer
from amaranth.vendor import LatticeICE40Platform

from popflip.golden.errors import ConfigError

START_SECONDS = 30e-6
"""Delay before the clock starts. An iCE40's memories read as zero for about 3 µs after configuration (IceStorm issue
76); this leaves a wide margin."""


@dataclass(frozen=True)
class Ice40Pll:
    """``SB_PLL40``, simple feedback: ``hz = reference · (divf + 1) / 2^divq / (divr + 1)``. Limits: Lattice TN1251."""

    reference_hz: float
    divr: int
    divf: int
    divq: int

    PHASE_HZ = (10e6, 133e6)
    VCO_HZ = (533e6, 1066e6)
    OUTPUT_HZ = (16e6, 275e6)
    FILTERS = ((17e6, 1), (26e6, 2), (44e6, 3), (66e6, 4), (101e6, 5), (133e6, 6))

    @property
    def phase_hz(self) -> float:
        """Frequency of the phase detector."""
        return self.reference_hz / (self.divr + 1)

    @property
    def vco_hz(self) -> float:
        """Frequency of the oscillator."""
        return self.phase_hz * (self.divf + 1)

    @property
    def hz(self) -> float:
        """Output frequency."""
        return self.vco_hz / 2**self.divq

    @property
    def filter_range(self) -> int:
        """Loop filter for the phase detector's frequency."""
        return next(setting for limit, setting in self.FILTERS if self.phase_hz <= limit)

    def legal(self) -> bool:
        """Whether all frequencies are within the limits of the part."""
        return all(
            low <= hz <= high
            for hz, (low, high) in (
                (self.phase_hz, self.PHASE_HZ),
                (self.vco_hz, self.VCO_HZ),
                (self.hz, self.OUTPUT_HZ),
            )
        )

    @classmethod
    def candidates(cls, reference_hz: float):
        """All settings of the dividers."""
        return (cls(reference_hz, *dividers) for dividers in product(range(16), range(128), range(1, 7)))

    def instance(self, pin, out: Signal, locked: Signal) -> Instance:
        """The primitive, at the clock's own pad."""
        return Instance(
            "SB_PLL40_PAD",
            p_FEEDBACK_PATH="SIMPLE",
            p_DIVR=Const(self.divr, 4),
            p_DIVF=Const(self.divf, 7),
            p_DIVQ=Const(self.divq, 3),
            p_FILTER_RANGE=Const(self.filter_range, 3),
            i_PACKAGEPIN=pin.io,
            i_RESETB=Const(1),
            i_BYPASS=Const(0),
            o_PLLOUTCORE=out,
            o_LOCK=locked,
        )


@dataclass(frozen=True)
class Ecp5Pll:
    """``EHXPLLL`` with feedback from CLKOP. The oscillator runs at ``reference · feedback / input · output``; ``hz`` is
    that divided by ``output`` or, if ``secondary`` is not 0, by ``secondary`` (CLKOS).

    Limits: Lattice FPGA-DS-02012, sysCLOCK PLL timing.
    """

    reference_hz: float
    input: int
    feedback: int
    output: int
    secondary: int = 0

    PHASE_HZ = (10e6, 400e6)
    VCO_HZ = (400e6, 800e6)
    OUTPUT_HZ = (3.125e6, 400e6)

    @property
    def phase_hz(self) -> float:
        """Frequency of the phase detector."""
        return self.reference_hz / self.input

    @property
    def hz(self) -> float:
        """Output frequency."""
        return self.vco_hz / (self.secondary or self.output)

    @property
    def vco_hz(self) -> float:
        """Frequency of the oscillator."""
        return self.phase_hz * self.feedback * self.output

    legal = Ice40Pll.legal

    @classmethod
    def candidates(cls, reference_hz: float):
        """All settings of the dividers."""
        fastest = int(reference_hz // cls.PHASE_HZ[0])  # larger input dividers leave the phase detector too slow
        inputs = range(1, min(fastest, 128) + 1)
        # The feedback sets the oscillator. With CLKOS as the clock, a feedback of 1 reaches every frequency.
        alone = product(inputs, range(1, 81), range(1, 129), [0])
        for dividers in chain(alone, product(inputs, [1], range(1, 129), range(1, 129))):
            yield cls(reference_hz, *dividers)

    def instance(self, pin, out: Signal, locked: Signal) -> Module:
        """The primitive, and the buffer of the clock pin."""
        m = Module()
        m.submodules.pin = buffer = io.Buffer("i", pin)
        primary = Signal() if self.secondary else out
        secondary = {
            "p_CLKOS_DIV": self.secondary,
            "p_CLKOS_ENABLE": "ENABLED",
            "p_CLKOS_CPHASE": self.secondary // 2,
            "p_CLKOS_FPHASE": 0,
            "i_ENCLKOS": Const(0),
            "o_CLKOS": out,
        }
        m.submodules.pll = Instance(
            "EHXPLLL",
            a_ICP_CURRENT="12",
            a_LPF_RESISTOR="8",
            a_MFG_ENABLE_FILTEROPAMP="1",
            a_MFG_GMCREF_SEL="2",
            p_PLLRST_ENA="DISABLED",
            p_INTFB_WAKE="DISABLED",
            p_STDBY_ENABLE="DISABLED",
            p_DPHASE_SOURCE="DISABLED",
            p_OUTDIVIDER_MUXA="DIVA",
            p_CLKI_DIV=self.input,
            p_CLKFB_DIV=self.feedback,
            p_CLKOP_DIV=self.output,
            p_CLKOP_ENABLE="ENABLED",
            p_CLKOP_CPHASE=self.output // 2,
            p_CLKOP_FPHASE=0,
            p_FEEDBK_PATH="CLKOP",
            i_CLKI=buffer.i,
            i_CLKFB=primary,
            i_RST=Const(0),
            i_STDBY=Const(0),
            i_PHASESEL0=Const(0),
            i_PHASESEL1=Const(0),
            i_PHASEDIR=Const(1),
            i_PHASESTEP=Const(1),
            i_PHASELOADREG=Const(1),
            i_PLLWAKESYNC=Const(0),
            i_ENCLKOP=Const(0),
            o_CLKOP=primary,
            o_LOCK=locked,
            **(secondary if self.secondary else {}),
        )
        return m


def find_pll(kind: Any, reference_hz: float, hz: float):
    """The legal setting nearest to ``hz``. :class:`ConfigError` if none is within 1 %."""
    legal = (pll for pll in kind.candidates(reference_hz) if pll.legal())
    best = min(
        legal,
        key=lambda pll: (round(abs(pll.hz - hz)), getattr(pll, "secondary", 0) != 0, -pll.phase_hz, pll.vco_hz),
        default=None,
    )
    if best is None or abs(best.hz - hz) > hz / 100:
        raise ConfigError(f"clock: no PLL setting makes {hz / 1e6:g} MHz of {reference_hz / 1e6:g} MHz")
    return best


class Clock(Elaboratable):
    """Clock of domain ``sync``: the board's or a PLL's, gated until the PLL has locked and memories can be read.

    ``sync`` needs no reset: registers and memories have their initial values after configuration, and the clock is
    gated until then. The network gets the cells that reset logic would take.

    ``pll``: None takes the board's clock as it is.
    """

    def __init__(self, pll: Ice40Pll | Ecp5Pll | None, hz: float):
        self.pll, self.hz = pll, hz

    def elaborate(self, platform) -> Module:
        m = Module()
        source, locked, ready = Signal(), Signal(), Signal()
        pin = platform.request(platform.default_clk, dir="-")
        ice40 = isinstance(platform, LatticeICE40Platform)
        if self.pll is not None:
            m.submodules.pll = self.pll.instance(pin, source, locked)
        else:
            m.d.comb += locked.eq(1)
            if ice40:  # not through the pin's own global net: few routes lead from there to the gate's input
                m.submodules.pin = Instance("SB_IO", p_PIN_TYPE=Const(1, 6), i_PACKAGE_PIN=pin.io, o_D_IN_0=source)
            else:
                m.submodules.pin = buffer = io.Buffer("i", pin)
                m.d.comb += source.eq(buffer.i)

        # On falling edges, so that the gate opens while the clock is low.
        m.domains.start = start = ClockDomain(clk_edge="neg", reset_less=True, local=True)
        stable = Signal()
        m.submodules.synchronise = FFSynchronizer(locked, stable, o_domain="start")
        cycles = round(START_SECONDS * self.hz)
        timer = Signal(range(cycles + 1))
        m.d.comb += start.clk.eq(source)
        with m.If(~ready & stable):
            m.d.start += [timer.eq(timer + 1), ready.eq(timer == cycles - 1)]

        clock = Signal(attrs={"keep": True})
        m.d.comb += ClockSignal().eq(clock)
        if ice40:
            m.submodules.gate = Instance(
                "SB_GB", i_USER_SIGNAL_TO_GLOBAL_BUFFER=source & ready, o_GLOBAL_BUFFER_OUTPUT=clock
            )
        else:
            m.submodules.gate = Instance("DCCA", i_CLKI=source, i_CE=ready, o_CLKO=clock)
        platform.add_clock_constraint(clock, self.hz)
        return m
