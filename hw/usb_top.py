"""A board whose link is USB: the chip, its clock, and beside it the two clocks and the pins of USB (ECP5 only)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from amaranth.hdl import ClockDomain, ClockSignal, Elaboratable, Module, Signal
from amaranth.lib import io, wiring
from amaranth.lib.cdc import ResetSynchronizer

from popflip.golden.errors import ConfigError
from popflip.hw.config import ChipConfig
from popflip.hw.lib.pll import Ecp5Pll, find_pll
from popflip.hw.link.usb import UsbSerial
from popflip.hw.top import BoardTop

USB_HZ = 48e6
"""Clock of the PHY, which takes four samples of each bit."""
MAX_ERROR = 0.002
"""Largest relative error of :data:`USB_HZ`. USB 2.0, 7.1.11, allows a full-speed device 0.25 %; the board's oscillator
takes 0.01 % of it."""


def usb_pll(kind: type[Ecp5Pll], reference_hz: float) -> Ecp5Pll:
    """The setting of a PLL of ``kind`` that makes the clocks of USB.

    Raises :class:`ConfigError` if there is none within :data:`MAX_ERROR`.
    """
    pll = find_pll(kind, reference_hz, USB_HZ)
    if abs(pll.hz / USB_HZ - 1) > MAX_ERROR:
        raise ConfigError(f"link: no PLL setting makes USB's 48 MHz of {reference_hz / 1e6:g} MHz")
    return pll


class UsbClocks(Elaboratable):
    """Domains ``usb_io`` (48 MHz) and ``usb`` (12 MHz) from ``pll``, whose input is ``reference``. They are reset until
    the PLL has locked.
    """

    def __init__(self, pll: Ecp5Pll, reference: Signal):
        self.pll, self.reference = pll, reference

    def elaborate(self, platform) -> Module:
        m = Module()
        fast, slow = (Signal(name=name, attrs={"keep": True}) for name in ("usb48", "usb12"))
        locked = Signal()
        m.submodules.pll = self.pll.instance(self.reference, fast, locked, quarter=slow)
        for name, clock, hz in (("usb_io", fast, self.pll.hz), ("usb", slow, self.pll.hz / 4)):
            m.domains += ClockDomain(name)
            m.d.comb += ClockSignal(name).eq(clock)
            m.submodules[f"{name}_reset"] = ResetSynchronizer(~locked, domain=name)
            platform.add_clock_constraint(clock, hz)
        return m


class UsbTop(BoardTop):
    """A bitstream whose link is USB, with ``serial`` as the device's serial number and clocks from ``usb_pll``.

    Other parameters as those of :class:`BoardTop`. The platform has a resource ``usb`` with ``d_p``, ``d_n`` and
    ``pullup``.
    """

    def __init__(self, chip: ChipConfig, clock_hz: float, pll: Any, *rest: Any, usb_pll: Ecp5Pll, serial: str):
        super().__init__(chip, clock_hz, pll, *rest)
        self.reference = Signal()
        self.clock.reference = self.reference  # both PLLs have the same input
        self.usb_clocks = UsbClocks(usb_pll, self.reference)
        self.serial = serial

    def add_link(self, m: Module, platform: Any) -> None:
        """The device, its clocks, and the pins of both."""
        m.submodules.usb_clocks = self.usb_clocks
        m.submodules.reference = oscillator = io.Buffer("i", platform.request(platform.default_clk, dir="-"))
        m.d.comb += self.reference.eq(oscillator.i)
        pins = platform.request("usb", dir="-")
        bus = SimpleNamespace(
            d_p=io.Buffer("io", pins.d_p), d_n=io.Buffer("io", pins.d_n), pullup=io.Buffer("o", pins.pullup)
        )
        for name, buffer in vars(bus).items():
            m.submodules[f"{name}_pin"] = buffer
        m.submodules.usb = usb = UsbSerial(bus, self.serial)
        wiring.connect(m, usb.rx, self.chip.rx)
        wiring.connect(m, self.chip.tx, usb.tx)
