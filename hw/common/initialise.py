"""Initialise: where a run starts (golden ``weights.initial``).

GFT: random weights and zero counters. LBE: random counters, weights that are their signs, and random classifiers.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from popflip.golden.config import WORD, Precision
from popflip.hw.common.scan import WriteSignature, position_layout
from popflip.hw.config import ChipConfig
from popflip.hw.lbe.score import ClassifierSignature
from popflip.hw.lib.lookup import of_layer


class _Initialise(wiring.Component):
    """Writes a layer's words.

    Members
    -------
    ``start`` : In(stream of range(L))
        A layer; taken when it is finished.
    ``scan`` : Out(stream of range(L))
        Asks for the layer's words.
    ``i`` : In(stream of :func:`.scan.position_layout`)
        Where they lie.
    ``words`` : In(stream of 32), ``drawn`` : In(32)
        Random words, and the one drawn last: while ``z`` is offered by one, ``p`` is still held by the other.
    ``write`` : Out(WriteSignature)
        A word that was taken, in the same cycle.
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

    def _ask(self, m: Module) -> None:
        """Asks for the words of a layer once."""
        running = Signal()
        m.d.comb += [self.scan.payload.eq(self.start.payload), self.scan.valid.eq(self.start.valid & ~running)]
        with m.If(self.scan.valid & self.scan.ready):
            m.d.sync += running.eq(1)
        with m.If(self.start.ready):
            m.d.sync += running.eq(0)

    def _write(self, m: Module, take: Value) -> Value:
        """Writes the word at ``i`` where ``take``. Returns which of its lanes are synapses."""
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


class Initialise(_Initialise):
    """For each 32-synapse word in scan order draws ``p``, and, ternary, ``z``: a weight is 0 where ``z = 0``, else +1
    or −1 as ``p`` is 1 or 0. Counters and pads are 0.

    Latency 0. A cycle for each N-synapse word and, ternary, one more for each 32-synapse word. With N > 32 it is the
    32-synapse words that take a cycle, ternary two. A layer is finished with its last word.
    """

    def elaborate(self, platform) -> Module:
        m = Module()
        chip = self.chip
        lanes, bits = chip.array_synapses, chip.weight_bits
        parts = max(1, lanes // WORD)
        position = self.i.payload

        self._ask(m)

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


class InitialiseLbe(_Initialise):
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
        self._ask(m)

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
