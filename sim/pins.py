"""A chip with the pads of its SDRAM, for simulations: the pins are two ports, one out and one in."""

from __future__ import annotations

from amaranth.hdl import Module
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from popflip.hw.memory.sdram_pads import SdramPads, simulated_ports
from popflip.hw.memory.sdram_part import BANKS, Command, SdramPart
from popflip.hw.top import Chip


def outputs_layout(part: SdramPart) -> data.StructLayout:
    """Levels at the chip's pins, behind the registers of the pads; 1 is active. ``sim/cxxrtl/shim.cc`` takes them
    apart."""
    return data.StructLayout(
        {
            "command": Command,
            "bank": range(BANKS),
            "address": 13,
            "mask": 4,
            "drive": 1,
            "data": part.data_bits,
        }
    )


class ChipWithSdram(wiring.Component):
    """``chip``, which has an SDRAM of kind ``part``, and its pads. ``hz`` is the clock of the SDRAM.

    Members
    -------
    ``rx`` : In(stream of 8), ``tx`` : Out(stream of 8)
    ``sdram_outputs`` : Out(:func:`outputs_layout`), ``sdram_data`` : In(data_bits)
    """

    def __init__(self, chip: Chip):
        self.chip, self.part, self.hz = chip, chip.link.store.part, chip.link.store.hz
        super().__init__(
            {
                "rx": In(stream.Signature(8)),
                "tx": Out(stream.Signature(8)),
                "sdram_outputs": Out(outputs_layout(self.part)),
                "sdram_data": In(self.part.data_bits),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.chip = self.chip
        wiring.connect(m, wiring.flipped(self.rx), self.chip.rx)
        wiring.connect(m, self.chip.tx, wiring.flipped(self.tx))
        connect_pads(m, self.chip.sdram, self.part, self.sdram_outputs, self.sdram_data)
        return m


def connect_pads(m: Module, pins, part: SdramPart, outputs: data.View, inputs) -> None:
    """Pads between the ``pins`` of a controller and the levels at the pins of the SDRAM."""
    ports = simulated_ports(part)
    m.submodules.pads = pads = SdramPads(part, ports)
    wiring.connect(m, pins, pads.pins)
    command = outputs.command.as_value()
    m.d.comb += [
        *(command[place].eq(ports[name].o) for place, name in enumerate(("ras", "cas", "we"))),
        outputs.bank.eq(ports["ba"].o),
        outputs.address.eq(ports["a"].o),
        outputs.drive.eq(ports["dq"].oe.any()),
        outputs.data.eq(ports["dq"].o),
        ports["dq"].i.eq(inputs),
    ]
    if "dqm" in ports:
        m.d.comb += outputs.mask.eq(ports["dqm"].o)
