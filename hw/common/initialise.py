"""Initialise: the base class that draws a rule's initial state (golden ``initialise.initial``)."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from popflip.golden.config import WORD
from popflip.hw.common.scan import WriteSignature, position_layout
from popflip.hw.config import ChipConfig
from popflip.hw.lib.lookup import of_layer


class Initialise(wiring.Component):
    """Draws and writes a layer's words. Each rule's subclass says how.

    Members
    -------
    ``start`` : In(stream of range(L))
        A layer; taken when it is finished.
    ``scan`` : Out(stream of range(L))
        Requests the layer's words.
    ``i`` : In(stream of :func:`.scan.position_layout`)
        Where the words lie, in scan order.
    ``words`` : In(stream of 32), ``drawn`` : In(32)
        Random words, and the one drawn last.
    ``write`` : Out(WriteSignature)
        A word, in the cycle in which ``i`` is taken.
    """

    def __init__(self, chip: ChipConfig, **members):
        self.chip = chip
        super().__init__(
            {
                "start": In(stream.Signature(range(chip.depth))),
                "scan": Out(stream.Signature(range(chip.depth))),
                "i": In(stream.Signature(position_layout(chip))),
                "words": In(stream.Signature(WORD)),
                "drawn": In(WORD),
                "write": Out(WriteSignature(chip)),
                **members,
            }
        )

    def _request(self, m: Module) -> None:
        """Request the words of a layer once."""
        running = Signal()
        m.d.comb += [self.scan.payload.eq(self.start.payload), self.scan.valid.eq(self.start.valid & ~running)]
        with m.If(self.scan.valid & self.scan.ready):
            m.d.sync += running.eq(1)
        with m.If(self.start.ready):
            m.d.sync += running.eq(0)

    def _write(self, m: Module, take: Value) -> Value:
        """Write the word at ``i`` if ``take`` is high. Returns which of its lanes are synapses."""
        chip, position = self.chip, self.i.payload
        m.d.comb += [
            self.write.write.eq(take),
            self.write.weight_address.eq(position.weight_address),
            self.write.weight_bank.eq(position.weight_bank),
            self.write.counter_address.eq(position.counter_address),
            self.write.counter_bank.eq(position.counter_bank),
        ]
        real = of_layer(
            self.start.payload, [chip.real_lanes(layer, words - 1) for layer, words in enumerate(chip.words)]
        )
        exists = Signal(chip.array_synapses)
        m.d.comb += exists.eq(Mux(position.last_of_row, real, ~0))
        return exists
