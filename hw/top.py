"""The chip: a link and the trainer behind it; and the chip on a board, with its clock and pins."""

from __future__ import annotations

from amaranth.hdl import ClockDomain, Elaboratable, Module
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
    """Learns and answers over a byte stream: everything but pins, clock and the way the bytes come.

    ``clock_hz`` is what IDENTIFY tells the host, 0 in simulation; ``buffer`` the least bytes of the packet buffer;
    ``memory`` what the sample store is made of, if there is one.

    Members
    -------
    ``rx`` : In(stream of 8), ``tx`` : Out(stream of 8)
        Frames of :mod:`popflip.hw.link.codec`.
    """

    def __init__(self, chip: ChipConfig, clock_hz: int = 0, buffer: int = BUFFER_BYTES, memory: Memories = BlockBytes):
        self.identity = Identity.of(chip, buffer_bytes(chip, buffer), clock_hz, build_hash(chip))
        self.link = Link(chip, self.identity, memory)
        self.trainer = Trainer(chip)
        super().__init__({"rx": In(stream.Signature(8)), "tx": Out(stream.Signature(8))})

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.link = self.link
        m.submodules.trainer = self.trainer
        wiring.connect(m, wiring.flipped(self.rx), self.link.rx)
        wiring.connect(m, self.link.trainer, self.trainer.port)
        wiring.connect(m, self.link.tx, wiring.flipped(self.tx))
        return m


class BoardTop(Elaboratable):
    """The chip behind the UART of a board: everything in a bitstream.

    ``clock_hz`` is made by ``pll``, or is the board's own clock without one; ``buffer`` and ``memory`` as in
    :class:`Chip`. The platform has a resource ``uart``, whose ``rx`` and ``tx`` are named as the chip sees them.
    """

    def __init__(
        self,
        chip: ChipConfig,
        clock_hz: float,
        pll: Ice40Pll | Ecp5Pll | None,
        buffer: int,
        baud: int = BAUD,
        memory: Memories = BlockBytes,
    ):
        self.clock = Clock(pll, clock_hz)
        self.chip = Chip(chip, round(clock_hz), buffer, memory)
        self.uart = Uart(divisor(clock_hz, baud))

    def elaborate(self, platform) -> Module:
        m = Module()
        m.domains.sync = ClockDomain(reset_less=True)
        m.submodules.clock = self.clock
        m.submodules.chip = self.chip
        m.submodules.uart = self.uart
        pins = platform.request("uart", dir="-")
        m.submodules.rx_pin = rx_pin = io.Buffer("i", pins.rx)
        m.submodules.tx_pin = tx_pin = io.Buffer("o", pins.tx)
        m.d.comb += [self.uart.rx_pin.eq(rx_pin.i), tx_pin.o.eq(self.uart.tx_pin)]
        wiring.connect(m, self.uart.rx, self.chip.rx)
        wiring.connect(m, self.chip.tx, self.uart.tx)
        return m
