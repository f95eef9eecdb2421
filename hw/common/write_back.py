"""Write back: changes words as a rule says, writes them to memory, and records which weights flipped."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, ShapeLike, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from popflip.golden.config import WORD
from popflip.hw.common.scan import WriteSignature
from popflip.hw.common.signature import record_layout
from popflip.hw.config import ChipConfig
from popflip.hw.lib.lookup import of_layer


class WriteBack(wiring.Component):
    """One pass over words in scan order. A rule's subclass defines how a pass starts and how a word changes.

    Parameters
    ----------
    start, word : ShapeLike
        Payloads of ``start`` and ``i``; ``word`` has a member ``position`` (:func:`.scan.position_layout`).
    latency : int
        0 or 1 cycles from a word to its write. With 1, ``write`` comes out of a register.
    **members
        Further members.

    Members
    -------
    ``start`` : In(stream of ``start``)
        Taken when the pass is finished: all words are written and all records taken.
    ``i`` : In(stream of ``word``)
    ``mask_start`` : Out(stream of range(L)), ``mask`` : In(stream of max(N, 32))
        Requests the random masks of a pass (:class:`.mask.Mask`), and takes them.
    ``write`` : Out(WriteSignature)
        Each word of ``i``, :attr:`latency` cycles after it was taken.
    ``records`` : Out(stream of :func:`.signature.record_layout`)
        A record for each 32-synapse word with a flip. The records of a word leave before the next word is taken.

    Throughput: a word a cycle, if masks come as fast.
    """

    def __init__(self, chip: ChipConfig, start: ShapeLike, word: ShapeLike, latency: int = 0, **members):
        self.chip = chip
        self.latency = latency
        self._written = "sync" if latency else "comb"
        super().__init__(
            {
                "start": In(stream.Signature(start)),
                **members,
                "i": In(stream.Signature(word)),
                "mask_start": Out(stream.Signature(range(chip.depth))),
                "mask": In(stream.Signature(max(chip.array_synapses, WORD))),
                "write": Out(WriteSignature(chip)),
                "records": Out(stream.Signature(record_layout(chip))),
            }
        )

    def _layer(self) -> Value:
        """The layer that the pass belongs to."""
        raise NotImplementedError

    def _first_word(self) -> Value:
        """Signature index of the pass's first 32-synapse word."""
        return of_layer(self._layer(), self.chip.word_base)

    def _change(self, m: Module, flipped: Signal, mask: Value, take: Value) -> None:
        """Drive ``write.weights``, ``write.counters`` and ``flipped``, the lanes whose weight changes, from the word at
        ``i`` and its random ``mask``; ``take`` is high in the cycle in which the word is taken."""
        raise NotImplementedError

    def elaborate(self, platform) -> Module:
        m = Module()
        chip = self.chip
        lanes = chip.array_synapses
        position = self.i.payload.position

        pending = Signal()  # a word's records have yet to leave
        take = Signal()
        m.d.comb += [
            take.eq(self.i.valid & self.mask.valid & ~pending),
            self.i.ready.eq(self.mask.valid & ~pending),
            self.mask.ready.eq(self.i.valid & ~pending & position.last_of_mask),
            self.mask_start.payload.eq(self._layer()),
        ]
        flipped = Signal(lanes)
        self._change(m, flipped, self.mask.payload.word_select(position.piece, lanes), take)
        m.d[self._written] += [
            self.write.write.eq(take),
            self.write.weight_address.eq(position.weight_address),
            self.write.weight_bank.eq(position.weight_bank),
            self.write.counter_address.eq(position.counter_address),
            self.write.counter_bank.eq(position.counter_bank),
        ]

        first_word = self._first_word()
        index = Signal.like(self.records.payload.index)
        record = Signal(max(lanes, WORD))
        m.d.comb += [self.records.payload.index.eq(index), self.records.payload.mask.eq(record)]
        if lanes < WORD:
            self._record_pieces(m, flipped, take, pending, index, record)
        else:
            self._record_parts(m, flipped, take, pending, index, record)

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

    def _record_pieces(self, m: Module, flipped: Signal, take: Signal, pending: Signal, index, record: Signal) -> None:
        """N < 32: a record collects the flips of several words."""
        lanes, position = self.chip.array_synapses, self.i.payload.position
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

    def _record_parts(self, m: Module, flipped: Signal, take: Signal, pending: Signal, index, record: Signal) -> None:
        """N ≥ 32: a word has several records, one after another. A 32-synapse word without flips has none."""
        position = self.i.payload.position
        parts = self.chip.array_synapses // WORD
        last_parts = of_layer(self._layer(), [(words - 1) % parts for words in self.chip.mask_words])
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
