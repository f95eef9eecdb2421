"""UART: 8 data bits, no parity, one stop bit, least significant bit first."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from popflip.golden.errors import ConfigError

BAUD = 1_000_000
"""Default speed of a board's link, in bits per second."""
MIN_DIVISOR = 4
MAX_ERROR = 0.02
"""Largest relative error of the speed. A drift of half a bit in the ten bits of a byte, 5 %, is too much; both ends and
the edges share it."""


def divisor(clock_hz: float, baud: int) -> int:
    """Clock cycles per bit, ``⌊clock_hz / baud⌉``.

    Raises :class:`ConfigError` if the speed is off by more than :data:`MAX_ERROR`, or a bit is shorter than
    :data:`MIN_DIVISOR` cycles.
    """
    cycles = round(clock_hz / baud)
    if cycles < MIN_DIVISOR:
        raise ConfigError(
            f"baud: {baud} is too fast for a clock of {clock_hz:.0f} Hz; at most {int(clock_hz / MIN_DIVISOR)} works"
        )
    error = clock_hz / cycles / baud - 1
    if abs(error) > MAX_ERROR:
        raise ConfigError(
            f"baud: {baud} cannot be made of a clock of {clock_hz:.0f} Hz: it would be {error:+.1%} off; "
            f"{clock_hz / cycles:.0f} works"
        )
    return cycles


class UartReceiver(wiring.Component):
    """Receives bytes from a line. ``divisor`` is in clock cycles per bit.

    Samples bits in their middle; a start bit that is no longer low by then was a glitch. Drops a byte whose stop bit is
    low, and one that arrives while the previous one still waits.

    Members
    -------
    ``pin`` : In(1)
        Asynchronous.
    ``o`` : Out(stream of 8)

    Latency: a byte is offered three cycles after the middle of its stop bit.
    """

    def __init__(self, divisor: int):
        self.divisor = divisor
        super().__init__({"pin": In(1, init=1), "o": Out(stream.Signature(8))})

    def elaborate(self, platform) -> Module:
        m = Module()
        line = Signal(init=1)
        m.submodules.synchronise = FFSynchronizer(self.pin, line, init=1)

        timer = Signal(range(self.divisor))
        middle = Signal()
        bits = Signal(8)
        # A marker bit moves ahead of the data: it reaches bit 0 when the eighth bit arrives.
        shift = Signal(9)
        m.d.comb += [middle.eq(timer == 0), self.o.payload.eq(bits)]
        m.d.sync += timer.eq(timer - 1)
        with m.If(middle):
            m.d.sync += timer.eq(self.divisor - 1)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)

        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [timer.eq(self.divisor // 2 - 1), shift.eq(1 << 8)]
                with m.If(~line):
                    m.next = "START"
            with m.State("START"), m.If(middle):
                m.next = "DATA"
                with m.If(line):
                    m.next = "IDLE"
            with m.State("DATA"), m.If(middle):
                m.d.sync += shift.eq(Cat(shift[1:], line))
                with m.If(shift[0]):
                    m.next = "IDLE"
                    with m.If(line & (~self.o.valid | self.o.ready)):
                        m.d.sync += [self.o.valid.eq(1), bits.eq(shift[1:])]
                    with m.If(~line):
                        m.next = "BREAK"
            with m.State("BREAK"), m.If(line):  # a start bit needs a line that was high
                m.next = "IDLE"
        return m


class UartSender(wiring.Component):
    """Sends bytes to a line, without a gap if they arrive fast enough. ``divisor`` is in clock cycles per bit.

    Members
    -------
    ``i`` : In(stream of 8), ``pin`` : Out(1)
        The start bit begins in the cycle after a byte is taken.
    """

    def __init__(self, divisor: int):
        self.divisor = divisor
        super().__init__({"i": In(stream.Signature(8)), "pin": Out(1, init=1)})

    def elaborate(self, platform) -> Module:
        m = Module()
        timer = Signal(range(self.divisor))
        shift = Signal(10, init=1)  # the bits to send, stop bit last; 1: only the stop bit or nothing is left
        busy = Signal()
        m.d.comb += [busy.eq(shift[1:].any() | (timer != 0)), self.pin.eq(shift[0]), self.i.ready.eq(~busy)]
        with m.If(timer != 0):
            m.d.sync += timer.eq(timer - 1)
        with m.Elif(self.i.ready & self.i.valid):
            m.d.sync += [shift.eq(Cat(Const(0, 1), self.i.payload, Const(1, 1))), timer.eq(self.divisor - 1)]
        with m.Elif(busy):
            m.d.sync += [shift.eq(shift[1:]), timer.eq(self.divisor - 1)]
        return m


class Uart(wiring.Component):
    """Both directions of a line pair. ``divisor``: clock cycles per bit, from :func:`divisor`.

    Members
    -------
    ``rx_pin`` : In(1), ``tx_pin`` : Out(1)
    ``rx`` : Out(stream of 8), ``tx`` : In(stream of 8)
    """

    def __init__(self, divisor: int):
        self.divisor = divisor
        super().__init__(
            {
                "rx_pin": In(1, init=1),
                "tx_pin": Out(1, init=1),
                "rx": Out(stream.Signature(8)),
                "tx": In(stream.Signature(8)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.receiver = receiver = UartReceiver(self.divisor)
        m.submodules.sender = sender = UartSender(self.divisor)
        m.d.comb += [receiver.pin.eq(self.rx_pin), self.tx_pin.eq(sender.pin)]
        wiring.connect(m, receiver.o, wiring.flipped(self.rx))
        wiring.connect(m, wiring.flipped(self.tx), sender.i)
        return m
