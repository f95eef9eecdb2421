"""UART: 8 data bits, no parity, one stop bit, least significant bit first."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from popflip.golden.errors import ConfigError

BAUD = 1_000_000
"""Speed of a board's link when nobody says otherwise."""
MIN_DIVISOR = 4
MAX_ERROR = 0.02
"""Of the speed: half a bit of drift in the ten bits of a byte would be 5 %, to be shared by both ends and the edges."""


def divisor(clock_hz: float, baud: int) -> int:
    """Clock cycles a bit, ``⌊clock_hz / baud⌉``. :class:`ConfigError` if no whole number comes close enough."""
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
    """Bytes from a line. One whose stop bit is low, or which comes while the one before still waits, is dropped.

    ``divisor``: clock cycles a bit. Bits are looked at in their middle; a start bit that is over by then was a glitch.

    Members
    -------
    ``pin`` : In(1)
        Asynchronous.
    ``o`` : Out(stream of 8)

    A byte is offered three cycles after the middle of its stop bit.
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
        # A marker moves through the byte's place: it falls out when the eighth bit has come.
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
            with m.State("BREAK"), m.If(line):  # no start bit before the line has been high again
                m.next = "IDLE"
        return m


class UartSender(wiring.Component):
    """Bytes onto a line, back to back when they come fast enough. ``divisor``: clock cycles a bit.

    Members
    -------
    ``i`` : In(stream of 8), ``pin`` : Out(1)
        The start bit begins in the cycle after a byte was taken.
    """

    def __init__(self, divisor: int):
        self.divisor = divisor
        super().__init__({"i": In(stream.Signature(8)), "pin": Out(1, init=1)})

    def elaborate(self, platform) -> Module:
        m = Module()
        timer = Signal(range(self.divisor))
        shift = Signal(10, init=1)  # what is to come, and one behind it that is the stop bit; only that one: idle
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
    """Both directions of a line pair. ``divisor``: clock cycles a bit, from :func:`divisor`.

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
