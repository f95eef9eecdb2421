"""UART: 8 data bits, no parity, one stop bit, least significant bit first."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from math import floor

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from popflip.golden.errors import ConfigError

BAUD = 1_000_000
"""Default speed of a board's link, in bits per second."""
BITS = 10
"""Bits of a byte on the line: a start bit, eight data bits, a stop bit."""
MIN_DIVISOR = 4
MAX_ERROR = 0.01
"""Largest relative error of a speed that whole cycles make; other speeds get bits of two lengths and have none.
Bytes arrive whole while both ends differ by 2 % and each edge is 2 % of a bit off, even at :data:`MIN_DIVISOR`."""


def divisor(clock_hz: float, baud: int) -> Fraction:
    """Clock cycles per bit: a whole number if it makes the speed within :data:`MAX_ERROR`, else the exact fraction.

    Raises :class:`ConfigError` if a bit is shorter than :data:`MIN_DIVISOR` cycles.
    """
    whole = round(clock_hz / baud)
    if whole >= MIN_DIVISOR and abs(clock_hz / whole / baud - 1) <= MAX_ERROR:
        return Fraction(whole)
    if clock_hz < MIN_DIVISOR * baud:
        raise ConfigError(
            f"baud: {baud} is too fast for a clock of {clock_hz:.0f} Hz; at most {int(clock_hz / MIN_DIVISOR)} works"
        )
    return Fraction(round(clock_hz), baud)


def byte_cycles(divisor: Fraction | int) -> int:
    """Clock cycles that a byte takes on the line."""
    return sum(sent_bits(divisor))


def sent_bits(divisor: Fraction | int) -> list[int]:
    """Clock cycles of each bit of a byte that is sent: every edge is within half a cycle of its time."""
    return [after - before for before, after in pairwise(floor(bit * divisor + Fraction(1, 2)) for bit in range(11))]


def sampled_bits(divisor: Fraction | int) -> list[int]:
    """Clock cycles from the cycle that sees the start bit's edge to its sample, then from each sample to the next.

    The synchroniser sees an edge up to a cycle late. Samples are as late as early: within a cycle of a bit's middle.
    """
    samples = [floor((bit + Fraction(1, 2)) * divisor) for bit in range(BITS)]
    return [samples[0], *(after - before for before, after in pairwise(samples))]


def _longer(cycles: list[int]) -> tuple[int, int]:
    """The shortest of ``cycles``, and a bit mask of those that are a cycle longer."""
    return min(cycles), sum((length > min(cycles)) << place for place, length in enumerate(cycles))


class UartReceiver(wiring.Component):
    """Receives bytes from a line. ``divisor`` is in clock cycles per bit; a fraction makes some bits a cycle longer.

    Samples bits in their middle; a start bit that is no longer low by then was a glitch. Drops a byte whose stop bit is
    low, and one that arrives while the previous one still waits.

    Members
    -------
    ``pin`` : In(1)
        Asynchronous.
    ``o`` : Out(stream of 8)

    Latency: a byte is offered three cycles after the middle of its stop bit.
    """

    def __init__(self, divisor: Fraction | int):
        self.divisor = divisor
        super().__init__({"pin": In(1, init=1), "o": Out(stream.Signature(8))})

    def elaborate(self, platform) -> Module:
        m = Module()
        line = Signal(init=1)
        m.submodules.synchronise = FFSynchronizer(self.pin, line, init=1)

        first, *gaps = sampled_bits(self.divisor)
        gap, longer = _longer(gaps)
        timer = Signal(range(gap + (longer != 0)))
        middle = Signal()
        bits = Signal(8)
        # A marker bit moves ahead of the data: it reaches bit 0 when the eighth bit arrives.
        shift = Signal(9)
        m.d.comb += [middle.eq(timer == 0), self.o.payload.eq(bits)]
        m.d.sync += timer.eq(timer - 1)
        with m.If(middle):
            m.d.sync += timer.eq(gap - 1)
        if longer:  # bit 0: of the next gap
            extra = Signal(BITS - 1)
            with m.If(middle):
                m.d.sync += [timer.eq(gap - 1 + extra[0]), extra.eq(extra >> 1)]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)

        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [timer.eq(first - 1), shift.eq(1 << 8)]
                if longer:
                    m.d.sync += extra.eq(longer)
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
    """Sends bytes to a line, without a gap if they arrive fast enough. ``divisor`` is in clock cycles per bit; a
    fraction makes some bits a cycle longer.

    Members
    -------
    ``i`` : In(stream of 8), ``pin`` : Out(1)
        The start bit begins in the cycle after a byte is taken.
    """

    def __init__(self, divisor: Fraction | int):
        self.divisor = divisor
        super().__init__({"i": In(stream.Signature(8)), "pin": Out(1, init=1)})

    def elaborate(self, platform) -> Module:
        m = Module()
        cycles, longer = _longer(sent_bits(self.divisor))
        timer = Signal(range(cycles + (longer != 0)))
        shift = Signal(10, init=1)  # the bits to send, stop bit last; 1: only the stop bit or nothing is left
        busy = Signal()
        m.d.comb += [busy.eq(shift[1:].any() | (timer != 0)), self.pin.eq(shift[0]), self.i.ready.eq(~busy)]
        with m.If(timer != 0):
            m.d.sync += timer.eq(timer - 1)
        with m.Elif(self.i.ready & self.i.valid):
            m.d.sync += [shift.eq(Cat(Const(0, 1), self.i.payload, Const(1, 1))), timer.eq(cycles - 1 + (longer & 1))]
        with m.Elif(busy):
            m.d.sync += [shift.eq(shift[1:]), timer.eq(cycles - 1)]
        if longer:  # bit 0: of the next bit
            extra = Signal(BITS)
            with m.If((timer == 0) & busy):
                m.d.sync += [timer.eq(cycles - 1 + extra[0]), extra.eq(extra >> 1)]
            with m.Elif(timer == 0):
                m.d.sync += extra.eq(longer >> 1)
        return m


class Uart(wiring.Component):
    """Both directions of a line pair. ``divisor``: clock cycles per bit, from :func:`divisor`.

    Members
    -------
    ``rx_pin`` : In(1), ``tx_pin`` : Out(1)
    ``rx`` : Out(stream of 8), ``tx`` : In(stream of 8)
    """

    def __init__(self, divisor: Fraction | int):
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
