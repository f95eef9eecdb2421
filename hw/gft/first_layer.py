"""First layer: the sweep of the first layer on chips with several banks of counters (Pc > 1).

Most rows with an error are in the first layer, and no layer below it needs errors. So each bank of counters has a row
list of its own, and the sweep reads all lists in step::

    (row, δ) of bank 0 ─▶ list 0 ─┐
    (row, δ) of bank 1 ─▶ list 1 ─┤  for each nonzero word: position n−1, …, 1, 0
      …                           └─▶ an update for each bank ─▶ accumulate
"""

from __future__ import annotations

from typing import NamedTuple

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from popflip.hw.config import ChipConfig
from popflip.hw.gft.prefetcher import Prefetcher
from popflip.hw.layouts import bank_row_layout, sample_layout, update_layout
from popflip.hw.lib.stream import delayed
from popflip.hw.memory.signatures import InputReadSignature


class Word(NamedTuple):
    """A nonzero word of the sample. ``last`` : it is the sample's last. ``base`` : address of its counters in each
    bank's row 0."""

    last: Signal
    bits: Signal
    base: Signal


class Sweep(wiring.Component):
    """Updates the first layer from one sample: in each cycle, each bank of counters updates a word of one of its rows.

    Members
    -------
    ``clear`` : In(1)
        Empties the row lists.
    ``push`` : In(Pc), ``rows`` : In(Pc × bank_row_layout)
        Appends a row to a bank's list, in any cycle before ``start``.
    ``start`` : In(1), ``sample`` : In(sample_layout)
        The lists are complete. ``sample`` is stable until ``finished``.
    ``inputs`` : Out(InputReadSignature)
    ``valid`` : Out(Pc), ``updates`` : Out(Pc × update_layout)
        An update for the :class:`.accumulate.Accumulate` of each bank, :attr:`latency` cycles after ``busy``.
    ``busy`` : Out(1), ``finished`` : Out(1)
        ``busy``: the sweep reads a position of the lists. ``finished``: it is the sample's last one, or all lists are
        empty.

    A sample takes (nonzero words) × (length of the longest list) cycles, after 3 cycles from ``start`` to the first
    position.
    """

    def __init__(self, chip: ChipConfig):
        self.chip = chip
        self.latency = 1 + chip.pipelined
        super().__init__(
            {
                "clear": In(1),
                "push": In(chip.learn_rows),
                "rows": In(data.ArrayLayout(bank_row_layout(chip), chip.learn_rows)),
                "start": In(1),
                "sample": In(sample_layout(chip)),
                "inputs": Out(InputReadSignature(chip)),
                "valid": Out(chip.learn_rows),
                "updates": Out(data.ArrayLayout(update_layout(chip), chip.learn_rows)),
                "busy": Out(1),
                "finished": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        chip = self.chip
        capacity = chip.counter_map.bank_rows[0]
        lengths = [Signal(range(capacity + 1), name=f"length{bank}") for bank in range(chip.learn_rows)]
        longest = Signal(range(capacity + 1))
        words = Prefetcher(m, chip.words[0], numbered=False)
        word = self._prefetch(m, words, longest)
        position = self._step(m, words, word.last, lengths, longest)
        self._update(m, words, word, lengths, position)
        return m

    def _prefetch(self, m: Module, words: Prefetcher, longest: Signal) -> Word:
        """Fetch the sample's nonzero words. Returns the word in use, with the address of its first counters."""
        chip = self.chip
        word = Word(
            last=Signal(name="word_last"),
            bits=Signal(chip.array_synapses, name="word_bits"),
            base=Signal(range(chip.counter_map.depth), name="word_base"),
        )
        m.d.comb += [
            self.inputs.en.eq(words.wanted),
            self.inputs.slot.eq(self.sample.slot),
            self.inputs.position.eq(words.next),
        ]
        words.request(words.wanted, words.next == self.sample.words - 1)
        with m.If(words.done):
            m.d.sync += words.valid.eq(0)
        with m.If(words.moves):
            m.d.sync += [
                words.valid.eq(1),
                word.last.eq(words.fetched_last),
                word.bits.eq(self.inputs.data.bits),
                word.base.eq(chip.counter_map.word_address(0, self.inputs.data.index)),
            ]
        with m.If(self.start & (longest != 0)):
            m.d.sync += words.start()
        return word

    def _step(self, m: Module, words: Prefetcher, last_word: Value, lengths: list[Signal], longest: Signal) -> Signal:
        """Go through the lists for each word, from the end of the longest one to position 0. A position past the end of
        a list needs only a comparison with the list's length. Returns the position."""
        position = Signal(range(self.chip.counter_map.bank_rows[0]))
        last_row = position == 0
        m.d.comb += [
            self.busy.eq(words.valid),
            words.done.eq(words.valid & last_row),
            self.finished.eq((words.done & last_word) | (self.start & (longest == 0))),
        ]
        with m.If(self.start | words.done):
            m.d.sync += position.eq(longest - 1)
        with m.Elif(words.valid):
            m.d.sync += position.eq(position - 1)
        with m.If(self.clear):
            m.d.sync += longest.eq(0)
        with m.Elif(Cat(push & (length == longest) for push, length in zip(self.push, lengths, strict=True)).any()):
            m.d.sync += longest.eq(longest + 1)
        return position

    def _update(self, m: Module, words: Prefetcher, word: Word, lengths: list[Signal], position: Signal) -> None:
        """Add the lists, and drive an update for each bank that has a row at the position."""
        chip, stages = self.chip, self.latency - 1
        base, bits = Signal.like(word.base, name="base"), Signal.like(word.bits, name="bits")
        m.d.sync += [base.eq(word.base), bits.eq(word.bits)]
        base, bits = (delayed(m, value, stages) for value in (base, bits))
        for bank, length in enumerate(lengths):
            depth = max(2, chip.counter_map.bank_rows[0])
            m.submodules[f"list{bank}"] = rows = Memory(shape=bank_row_layout(chip), depth=depth, init=[])
            write, read = rows.write_port(), rows.read_port()
            m.d.comb += [
                write.en.eq(self.push[bank]),
                write.addr.eq(length),
                write.data.eq(self.rows[bank]),
                read.en.eq(words.valid),
                read.addr.eq(position),
            ]
            with m.If(self.clear):
                m.d.sync += length.eq(0)
            with m.Elif(self.push[bank]):
                m.d.sync += length.eq(length + 1)
            row = delayed(m, read.data, stages)
            m.d.comb += [
                self.valid[bank].eq(delayed(m, words.valid & (position < length), self.latency)),
                self.updates[bank].address.eq(base + row.row),
                self.updates[bank].delta.eq(row.delta),
                self.updates[bank].lanes.enable.eq(bits),
                self.updates[bank].lanes.positive.eq(bits),
            ]
