"""Initialise: random weights and zero counters (golden ``initialise.initial``)."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal

from popflip.golden.config import WORD, Precision
from popflip.hw.common.initialise import Initialise
from popflip.hw.lib.lookup import of_layer


class GftInitialise(Initialise):
    """Draws ``p`` and, if ternary, ``z`` for each 32-synapse word in scan order. A weight is 0 where ``z = 0``, else +1
    where ``p = 1`` and −1 where ``p = 0``. Counters and pads are 0.

    Latency 0. Takes a cycle for each N-synapse word (N > 32: for each 32-synapse word) and, if ternary, one more for
    each 32-synapse word. A layer is finished with its last word.
    """

    def elaborate(self, platform) -> Module:
        m = Module()
        chip = self.chip
        lanes, bits = chip.array_synapses, chip.weight_bits
        parts = max(1, lanes // WORD)
        position = self.i.payload

        self._request(m)

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
        exists = self._write(m, take)
        m.d.comb += self.write.weights.as_value().eq(word & Cat(lane.replicate(bits) for lane in exists))
        return m
