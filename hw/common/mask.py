"""Random masks: which of the selected synapses flip (GFT), or which synapses of a row are reinforced (LBE).

Golden: ``mask.bernoulli``.
"""

from __future__ import annotations

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from popflip.golden.config import WORD
from popflip.hw.common.scan import scans_rows
from popflip.hw.config import ChipConfig
from popflip.hw.lib.lookup import of_layer


def draws(chip: ChipConfig) -> int:
    """Most random words drawn in a cycle.

    GFT usually flips at 128/256, which takes one word a mask. LBE's 1/256 takes 8, so LBE draws as many in a cycle as
    keep up with the writes.
    """
    return min(8, max(1, 8 * chip.array_synapses // WORD)) if scans_rows(chip) else 1


class Mask(wiring.Component):
    """Masks whose bits are 1 with probability ``n / 256``. A ``start`` requests those of a layer, or (LBE) of a row, in
    scan order.

    A mask ``r`` starts as 0 and takes one random word ``u`` for each bit of ``n``, from the lowest set bit up to bit 7:
    ``r ← r | u`` if the bit is set, else ``r ← r & u``. ``n = 256`` gives all ones and ``n = 0`` (LBE) all zeros; both
    draw nothing. Each 32-synapse word of a row has its own mask. The component draws no word past the last mask.

    Members
    -------
    ``n`` : In(range(257))
        Probability in 256ths, 1 … 256 (LBE: from 0); stable from a start to its last mask.
    ``start`` : In(stream of range(L))
        A layer; taken when all masks of the previous start are drawn.
    ``words`` : In(stream of 32 · draws), ``more`` : Out(range(draws))
        Random words, and how many are drawn besides the first (:class:`.prng.Prng`).
    ``o`` : Out(stream of max(N, 32))
        Mask of a 32-synapse word, or, with N > 32, of an N-synapse word. Bits of 32-synapse words past the row's
        last one are undefined.

    A mask takes a cycle for every ``draws`` words, or one cycle if it draws none. Its first cycle may be the one in
    which the previous mask is taken: with ``n = 128`` and N ≤ 32, a mask leaves every cycle. Latency 1 cycle more.
    """

    def __init__(self, chip: ChipConfig):
        self.chip = chip
        super().__init__(
            {
                "n": In(range(257)),
                "start": In(stream.Signature(range(chip.depth))),
                "words": In(stream.Signature(WORD * draws(chip))),
                "more": Out(range(draws(chip))),
                "o": Out(stream.Signature(max(chip.array_synapses, WORD))),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        parts, most = max(1, self.chip.array_synapses // WORD), draws(self.chip)
        counts = list(self.chip.mask_words)
        if not scans_rows(self.chip):
            counts = [rows * words for rows, words in zip(self.chip.rows, counts, strict=True)]

        left = Signal(range(max(counts) + 1))  # 32-bit masks not yet complete
        part = Signal(range(parts))
        part_ends = Signal(init=1)  # the part being drawn is the last one of o
        m.d.comb += self.start.ready.eq(left == 0)

        lowest = self._lowest_bit(m)
        begun = Signal()
        next_bit = Signal(range(8))
        bit = Mux(begun, next_bit, lowest)
        everything = self.n[8]
        nothing = self.n == 0 if scans_rows(self.chip) else Const(0)
        drawn = ~(everything | nothing)
        wide, narrow = Signal(), Signal()
        m.d.comb += [
            wide.eq(everything | (begun & self.n.bit_select(bit, 1))),
            narrow.eq(~drawn | (begun & ~self.n.bit_select(bit, 1))),
        ]

        room = (left != 0) & (~self.o.valid | self.o.ready)
        step = Signal()
        complete = Signal()  # this step completes a 32-bit mask
        m.d.comb += [
            self.words.ready.eq(room & drawn),
            step.eq(room & (self.words.valid | ~drawn)),
            complete.eq(step & (~drawn | (bit >= 8 - most))),
            self.more.eq(Mux(bit > 8 - most, 7 - bit, most - 1)),
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        # ``narrow`` and ``wide`` choose u, r | u, r & u or all ones: a table of four inputs a lane.
        r, u = self.o.payload.word_select(part, WORD), self.words.payload[:WORD]
        after = Mux(narrow, wide.replicate(WORD) | (r & u), (wide.replicate(WORD) & r) | u)
        after = self._further_words(m, after & ~nothing.replicate(WORD), bit, drawn)
        with m.If(step):
            m.d.sync += [begun.eq(1), next_bit.eq(bit + most), r.eq(after)]
        with m.If(complete):
            m.d.sync += [
                begun.eq(0),
                left.eq(left - 1),
                self.o.valid.eq(part_ends),
                part.eq(Mux(part_ends, 0, part + 1)),
            ]
        with m.If(self.start.valid & self.start.ready):
            m.d.sync += left.eq(of_layer(self.start.payload, counts))
        if parts > 1:
            self._count_parts(m, part, part_ends, complete)
        else:
            m.d.comb += part_ends.eq(Const(1))
        return m

    def _lowest_bit(self, m: Module) -> Signal:
        """The lowest set bit of ``n``. Pipelined chips register it, a cycle after ``n``."""
        lowest = Signal(range(8))
        for bit in reversed(range(8)):
            with m.If(self.n[bit]):
                m.d["sync" if self.chip.pipelined else "comb"] += lowest.eq(bit)
        return lowest

    def _further_words(self, m: Module, after: Value, bit: Value, drawn: Value) -> Value:
        """Apply the further words of this cycle to the mask, one for each bit of ``n`` after ``bit``, up to bit 7."""
        for index in range(1, draws(self.chip)):
            u = self.words.payload[index * WORD : (index + 1) * WORD]
            before, on, widens = (
                Signal(WORD, name=f"r{index}"),
                Signal(name=f"on{index}"),
                Signal(name=f"widens{index}"),
            )
            m.d.comb += [
                before.eq(after),
                on.eq(drawn & (bit + index <= 7)),
                widens.eq(self.n.bit_select((bit + index)[:3], 1)),
            ]
            after = Mux(on, Mux(widens, before | u, before & u), before)
        return after

    def _count_parts(self, m: Module, part: Signal, part_ends: Signal, complete: Signal) -> None:
        """N > 32: the last word of a row may have fewer parts."""
        mask_words, parts = self.chip.mask_words, self.chip.array_synapses // WORD
        column = Signal(range(max(mask_words)))  # 32-synapse words of the row still to come
        row_words = Signal.like(column)
        m.d.comb += part_ends.eq((part == parts - 1) | (column == 0))
        with m.If(complete):
            m.d.sync += column.eq(Mux(column == 0, row_words, column - 1))
        with m.If(self.start.valid & self.start.ready):
            last_word = of_layer(self.start.payload, [words - 1 for words in mask_words])
            m.d.sync += [column.eq(last_word), row_words.eq(last_word)]
