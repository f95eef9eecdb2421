"""The chip, a link with the trainer behind it; and a board, the chip with a clock and pins."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import ClockDomain, Elaboratable, Module, Signal
from amaranth.lib import io, stream, wiring
from amaranth.lib.wiring import In, Out

from popflip.hw.config import ChipConfig
from popflip.hw.fingerprint import build_hash
from popflip.hw.lib.pll import Clock, Ecp5Pll, Ice40Pll
from popflip.hw.link.buffer import BUFFER_BYTES, buffer_bytes
from popflip.hw.link.identity import Identity
from popflip.hw.link.link import Link
from popflip.hw.link.store import BlockBytes, Memories
from popflip.hw.link.uart import BAUD, Uart, divisor
from popflip.hw.trainer import Trainer


class Chip(wiring.Component):
    """A chip that learns and answers over a byte stream. It knows no pins, no clock source and no kind of link.

    ``clock_hz`` is the frequency that IDENTIFY tells the host, 0 in simulation. ``buffer`` is the minimum size of the
    packet buffer in bytes. ``memory`` makes the memory of the sample store, if the chip has one that is no SDRAM.
    ``capture`` : see :class:`popflip.hw.memory.sdram.Sdram`.

    Members
    -------
    ``rx`` : In(stream of 8), ``tx`` : Out(stream of 8)
        Frames of :mod:`popflip.hw.link.codec`.
    ``sdram`` : Out(SdramPinsSignature)
        Only if the chip has an SDRAM.
    """

    def __init__(
        self,
        chip: ChipConfig,
        clock_hz: int = 0,
        buffer: int = BUFFER_BYTES,
        memory: Memories = BlockBytes,
        capture: int = 0,
    ):
        self.identity = Identity.of(chip, buffer_bytes(chip, buffer), clock_hz, build_hash(chip))
        self.link = Link(chip, self.identity, memory, capture)
        self.trainer = Trainer(chip)
        sdram = {"sdram": Out(self.link.sdram.signature)} if chip.sdram else {}
        super().__init__({"rx": In(stream.Signature(8)), "tx": Out(stream.Signature(8)), **sdram})

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.link = self.link
        m.submodules.trainer = self.trainer
        cycles = Signal(len(self.link.nonce))  # since power-up: when a host's first frame comes is chance
        m.d.sync += cycles.eq(cycles + 1)
        m.d.comb += self.link.nonce.eq(cycles)
        wiring.connect(m, wiring.flipped(self.rx), self.link.rx)
        wiring.connect(m, self.link.trainer, self.trainer.port)
        wiring.connect(m, self.link.tx, wiring.flipped(self.tx))
        if hasattr(self, "sdram"):
            wiring.connect(m, self.link.sdram, wiring.flipped(self.sdram))
        return m


class BoardTop(Elaboratable):
    """A whole bitstream: clock, chip, and a link to the host.

    ``clock_hz`` is the frequency that :class:`Clock` makes with ``pll``, or of the board's own clock without one.
    ``buffer`` and ``memory``: see :class:`Chip`. The platform has the resources ``tied_high``, pins that are driven
    high.
    """

    def __init__(
        self,
        chip: ChipConfig,
        clock_hz: float,
        pll: Ice40Pll | Ecp5Pll | None,
        buffer: int,
        memory: Memories = BlockBytes,
        tied_high: tuple[str, ...] = (),
    ):
        self.tied_high = tied_high
        self.clock = Clock(pll, clock_hz)
        self.chip = Chip(chip, round(clock_hz), buffer, memory)

    def elaborate(self, platform) -> Module:
        m = Module()
        m.domains.sync = ClockDomain(reset_less=True)
        m.submodules.clock = self.clock
        m.submodules.chip = self.chip
        self.add_link(m, platform)
        for name in self.tied_high:
            m.submodules[name] = pin = io.Buffer("o", platform.request(name, dir="-"))
            m.d.comb += pin.o.eq(1)
        return m

    def add_link(self, m: Module, platform: Any) -> None:
        """Connect the chip's two streams of bytes to the pins of the board's link."""
        raise NotImplementedError


class UartTop(BoardTop):
    """A bitstream whose link is a UART of ``baud`` bits per second. Other parameters as those of :class:`BoardTop`.

    The platform has a resource ``uart`` with ``rx`` and ``tx``, named from the chip's side.
    """

    def __init__(self, chip: ChipConfig, clock_hz: float, *rest: Any, baud: int = BAUD):
        super().__init__(chip, clock_hz, *rest)
        self.uart = Uart(divisor(clock_hz, baud))

    def add_link(self, m: Module, platform: Any) -> None:
        """The UART and its two pins."""
        m.submodules.uart = self.uart
        pins = platform.request("uart", dir="-")
        m.submodules.rx_pin = rx_pin = io.Buffer("i", pins.rx)
        m.submodules.tx_pin = tx_pin = io.Buffer("o", pins.tx)
        m.d.comb += [self.uart.rx_pin.eq(rx_pin.i), tx_pin.o.eq(self.uart.tx_pin)]
        wiring.connect(m, self.uart.rx, self.chip.rx)
        wiring.connect(m, self.chip.tx, self.uart.tx)
