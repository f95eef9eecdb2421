"""Initialise: random counters, weights that are their signs, and random classifiers (golden ``weights.initial``)."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib.wiring import Out
from amaranth.utils import exact_log2

from popflip.golden.config import WORD
from popflip.hw.common.initialise import Initialise
from popflip.hw.config import ChipConfig
from popflip.hw.lbe.score import ClassifierSignature
from popflip.hw.lib.lookup import of_layer


class LbeInitialise(Initialise):
    """For each 32-synapse word in scan order draws 8 words, a byte a synapse: its counter is the byte's upper bits,
    half of what it could be at most. Then, class by class, a word for each 32 neurons: the classifiers' bits.

    Members, besides
    ----------------
    ``classifiers`` : Out(the ports of :class:`.score.Classifiers`)

    A cycle for each word drawn, one more for each N-synapse word, and two for each bit of a classifier.
    """

    def __init__(self, chip: ChipConfig):
        super().__init__(chip, classifiers=Out(ClassifierSignature(chip)))

    def elaborate(self, platform) -> Module:
        m = Module()
        chip = self.chip
        lanes, bits = chip.array_synapses, chip.counter_bits
        position = self.i.payload
        layer = self.start.payload
        self._request(m)

        # Counters: four a draw ----------------------------------------------------------------------------------------
        four = Cat(Cat(byte[9 - bits :], byte[-1]) for byte in (self.words.payload.word_select(q, 8) for q in range(4)))
        word = Signal(lanes * bits)
        quarter = Signal(range(max(8, lanes // 4)))  # draws of the N-synapse word so far, or of the 32-synapse word
        parts = max(1, lanes // WORD)
        last_parts = of_layer(layer, [(words - 1) % parts for words in chip.mask_words])
        if lanes >= WORD:
            kept = Const(1)
            last_quarter = quarter == ((Mux(position.last_of_row, last_parts, parts - 1) << 3) | 7)
        else:
            # The last N-synapse word of a row draws what is left of its 32-synapse word too, and drops it.
            kept = quarter[exact_log2(lanes // 4) :] == position.piece
            last_quarter = Mux(
                position.last_of_mask, quarter == 7, kept & (quarter[: exact_log2(lanes // 4)] == lanes // 4 - 1)
            )
        place = quarter[: exact_log2(lanes // 4)]

        # Classifiers: a bit at a time ---------------------------------------------------------------------------------
        neuron = Signal(range(max(chip.rows)))
        number = Signal(range(chip.classes))
        drawn = Signal(WORD)
        last_neuron = neuron == of_layer(layer, [rows - 1 for rows in chip.rows])
        bases = [sum(chip.rows[:index]) for index in range(chip.depth)]
        ports = self.classifiers
        m.d.comb += [
            ports.address.eq(neuron + of_layer(layer, bases)),
            ports.write_address.eq(ports.address),
            ports.write_column.eq(
                Mux(number == 0, 0, ports.column & ~(1 << number)) | (drawn[0] << number),
            ),
        ]

        take = Signal()
        exists = self._write(m, take)
        m.d.comb += [
            self.write.counters.as_value().eq(word & Cat(lane.replicate(bits) for lane in exists)),
            self.write.weights.as_value().eq(
                exists & ~Cat(word[(lane + 1) * bits - 1] for lane in range(lanes)),
            ),
        ]
        with m.FSM():
            with m.State("DRAW"):
                m.d.comb += self.words.ready.eq(self.i.valid)
                with m.If(self.i.valid & self.words.valid):
                    m.d.sync += quarter.eq(quarter + 1)
                    with m.If(kept):
                        m.d.sync += word.word_select(place, 4 * bits).eq(four)
                    with m.If(last_quarter):
                        m.next = "WRITE"
            with m.State("WRITE"):
                m.d.comb += [take.eq(1), self.i.ready.eq(1)]
                with m.If(position.last_of_mask if lanes <= WORD else Const(1)):
                    m.d.sync += quarter.eq(0)
                m.d.sync += [neuron.eq(0), number.eq(0)]
                m.next = "DRAW"
                with m.If(position.last):
                    m.next = "DRAW CLASSIFIER"
            with m.State("DRAW CLASSIFIER"):
                m.d.comb += self.words.ready.eq(1)
                with m.If(self.words.valid):
                    m.d.sync += drawn.eq(self.words.payload)
                    m.next = "READ"
            with m.State("READ"):
                m.next = "MODIFY"
            with m.State("MODIFY"):
                m.d.comb += ports.write.eq(1)
                m.d.sync += [neuron.eq(neuron + 1), drawn.eq(drawn >> 1)]
                m.next = "READ"
                with m.If(neuron[: exact_log2(WORD)] == WORD - 1):
                    m.next = "DRAW CLASSIFIER"
                with m.If(last_neuron):
                    m.d.sync += [neuron.eq(0), number.eq(number + 1)]
                    m.next = "DRAW CLASSIFIER"
                    with m.If(number == chip.classes - 1):
                        m.d.comb += self.start.ready.eq(1)
                        m.next = "DRAW"
        return m
