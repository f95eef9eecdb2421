"""Initialise: random counters, their signs as weights, and random classifiers (golden ``initialise.initial``)."""

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
    """Draws the counters of a layer, then its classifiers.

    Each 32-synapse word in scan order draws 8 random words, a byte a synapse. A counter is the upper bits of its byte,
    at most half of its range. The classifiers draw, class by class, a random word for each 32 neurons.

    Members, besides those of :class:`popflip.hw.common.initialise.Initialise`
    --------------------------------------------------------------------------
    ``classifiers`` : Out(ClassifierSignature)

    Takes a cycle for each random word, one more for each N-synapse word, and two for each bit of a classifier.
    """

    def __init__(self, chip: ChipConfig):
        super().__init__(chip, classifiers=Out(ClassifierSignature(chip)))

    def elaborate(self, platform) -> Module:
        m = Module()
        chip = self.chip
        lanes, bits = chip.array_synapses, chip.counter_bits
        self._request(m)
        self.word = Signal(lanes * bits)  # counters of the N-synapse word
        # Random words drawn so far for the N-synapse word; with N < 32, for the 32-synapse word.
        self.quarter = Signal(range(max(8, lanes // 4)))
        self.neuron = Signal(range(max(chip.rows)))
        self.number = Signal(range(chip.classes))
        self.drawn = Signal(WORD)
        self._connect_classifiers(m)
        take = Signal()
        exists = self._write(m, take)
        m.d.comb += [
            self.write.counters.as_value().eq(self.word & Cat(lane.replicate(bits) for lane in exists)),
            self.write.weights.as_value().eq(
                exists & ~Cat(self.word[(lane + 1) * bits - 1] for lane in range(lanes)),
            ),
        ]
        self._sequence(m, take)
        return m

    def _connect_classifiers(self, m: Module) -> None:
        """Write one bit at a time: the bit of class ``number`` in a neuron's column."""
        chip, number, ports = self.chip, self.number, self.classifiers
        bases = [sum(chip.rows[:index]) for index in range(chip.depth)]
        m.d.comb += [
            ports.address.eq(self.neuron + of_layer(self.start.payload, bases)),
            ports.write_address.eq(ports.address),
            ports.write_column.eq(
                Mux(number == 0, 0, ports.column & ~(1 << number)) | (self.drawn[0] << number),
            ),
        ]

    def _sequence(self, m: Module, take: Signal) -> None:
        """Draw and write a layer's words, then its classifiers."""
        position = self.i.payload
        with m.FSM():
            with m.State("DRAW"):
                m.d.comb += self.words.ready.eq(self.i.valid)
                with m.If(self.i.valid & self.words.valid):
                    self._draw_counters(m)
            with m.State("WRITE"):
                m.d.comb += [take.eq(1), self.i.ready.eq(1)]
                with m.If(position.last_of_mask if self.chip.array_synapses <= WORD else Const(1)):
                    m.d.sync += self.quarter.eq(0)
                m.d.sync += [self.neuron.eq(0), self.number.eq(0)]
                m.next = "DRAW"
                with m.If(position.last):
                    m.next = "DRAW CLASSIFIER"
            with m.State("DRAW CLASSIFIER"):
                m.d.comb += self.words.ready.eq(1)
                with m.If(self.words.valid):
                    m.d.sync += self.drawn.eq(self.words.payload)
                    m.next = "READ"
            with m.State("READ"):
                m.next = "MODIFY"
            with m.State("MODIFY"):
                self._modify_classifier(m)

    def _draw_counters(self, m: Module) -> None:
        """Take the counters of four synapses from a random word."""
        lanes, quarter, position = self.chip.array_synapses, self.quarter, self.i.payload
        parts, place_bits = max(1, lanes // WORD), exact_log2(lanes // 4)
        if lanes >= WORD:
            last_parts = of_layer(self.start.payload, [(words - 1) % parts for words in self.chip.mask_words])
            kept = Const(1)
            last = quarter == ((Mux(position.last_of_row, last_parts, parts - 1) << 3) | 7)
        else:
            # The last N-synapse word of a row also draws the rest of its 32-synapse word, and drops it.
            kept = quarter[place_bits:] == position.piece
            last = Mux(position.last_of_mask, quarter == 7, kept & (quarter[:place_bits] == lanes // 4 - 1))
        low = 9 - self.chip.counter_bits
        drawn = (self.words.payload.word_select(index, 8) for index in range(4))
        m.d.sync += quarter.eq(quarter + 1)
        with m.If(kept):
            four = self.word.word_select(quarter[:place_bits], 4 * self.chip.counter_bits)
            m.d.sync += four.eq(Cat(Cat(byte[low:], byte[-1]) for byte in drawn))
        with m.If(last):
            m.next = "WRITE"

    def _modify_classifier(self, m: Module) -> None:
        """Write a bit, and go on to the next neuron or class."""
        neuron, number, chip = self.neuron, self.number, self.chip
        m.d.comb += self.classifiers.write.eq(1)
        m.d.sync += [neuron.eq(neuron + 1), self.drawn.eq(self.drawn >> 1)]
        m.next = "READ"
        with m.If(neuron[: exact_log2(WORD)] == WORD - 1):
            m.next = "DRAW CLASSIFIER"
        with m.If(neuron == of_layer(self.start.payload, [rows - 1 for rows in chip.rows])):
            m.d.sync += [neuron.eq(0), number.eq(number + 1)]
            m.next = "DRAW CLASSIFIER"
            with m.If(number == chip.classes - 1):
                m.d.comb += self.start.ready.eq(1)
                m.next = "DRAW"
