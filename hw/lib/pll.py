"""Clocks: settings of the two families' PLLs, and the chip's clock, which starts when the chip is ready for it.

:func:`find_pll` tries every divider. It picks the frequency nearest to the requested one, and among equals the fastest
phase detector, which has the least jitter.

No clock passes through a LUT: where signals race to its inputs, its output can have a pulse too short for a clock. An
iCE40 has no other gate, so there a flip-flop makes the chip's clock, at half the PLL's frequency. The output of a
flip-flop has no glitches, whatever the routing. An ECP5 has a gate for clocks, DCCA. ``popflip build`` checks the
sources of all clocks in the netlist (``popflip/bitstream/clock_sources.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, product
from math import ceil
from typing import Any

from amaranth.hdl import ClockDomain, ClockSignal, Const, Elaboratable, Instance, Module, Signal
from amaranth.lib import io
from amaranth.lib.cdc import FFSynchronizer
from amaranth.utils import ceil_log2

from popflip.golden.errors import ConfigError

START_SECONDS = 30e-6
"""Least delay before the clock starts. An iCE40's memories read as zero for about 3 µs after configuration (IceStorm
issue 76); this leaves a wide margin."""


@dataclass(frozen=True)
class Ice40Pll:
    """``SB_PLL40``, simple feedback: ``hz = reference · (divf + 1) / 2^divq / (divr + 1)``. Limits: Lattice TN1251.

    A flip-flop divides the output by ``CLOCK_DIVIDER``, which makes the chip's clock.
    """

    CLOCK_DIVIDER = 2

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
        """The primitive, at the clock's own pad. ``out`` is a global net."""
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
            o_PLLOUTGLOBAL=out,
            o_LOCK=locked,
        )


@dataclass(frozen=True)
class Ecp5Pll:
    """``EHXPLLL`` with feedback from CLKOP. The oscillator runs at ``reference · feedback / input · output``; ``hz`` is
    that divided by ``output`` or, if ``secondary`` is not 0, by ``secondary`` (CLKOS).

    Limits: Lattice FPGA-DS-02012, sysCLOCK PLL timing.
    """

    CLOCK_DIVIDER = 1

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

    def phase(self, seconds: float) -> tuple[int, int]:
        """Phase of an output ``seconds`` later than the clock: cycles of the oscillator (CPHASE), eighths (FPHASE)."""
        eighths = round(8 * seconds * self.vco_hz)
        return (self.secondary or self.output) // 2 + eighths // 8, eighths % 8

    def instance(
        self,
        pin,
        out: Signal,
        locked: Signal,
        quarter: Signal | None = None,
        late: tuple[Signal, float] | None = None,
    ) -> Module:
        """The primitive, and the buffer of the clock's ``pin``. A ``pin`` that is a signal has its buffer elsewhere.

        ``quarter`` : a clock of a quarter of the frequency, its edges aligned with those of ``out``.
        ``late`` : the same clock as ``out``, but later, and by how many seconds.
        """
        m = Module()
        reference = pin
        if not isinstance(pin, Signal):
            m.submodules.pin = buffer = io.Buffer("i", pin)
            reference = buffer.i
        primary = Signal() if self.secondary else out
        secondary = {
            "p_CLKOS_DIV": self.secondary,
            "p_CLKOS_ENABLE": "ENABLED",
            "p_CLKOS_CPHASE": self.secondary // 2,
            "p_CLKOS_FPHASE": 0,
            "i_ENCLKOS": Const(0),
            "o_CLKOS": out,
        }
        divider = self.secondary or self.output
        slow = {
            "p_CLKOS2_DIV": 4 * divider,
            "p_CLKOS2_ENABLE": "ENABLED",
            "p_CLKOS2_CPHASE": divider // 2,  # as the fast one's: cycles of the oscillator until the first edge
            "p_CLKOS2_FPHASE": 0,
            "i_ENCLKOS2": Const(0),
            "o_CLKOS2": quarter,
        }
        shifted: dict[str, Any] = {}
        if late is not None:
            cycles, eighths = self.phase(late[1])
            shifted = {
                "p_CLKOS3_DIV": divider,
                "p_CLKOS3_ENABLE": "ENABLED",
                "p_CLKOS3_CPHASE": cycles,
                "p_CLKOS3_FPHASE": eighths,
                "i_ENCLKOS3": Const(0),
                "o_CLKOS3": late[0],
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
            i_CLKI=reference,
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
            **(slow if quarter is not None else {}),
            **shifted,
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

    ``pll``: None takes the board's clock as it is (ECP5 only). ``hz`` is the frequency of ``sync``, that of ``pll``
    divided by its ``CLOCK_DIVIDER``. ``late_seconds`` (ECP5 with a PLL): makes ``late``, the same clock so much later,
    which is never gated; 0: no such clock.
    :attr:`reference` is the board's clock if its pin has a buffer elsewhere (ECP5 only); set it before elaboration.
    """

    def __init__(self, pll: Ice40Pll | Ecp5Pll | None, hz: float, late_seconds: float = 0.0):
        self.pll, self.hz, self.late_seconds = pll, hz, late_seconds
        self.late = Signal()
        self.reference: Signal | None = None

    def elaborate(self, platform) -> Module:
        m = Module()
        source, locked, clock = Signal(), Signal(), Signal(attrs={"keep": True})
        pin = platform.request(platform.default_clk, dir="-") if self.reference is None else self.reference
        if self.pll is not None:
            late = {"late": (self.late, self.late_seconds)} if self.late_seconds else {}
            m.submodules.pll = self.pll.instance(pin, source, locked, **late)
        elif self.reference is not None:
            m.d.comb += [source.eq(self.reference), locked.eq(1)]
        else:
            m.submodules.pin = buffer = io.Buffer("i", pin)
            m.d.comb += [source.eq(buffer.i), locked.eq(1)]
        if isinstance(self.pll, Ice40Pll):
            self._divide(m, source, locked, clock)
        else:
            self._gate(m, source, locked, clock)
        m.d.comb += ClockSignal().eq(clock)
        platform.add_clock_constraint(clock, self.hz)
        return m

    def _divide(self, m: Module, source: Signal, locked: Signal, clock: Signal) -> None:
        """``clock`` is a flip-flop that toggles from the start on: half the frequency of ``source``, no glitches."""
        ready = self._ready(m, source, locked, edge="pos")
        half = Signal()
        m.d.start += half.eq(ready & ~half)
        m.submodules.buffer = Instance("SB_GB", i_USER_SIGNAL_TO_GLOBAL_BUFFER=half, o_GLOBAL_BUFFER_OUTPUT=clock)

    def _gate(self, m: Module, source: Signal, locked: Signal, clock: Signal) -> None:
        """``clock`` is ``source`` through the FPGA's clock gate, which opens while ``source`` is low."""
        ready = self._ready(m, source, locked, edge="neg")
        m.submodules.gate = Instance("DCCA", i_CLKI=source, i_CE=ready, o_CLKO=clock)

    def _ready(self, m: Module, source: Signal, locked: Signal, edge: str) -> Signal:
        """1 from :data:`START_SECONDS` or more after the lock, for good. Makes the domain ``start``, with ``edge``."""
        m.domains.start = start = ClockDomain(clk_edge=edge, reset_less=True, local=True)
        m.d.comb += start.clk.eq(source)
        stable = Signal()
        m.submodules.synchronise = FFSynchronizer(locked, stable, o_domain="start")
        divider = self.pll.CLOCK_DIVIDER if self.pll is not None else 1
        timer = Signal(ceil_log2(ceil(START_SECONDS * self.hz * divider)) + 1)  # ends at a power of two
        ready = timer[-1]
        with m.If(~ready & stable):
            m.d.start += timer.eq(timer + 1)
        return ready
