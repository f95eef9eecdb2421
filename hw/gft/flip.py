"""Flip: words go back to memory as learning changes them, and what flipped in them is recorded.

GFT: selected synapses move by their counter's sign, at random; all other counters decay (arXiv 2410.09734, §4). LBE: a
winner's counters move, and its weights are their signs (:mod:`.reinforce`).
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from popflip.golden.config import WORD, Precision, Rule
from popflip.hw.common.scan import WriteSignature, word_layout
from popflip.hw.common.signature import record_layout
from popflip.hw.config import ChipConfig
from popflip.hw.gft.select import selected_layout
from popflip.hw.lbe.reinforce import Reinforce, lesson_layout
from popflip.hw.lib.lookup import of_layer, times


def moved(chip: ChipConfig, weight: Value, counter: Value) -> Value:
    """Weight of a candidate after its flip: ``sgn(m)`` (binary: the other value) or ``w + sgn(m)`` (ternary)."""
    if chip.precision == Precision.BINARY:
        return ~weight
    return Cat(~weight[0], ~weight[0] & counter[-1])


def decayed(counter: Value, shift: Value) -> Value:
    """``m − (m >> shift)``, the shift rounding down; 0 for 0. ``shift`` is less than the counter's bits."""
    return counter - (counter >> shift)


class Flip(wiring.Component):
    """One pass over a layer's words (golden ``flip.flip``), or over a winner's (golden ``reinforce.reinforce``).

    GFT: selected and ``r = 1`` in the random mask: ``w ← sgn(m)`` (binary) or ``w ← w + sgn(m)`` (ternary), ``m ← 0``.
    Else ``m ← m − (m >> shift)``.

    Members
    -------
    ``start`` : In(stream of range(L), LBE: of :func:`.reinforce.lesson_layout`)
        A layer, or a row; taken when it is finished: all words written, all records taken.
    ``shift`` : In(range(counter_bits + 1))
        GFT. Stable while running. 0: all of a counter is forgotten.
    ``i`` : In(stream of :func:`.select.selected_layout`, LBE: of :func:`.scan.word_layout`)
        The words, in scan order.
    ``mask_start`` : Out(stream of range(L)), ``mask`` : In(stream of max(N, 32))
        Asks for their random masks (:class:`.mask.Mask`), and takes them.
    ``write`` : Out(WriteSignature)
        A word that was taken, :attr:`latency` cycles later. Counters are 0 in all others (GFT, unless the chip is fast:
        while nothing is started).
    ``records`` : Out(stream of :func:`.signature.record_layout`)
        Each 32-synapse word in which something flipped. No word is taken before the records of the one before are.

    A word a cycle, as fast as masks come. In a fast chip by GFT what is written comes out of a register, since it goes
    to all memories.
    """

    def __init__(self, chip: ChipConfig):
        self.chip = chip
        self.latency = int(chip.pipelined and chip.rule == Rule.GFT)
        self._written = "sync" if self.latency else "comb"
        super().__init__(
            {
                **(
                    {
                        "start": In(stream.Signature(range(chip.depth))),
                        "shift": In(range(chip.counter_bits + 1)),
                        "i": In(stream.Signature(selected_layout(chip))),
                    }
                    if chip.rule == Rule.GFT
                    else {
                        "start": In(stream.Signature(lesson_layout(chip))),
                        "i": In(stream.Signature(word_layout(chip))),
                    }
                ),
                "mask_start": Out(stream.Signature(range(chip.depth))),
                "mask": In(stream.Signature(max(chip.array_synapses, WORD))),
                "write": Out(WriteSignature(chip)),
                "records": Out(stream.Signature(record_layout(chip))),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        chip = self.chip
        lanes = chip.array_synapses
        position = self.i.payload.position
        gft = chip.rule == Rule.GFT
        layer = self.start.payload if gft else self.start.payload.layer

        pending = Signal()  # records are
        take = Signal()
        m.d.comb += [
            take.eq(self.i.valid & self.mask.valid & ~pending),
            self.i.ready.eq(self.mask.valid & ~pending),
            self.mask.ready.eq(self.i.valid & ~pending & position.last_of_mask),
            self.mask_start.payload.eq(layer),
        ]

        flipped = Signal(lanes)
        mask = self.mask.payload.word_select(position.piece, lanes)
        if gft:
            self._select_and_decay(m, flipped, mask, take)
        else:
            m.submodules.reinforce = reinforce = Reinforce(chip)
            ends = of_layer(layer, [chip.real_lanes(index, words - 1) for index, words in enumerate(chip.words)])
            m.d.comb += [
                reinforce.counters.eq(self.i.payload.counters),
                reinforce.inputs.eq(self.i.payload.inputs),
                reinforce.exists.eq(Mux(position.last_of_row, ends, (1 << lanes) - 1)),
                reinforce.desired.eq(self.start.payload.winner.desired),
                reinforce.mask.eq(mask),
                flipped.eq(reinforce.flipped),
                self.write.weights.eq(reinforce.weights),
            ]
            with m.If(take):
                m.d.comb += self.write.counters.eq(reinforce.o)
        m.d[self._written] += [
            self.write.write.eq(take),
            self.write.weight_address.eq(position.weight_address),
            self.write.weight_bank.eq(position.weight_bank),
            self.write.counter_address.eq(position.counter_address),
            self.write.counter_bank.eq(position.counter_bank),
        ]

        # Records
        first_word = of_layer(layer, chip.word_base)
        if not gft:
            row = self.start.payload.winner.row
            first_word += of_layer(layer, [times(row, words) for words in chip.mask_words])
        index = Signal.like(self.records.payload.index)
        record = Signal(max(lanes, WORD))
        m.d.comb += [self.records.payload.index.eq(index), self.records.payload.mask.eq(record)]
        if lanes < WORD:
            flips_before = Signal()  # in this 32-synapse word
            flips = flipped.any() | flips_before
            m.d.comb += self.records.valid.eq(pending)
            with m.If(take):
                with m.If(position.piece == 0):
                    m.d.sync += record.eq(0)
                m.d.sync += [
                    record.word_select(position.piece, lanes).eq(flipped),
                    flips_before.eq(flips & ~position.last_of_mask),
                ]
                with m.If(position.last_of_mask):
                    m.d.sync += [pending.eq(flips), index.eq(index + ~flips)]
            with m.If(self.records.valid & self.records.ready):
                m.d.sync += [pending.eq(0), index.eq(index + 1)]
        else:
            # A word of several records is walked through, those without flips too.
            parts = lanes // WORD
            last_parts = of_layer(layer, [(words - 1) % parts for words in chip.mask_words])
            parts_left = Signal(range(parts))
            m.d.comb += self.records.valid.eq(pending & self.records.payload.mask.any())
            with m.If(take):
                more_parts = Mux(position.last_of_row, last_parts, parts - 1)
                m.d.sync += [record.eq(flipped), pending.eq(flipped.any()), parts_left.eq(more_parts)]
                with m.If(~flipped.any()):
                    m.d.sync += index.eq(index + more_parts + 1)
            with m.If(pending & (~self.records.valid | self.records.ready)):
                m.d.sync += [
                    record.eq(record >> WORD),
                    index.eq(index + 1),
                    parts_left.eq(parts_left - 1),
                    pending.eq(parts_left != 0),
                ]

        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.mask_start.valid.eq(self.start.valid)
                m.d.sync += index.eq(first_word)
                with m.If(self.mask_start.valid & self.mask_start.ready):
                    m.next = "WORDS"
            with m.State("WORDS"), m.If(take & position.last):
                m.next = "RECORDS"
            with m.State("RECORDS"), m.If(~pending):
                m.d.comb += self.start.ready.eq(1)
                m.next = "IDLE"
        return m

    def _select_and_decay(self, m: Module, flipped: Value, mask: Value, take: Value) -> None:
        """GFT: what is written, and which lanes flip."""
        chip, lanes, word = self.chip, self.chip.array_synapses, self.i.payload
        shift = Signal(range(chip.counter_bits))
        cleared = Signal(lanes)
        written = take if self.latency else self.start.valid
        m.d[self._written] += shift.eq(Mux(self.shift == chip.counter_bits, chip.counter_bits - 1, self.shift))
        m.d.comb += [
            flipped.eq(word.selected & mask),
            cleared.eq(flipped | ~written.replicate(lanes)),
        ]
        weights, counters = [], []
        for lane in range(lanes):
            weight, counter = word.weights[lane], word.counters[lane]
            weights.append(Mux(flipped[lane], moved(chip, weight, counter), weight))
            counters.append(decayed(counter, shift)[: len(counter)] & ~cleared[lane].replicate(len(counter)))
        m.d[self._written] += [
            self.write.weights.as_value().eq(Cat(weights)),
            self.write.counters.as_value().eq(Cat(counters)),
        ]
