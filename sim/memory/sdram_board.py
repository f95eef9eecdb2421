"""The SDRAM controller on simulated pads: what a board has between the streams and the pins of its SDRAM.

All outputs are one port, and all inputs another: a testbench spends more time on a port than the simulator on a cycle.
"""

from __future__ import annotations

from amaranth.hdl import Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from popflip.hw.memory.sdram import Sdram
from popflip.hw.memory.sdram_pads import SdramPads, simulated_ports
from popflip.hw.memory.sdram_part import BANKS, Command, SdramPart, request_layout, word_layout


def outputs_layout(part: SdramPart) -> data.StructLayout:
    """Levels at the chip's pins, behind the registers of the pads, and what the streams show."""
    return data.StructLayout(
        {
            "command": Command,
            "bank": range(BANKS),
            "address": part.address_bits,
            "mask": part.mask_bits,
            "drive": 1,
            "data": part.data_bits,
            "request_ready": 1,
            "write_ready": 1,
            "read_valid": 1,
            "read_data": part.data_bits,
            "read_last": 1,
            "busy": 1,
        }
    )


def inputs_layout(part: SdramPart, longest: int) -> data.StructLayout:
    """The word at the data pins, and what the streams are given."""
    return data.StructLayout(
        {
            "data": part.data_bits,
            "request_valid": 1,
            "request": request_layout(part, longest),
            "write_valid": 1,
            "write": word_layout(part),
            "read_ready": 1,
        }
    )


class SdramBoard(wiring.Component):
    """``controller`` and its pads.

    Members
    -------
    ``outputs`` : Out(:func:`outputs_layout`), functions of registers alone; ``inputs`` : In(:func:`inputs_layout`)
    """

    def __init__(self, controller: Sdram):
        self.controller = controller
        part, longest = controller.part, controller.longest
        super().__init__({"outputs": Out(outputs_layout(part)), "inputs": In(inputs_layout(part, longest))})

    def elaborate(self, platform) -> Module:
        m = Module()
        controller, ports = self.controller, simulated_ports(self.controller.part)
        m.submodules.controller = controller
        m.submodules.pads = pads = SdramPads(controller.part, ports)
        wiring.connect(m, controller.pins, pads.pins)
        outputs, inputs = self.outputs, self.inputs
        selected = ports["clk_en"].o & ports["cs"].o
        command = outputs.command.as_value()
        m.d.comb += [
            *(command[place].eq(ports[name].o & selected) for place, name in enumerate(("ras", "cas", "we"))),
            outputs.bank.eq(ports["ba"].o),
            outputs.address.eq(ports["a"].o),
            outputs.drive.eq(ports["dq"].oe.any()),
            outputs.data.eq(ports["dq"].o),
            outputs.request_ready.eq(controller.requests.ready),
            outputs.write_ready.eq(controller.write.ready),
            outputs.read_valid.eq(controller.read.valid),
            outputs.read_data.eq(controller.read.payload.data),
            outputs.read_last.eq(controller.read.payload.last),
            outputs.busy.eq(controller.busy),
            ports["dq"].i.eq(inputs.data),
            controller.requests.valid.eq(inputs.request_valid),
            controller.requests.payload.eq(inputs.request),
            controller.write.valid.eq(inputs.write_valid),
            controller.write.payload.eq(inputs.write),
            controller.read.ready.eq(inputs.read_ready),
        ]
        if "dqm" in ports:
            m.d.comb += outputs.mask.eq(ports["dqm"].o)
        return m
