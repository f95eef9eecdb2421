"""Initialise: random weights and zero counters, where a run starts (golden ``weights.initial``)."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from popflip.golden.config import WORD, Precision

from .config import ChipConfig
from .scan import WriteSignature, of_layer, position_layout


class Initialise(wiring.Component):
    """For each 32-synapse word in scan order draws ``p``, and, ternary, ``z``: a weight is 0 where ``z = 0``, else +1
    or −1 as ``p`` is 1 or 0. Counters and pads are 0.

    Members
    -------
    ``start`` : In(stream of range(L))
        A layer; taken when it is finished, with its last word.
    ``scan`` : Out(stream of range(L))
        Asks for the layer's words.
    ``i`` : In(stream of :func:`.scan.position_layout`)
        Where they lie.
    ``words`` : In(stream of 32), ``drawn`` : In(32)
        Random words, and the one drawn last: while ``z`` is offered by one, ``p`` is still held by the other.
    ``write`` : Out(WriteSignature)
        A word that was taken, in the same cycle.

    Latency 0. A cycle for each N-synapse word and, ternary, one more for each 32-synapse word. With N > 32 it is the
    32-synapse words that take a cycle, ternary two.
    """

    def __init__(self, chip: ChipConfig):
        self.chip = chip
        super().__init__(
            {
                "start": In(stream.Signature(range(chip.depth))),
                "scan": Out(stream.Signature(range(chip.depth))),
                "i": In(stream.Signature(position_layout(chip))),
                "words": In(stream.Signature(WORD)),
                "drawn": In(WORD),
                "write": Out(WriteSignature(chip)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        chip = self.chip
        lanes, bits = chip.array_synapses, chip.weight_bits
        parts = max(1, lanes // WORD)
        position = self.i.payload

        running = Signal()
        m.d.comb += [self.scan.payload.eq(self.start.payload), self.scan.valid.eq(self.start.valid & ~running)]
        with m.If(self.scan.valid & self.scan.ready):
            m.d.sync += running.eq(1)

        # The weights of one 32-synapse word are known while ``known``.
        drew = self.words.valid & self.words.ready
        known = Signal()
        if chip.precision == Precision.BINARY:
            m.d.comb += known.eq(self.words.valid)
            weights = self.words.payload
        else:
            p_drawn = Signal()
            with m.If(drew):
                m.d.sync += p_drawn.eq(~p_drawn)
            m.d.comb += known.eq(self.words.valid & p_drawn)
            p, z = self.drawn, self.words.payload
            weights = Signal(WORD * bits)
            m.d.comb += weights.eq(Cat(Cat(z[lane], z[lane] & ~p[lane]) for lane in range(WORD)))

        # The weights of the N-synapse word are known in its last part.
        if parts == 1:
            last_part = Const(1)
            word = Signal(lanes * bits)
            m.d.comb += word.eq(weights.word_select(position.piece, lanes * bits))
        else:
            last_parts = of_layer(self.start.payload, [(words - 1) % parts for words in chip.mask_words])
            part = Signal(range(parts))
            last_part = part == Mux(position.last_of_row, last_parts, parts - 1)
            earlier = [Signal(WORD * bits, name=f"part{index}") for index in range(parts - 1)]
            with m.If(drew & known):
                m.d.sync += part.eq(Mux(last_part, 0, part + 1))
            for index, held in enumerate(earlier):
                with m.If(part == index):
                    m.d.sync += held.eq(weights)
            word = Cat(
                *(Mux(part == index, weights, held) for index, held in enumerate(earlier)),
                weights,
            )

        take = Signal()
        m.d.comb += [
            self.i.ready.eq(known & last_part),
            take.eq(self.i.valid & self.i.ready),
            self.words.ready.eq(self.i.valid & (~known | ~last_part | position.last_of_mask)),
            self.start.ready.eq(take & position.last),
        ]
        with m.If(self.start.ready):
            m.d.sync += running.eq(0)
        real = of_layer(
            self.start.payload, [chip.real_lanes(layer, words - 1) for layer, words in enumerate(chip.words)]
        )
        m.d.comb += [
            self.write.write.eq(take),
            self.write.weight_address.eq(position.weight_address),
            self.write.weight_bank.eq(position.weight_bank),
            self.write.counter_address.eq(position.counter_address),
            self.write.counter_bank.eq(position.counter_bank),
        ]
        exists = [~position.last_of_row | (real[lane] if lane < len(real) else 0) for lane in range(lanes)]
        m.d.comb += self.write.weights.as_value().eq(word & Cat(lane.replicate(bits) for lane in exists))
        return m
