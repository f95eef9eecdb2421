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
from popflip.hw.memory.sdram_pads import SdramPads
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


SDRAM_SECONDS = 3e-9
"""How much later than the chip's clock that of the SDRAM rises, at its pin. Outputs of the pads then have as long
before it as an SDRAM needs (2 ns with the skew of the pads), and its words, which come 5.4 ns later, reach the pads'
registers before the next edge: with 2 ns for the two pads at up to 90 MHz."""
SDRAM_CAPTURE = -1
"""``capture`` of :class:`popflip.hw.memory.sdram.Sdram` for that phase, and for a clock half a period later."""


class SdramClock(Elaboratable):
    """The clock at the SDRAM's pin ``port``: ``late`` through a register in the pad, or without it the chip's clock,
    inverted."""

    def __init__(self, port: io.PortLike, late: Signal | None):
        self.port, self.late = port, late

    def elaborate(self, platform) -> Module:
        m = Module()
        domain = "sync"
        if self.late is not None:
            m.domains.late = late = ClockDomain(reset_less=True, local=True)
            m.d.comb += late.clk.eq(self.late)
            domain = "late"
        m.submodules.pad = pad = io.DDRBuffer("o", self.port, o_domain=domain)
        m.d.comb += [pad.o[0].eq(self.late is not None), pad.o[1].eq(self.late is None)]
        return m


class BoardTop(Elaboratable):
    """A whole bitstream: clock, chip, a link to the host, and the pads of an SDRAM if the chip uses it.

    ``clock_hz`` is the frequency that :class:`Clock` makes with ``pll``, or of the board's own clock without one.
    ``buffer`` and ``memory``: see :class:`Chip`. The platform has the resources ``tied_high``, pins that are driven
    high, and ``sdram`` if the chip has one.
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
        self.clock = Clock(pll, clock_hz, SDRAM_SECONDS if chip.sdram and pll is not None else 0.0)
        self.chip = Chip(chip, round(clock_hz), buffer, memory, SDRAM_CAPTURE)

    def elaborate(self, platform) -> Module:
        m = Module()
        m.domains.sync = ClockDomain(reset_less=True)
        m.submodules.clock = self.clock
        m.submodules.chip = self.chip
        self.add_link(m, platform)
        if self.chip.link.chip.sdram:
            self._connect_sdram(m, platform)
        for name in self.tied_high:
            m.submodules[name] = pin = io.Buffer("o", platform.request(name, dir="-"))
            m.d.comb += pin.o.eq(1)
        return m

    def _connect_sdram(self, m: Module, platform: Any) -> None:
        resource = platform.request("sdram", dir="-")
        names = ("clk_en", "cs", "we", "ras", "cas", "ba", "a", "dq", "dqm")
        ports = {name: getattr(resource, name) for name in names if hasattr(resource, name)}
        m.submodules.pads = pads = SdramPads(self.chip.link.store.part, ports)
        wiring.connect(m, self.chip.sdram, pads.pins)
        late = self.clock.late if self.clock.late_seconds else None
        m.submodules.sdram_clock = SdramClock(resource.clk, late)

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
