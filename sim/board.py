"""A board in simulation: the chip behind its UART, and the host's UART at the other end of the line."""

from __future__ import annotations

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from popflip.hw.config import ChipConfig
from popflip.hw.link.uart import Uart, byte_cycles, divisor
from popflip.hw.top import Chip
from popflip.sim.pins import connect_pads, outputs_layout


class SimulatedBoard(wiring.Component):
    """:class:`popflip.hw.top.BoardTop` without pins and clock, wired to a host's UART.

    ``buffer`` is the minimum size of the packet buffer in bytes. A byte takes :attr:`cycles_per_byte` clock cycles on
    the line, in either direction.

    Members
    -------
    ``rx`` : In(stream of 8)
        Bytes that the host sends.
    ``tx`` : Out(stream of 8)
        Bytes that the host receives.
    ``sdram_outputs``, ``sdram_data``
        Only if the chip has an SDRAM: its pins (:mod:`popflip.sim.pins`).
    """

    def __init__(self, chip: ChipConfig, clock_hz: int, baud: int, buffer: int):
        self.divisor = divisor(clock_hz, baud)
        self.cycles_per_byte = byte_cycles(self.divisor)
        self.chip = Chip(chip, clock_hz, buffer)
        self.part = self.hz = None
        pins = {}
        if chip.sdram:
            self.part, self.hz = self.chip.link.store.part, self.chip.link.store.hz
            pins = {"sdram_outputs": Out(outputs_layout(self.part)), "sdram_data": In(self.part.data_bits)}
        super().__init__({"rx": In(stream.Signature(8)), "tx": Out(stream.Signature(8)), **pins})

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.chip = self.chip
        m.submodules.host = host = Uart(self.divisor)
        m.submodules.uart = uart = Uart(self.divisor)
        m.d.comb += [uart.rx_pin.eq(host.tx_pin), host.rx_pin.eq(uart.tx_pin)]
        wiring.connect(m, wiring.flipped(self.rx), host.tx)
        wiring.connect(m, uart.rx, self.chip.rx)
        wiring.connect(m, self.chip.tx, uart.tx)
        wiring.connect(m, host.rx, wiring.flipped(self.tx))
        if self.part is not None:
            connect_pads(m, self.chip.sdram, self.part, self.sdram_outputs, self.sdram_data)
        return m
