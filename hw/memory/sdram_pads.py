"""The pads of an SDRAM: a register in each of them, out and in."""

from __future__ import annotations

from amaranth.hdl import Const, Module
from amaranth.lib import io, wiring
from amaranth.lib.wiring import In
from amaranth.utils import ceil_log2

from popflip.hw.memory.sdram_part import BANKS, SdramPart, SdramPinsSignature

CONSTANT = ("clk_en", "cs")
"""Pins that stay active. A board may tie them and leave them out."""


class SdramPads(wiring.Component):
    """Registers in the pads of ``ports``, the pins of :func:`amaranth_boards.resources.SDRAMResource` by their names.

    ``clk`` is not among them: the clock at the SDRAM's pin has a phase of its own, which the board's PLL makes.

    Members
    -------
    ``pins`` : In(:class:`.sdram_part.SdramPinsSignature`)
        A command reaches the SDRAM's pins a cycle later; ``data_in`` are those at the pins a cycle earlier.
    """

    def __init__(self, part: SdramPart, ports: dict[str, io.PortLike]):
        self.part, self.ports = part, ports
        super().__init__({"pins": In(SdramPinsSignature(part))})

    def elaborate(self, platform) -> Module:
        m = Module()
        ras, cas, we = self.pins.command.as_value()
        outputs = {
            "ras": ras,
            "cas": cas,
            "we": we,
            "ba": self.pins.bank,
            "a": self.pins.address,
            "dqm": self.pins.mask,
            **dict.fromkeys(CONSTANT, Const(1)),
        }
        for name, value in outputs.items():
            if name in self.ports and len(value):
                m.submodules[name] = pad = io.FFBuffer("o", self.ports[name])
                m.d.comb += pad.o.eq(value)
        m.submodules.dq = pad = io.FFBuffer("io", self.ports["dq"])
        m.d.comb += [pad.o.eq(self.pins.data_out), pad.oe.eq(self.pins.drive), self.pins.data_in.eq(pad.i)]
        return m


def simulated_ports(part: SdramPart) -> dict[str, io.SimulationPort]:
    """Ports for a simulation, all active high: those of a board that wires every pin of ``part``."""
    widths = {"ras": 1, "cas": 1, "we": 1, "ba": ceil_log2(BANKS), "a": part.address_bits, "clk_en": 1, "cs": 1}
    if part.mask_bits:
        widths["dqm"] = part.mask_bits
    ports = {name: io.SimulationPort("o", width, name=name) for name, width in widths.items()}
    return {**ports, "dq": io.SimulationPort("io", part.data_bits, name="dq")}
