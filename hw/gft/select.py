"""Select: exactly the ``k`` synapses of a layer with the largest counters (arXiv 2410.09734, eq 11)."""

from __future__ import annotations

from typing import NamedTuple

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from popflip.golden.config import Precision
from popflip.hw.common.scan import most_synapses, position_layout, word_layout
from popflip.hw.config import ChipConfig
from popflip.hw.layouts import counter_word, weight_word
from popflip.hw.lib.arithmetic import compare_magnitude
from popflip.hw.lib.popcount import Popcount, add_tree
from popflip.hw.lib.stream import delayed


def selected_layout(chip: ChipConfig) -> data.StructLayout:
    """A word and which of its synapses are selected: ``position``, ``weights``, ``counters``, ``selected``."""
    return data.StructLayout(
        {
            "position": position_layout(chip),
            "weights": weight_word(chip),
            "counters": counter_word(chip),
            "selected": chip.array_synapses,
        }
    )


def candidate(chip: ChipConfig, weight: Value, counter: Value) -> Value:
    """Whether the weight can move in the direction of its counter: ``sgn(m) ≠ w``. The counter must not be 0."""
    negative = counter[-1]
    if chip.precision == Precision.BINARY:
        return weight[0] == negative
    return ~weight[0] | (weight[1] != negative)


def digit_bits(chip: ChipConfig) -> int:
    """Bits of the threshold that a pass finds, by default. Each level tried takes a comparator a lane."""
    return 2 if chip.pipelined else 1


def passes(chip: ChipConfig, digit: int) -> int:
    """Counting passes that find a threshold, ``digit`` bits at a time."""
    return -(-chip.mmax.bit_length() // digit)


class _Compared(NamedTuple):
    """A word and its candidates. ``above`` : those above each level tried; ``above[0]`` grows by the selected ties.
    ``tied`` : those at the first level. ``ready`` : the word is taken.
    """

    word: data.View
    valid: Signal
    ready: Signal
    above: list[Signal]
    tied: Signal


class Select(wiring.Component):
    """Finds the threshold of a layer, then marks the selected synapses of its words (golden ``select.select``).

    Candidates have ``s ≠ 0`` and ``s ≠ w``, with ``s = sgn(m)``. ``level`` is the largest ``u ≥ 1`` such that more than
    ``k`` candidates have ``|m| ≥ u``, or 0; the threshold θ is ``level + 1``. Select takes all candidates with
    ``|m| > level``. Ties, with ``|m| = level ≥ 1``, follow in scan order until ``k`` are selected.

    Select finds ``level`` from its highest bits down. A pass over the layer counts the candidates above each of the
    ``2**digit − 1`` levels that differ in the next ``digit`` bits.

    The last pass marks ties one a cycle, lowest lane first. A layer has at most ``k``, so they cost little, and no sum
    over lanes stands between one word and the next.

    Parameters
    ----------
    digit : int
        Bits of the threshold that a pass finds; :func:`digit_bits` by default.

    With Pc > 1 the counting passes take words in blocks of ``Pc`` rows, in any order. Only the last pass needs scan
    order.

    Members
    -------
    ``start`` : In(stream of ``layer``, ``k``)
        Taken with the last word of ``o``.
    ``scan`` : Out(stream of range(L))
        Requests all words of the layer, once a pass; with Pc > 1 only in the last one.
    ``i`` : In(stream of :func:`.scan.word_layout`)
        A counter that is 0 is never selected, so pads need no care.
    ``o`` : Out(stream of :func:`selected_layout`)
        The layer's words in scan order, in the last pass.
    ``blocks`` : Out(stream of range(L)), ``block``, ``block_last`` : In(1), ``block_weights``, ``block_counters`` : In
        Only if Pc > 1. Requests all words of the layer in blocks, once in each counting pass, and takes them as they
        come.
    ``counting`` : Out(1)
        A counting pass is running; it takes every word in the cycle in which it is offered.
    ``found`` : Out(1), ``level`` : Out
        While ``found``, the last pass is running and ``level`` is θ − 1.

    Takes :attr:`passes` counting passes, then the last one: a word a cycle, and a cycle more for each tie selected.
    Latency :attr:`latency` cycles from ``i`` to ``o``. Pipelined chips compare a word in one cycle and mark it from the
    next one on. A register says whether the word has ties left, so no path leads through all lanes of two words.
    """

    def __init__(self, chip: ChipConfig, *, digit: int | None = None):
        self.chip = chip
        self.digit = digit_bits(chip) if digit is None else digit
        self.passes = passes(chip, self.digit)
        self.latency = 1 + chip.pipelined
        super().__init__(
            {
                "start": In(
                    stream.Signature(
                        data.StructLayout({"layer": range(chip.depth), "k": range(most_synapses(chip) + 1)})
                    )
                ),
                "scan": Out(stream.Signature(range(chip.depth))),
                "i": In(stream.Signature(word_layout(chip))),
                "o": Out(stream.Signature(selected_layout(chip))),
                "counting": Out(1),
                "found": Out(1),
                "level": Out(self.passes * self.digit),
                **(
                    {
                        "blocks": Out(stream.Signature(range(chip.depth))),
                        "block": In(1),
                        "block_last": In(1),
                        "block_weights": In(data.ArrayLayout(weight_word(chip), chip.learn_rows)),
                        "block_counters": In(data.ArrayLayout(counter_word(chip), chip.learn_rows)),
                    }
                    if chip.learn_rows > 1
                    else {}
                ),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        self.turn = Signal(range(self.passes))  # the digit being found
        self.ties = Signal(range(most_synapses(self.chip) + 1))  # still to be selected at the level
        tries = self._levels(m)
        compared = self._compare_words(m, tries)
        left, counted = self._count(m, compared, tries)
        last = self._mark(m, compared)
        self._sequence(m, left, counted, last)
        return m

    @property
    def _digits(self) -> data.View:
        """``level`` by its digits, the lowest one first."""
        return data.View(data.ArrayLayout(self.digit, self.passes), self.level)

    def _levels(self, m: Module) -> list[Signal]:
        """The levels tried in a pass: ``level`` with each value of the digit but the largest."""
        behind = "sync" if self.chip.pipelined else "comb"  # a register is early enough for the first word
        tries = []
        for index in range(2**self.digit - 1):
            tried = Signal.like(self.level, name=f"tried{index}")
            digits = enumerate(self._digits)
            m.d[behind] += tried.eq(Cat(digit | Mux(self.turn == place, index, 0) for place, digit in digits))
            tries.append(tried)
        return tries

    def _compare(self, weights: data.View, counters: data.View, level: Value) -> tuple[Value, Value]:
        """The candidates of a word above a level, and those at it."""
        lanes = range(self.chip.array_synapses)
        over, at = zip(*(compare_magnitude(counters[lane], level) for lane in lanes), strict=True)
        candidates = Cat(candidate(self.chip, weights[lane], counters[lane]) for lane in lanes)
        return Cat(over) & candidates, Cat(at) & candidates

    def _compare_words(self, m: Module, tries: list[Signal]) -> _Compared:
        """Take a word and compare it. On a compact chip the memory holds the word while it is marked, so a marked word
        takes a cycle more."""
        chip, lanes = self.chip, self.chip.array_synapses
        word = Signal(word_layout(chip))
        word_valid, word_ready, word_load = Signal(), Signal(), Signal()
        above = [Signal(lanes, name=f"above{index}") for index in range(len(tries))]
        tied = Signal(lanes)
        m.d.comb += [
            self.i.ready.eq(word_ready if chip.compact else ~word_valid | word_ready),
            word_load.eq(self.i.valid & (self.counting | ~word_valid if chip.compact else self.i.ready)),
        ]
        with m.If(word_load):
            m.d.sync += [word.eq(self.i.payload), word_valid.eq(1)]
        with m.Elif(word_ready):
            m.d.sync += word_valid.eq(0)
        # With blocks, only the last pass compares words here; `_count` compares those of the counting passes.
        for index, level in enumerate(tries if chip.learn_rows == 1 else [self.level]):
            over, at = self._compare(self.i.payload.weights, self.i.payload.counters, level)
            with m.If(word_load):
                m.d.sync += above[index].eq(over)
                if index == 0:
                    m.d.sync += tied.eq(at)
        return _Compared(word, word_valid, word_ready, above, tied)

    def _count(self, m: Module, compared: _Compared, tries: list[Signal]) -> tuple[list[Signal], Value]:
        """Counting passes: ``k`` less the number of candidates above each level tried.

        Returns these numbers, negative if more than ``k`` are above, and whether this is the last cycle of a pass.
        """
        lanes, blocks = self.chip.array_synapses, self.chip.learn_rows
        counts_in = m.d.comb if blocks == 1 else m.d.sync
        if blocks > 1:
            block_weights = delayed(m, self.block_weights, 1)
            block_counters = delayed(m, self.block_counters, 1)
            m.d.comb += self.blocks.payload.eq(self.start.payload.layer)
        left = [Signal(signed(len(self.start.payload.k) + 1), name=f"left{index}") for index in range(len(tries))]
        counts = []
        for index, level in enumerate(tries):
            parts = []
            for row in range(blocks):
                m.submodules[f"popcount{index}_{row}"] = popcount = Popcount(lanes)
                parts.append(popcount.o)
                if blocks == 1:
                    m.d.comb += popcount.i.eq(compared.above[index])
                else:
                    over, _ = self._compare(block_weights[row], block_counters[row], level)
                    m.d.sync += popcount.i.eq(over)
            count = Signal(range(blocks * lanes + 1), name=f"count{index}")
            counts_in += count.eq(add_tree(parts))
            counts.append(count)
        if blocks == 1:
            counted, counted_last = compared.valid & self.counting, compared.word.position.last
            latency = popcount.latency
        else:
            counted, counted_last = self.block, self.block_last
            latency = 1 + 1 + popcount.latency + 1
        counted, counted_last = delayed(m, counted, latency), delayed(m, counted_last, latency)
        with m.If(counted):
            m.d.sync += [value.eq(value - count) for value, count in zip(left, counts, strict=True)]
        return left, counted & counted_last

    def _mark(self, m: Module, compared: _Compared) -> Value:
        """The last pass: ties become selected, one a cycle, until the word has no more or ``k`` are selected.

        Returns whether the word at ``o`` is the layer's last one.
        """
        chip, ties = self.chip, self.ties
        taking = Signal()
        spent = Signal()  # no more ties are to be selected; settled before the first word comes
        m.d.sync += spent.eq(ties == taking)
        if chip.pipelined:
            word, ready, selected, tied, left_of_word, marking = self._register_compared(m, compared)
        else:
            word, ready, selected, tied = compared.word, compared.ready, compared.above[0], compared.tied
            left_of_word, marking = tied.any(), self.found & compared.valid
        resolved = ~left_of_word | spent
        rest = tied & (tied - 1)[: chip.array_synapses]
        m.d.comb += taking.eq(marking & ~resolved)
        with m.If(taking):
            m.d.sync += [tied.eq(rest), selected.eq(selected | (tied ^ rest)), ties.eq(ties - 1)]
            if chip.pipelined:
                m.d.sync += left_of_word.eq(rest.any())
        held = self.i.payload if chip.compact else word
        m.d.comb += [
            self.o.payload.position.eq(held.position),
            self.o.payload.weights.eq(held.weights),
            self.o.payload.counters.eq(held.counters),
            self.o.payload.selected.eq(selected),
            self.o.valid.eq(marking & resolved),
            ready.eq((0 if chip.pipelined else self.counting) | (self.o.valid & self.o.ready)),
            self.scan.payload.eq(self.start.payload.layer),
        ]
        return word.position.last

    def _register_compared(self, m: Module, compared: _Compared) -> tuple:
        """Pipelined: a compared word moves on to be marked, unless it was only counted."""
        word, selected, tied = (
            Signal.like(value, name="marked") for value in (compared.word, compared.above[0], compared.tied)
        )
        marking, word_ready, left_of_word = Signal(), Signal(), Signal()
        m.d.comb += compared.ready.eq(~marking | word_ready)
        with m.If(compared.ready):
            m.d.sync += [
                marking.eq(compared.valid & ~self.counting),
                word.eq(compared.word),
                selected.eq(compared.above[0]),
                tied.eq(compared.tied),
                left_of_word.eq(compared.tied.any()),
            ]
        return word, word_ready, selected, tied, left_of_word, marking

    def _sequence(self, m: Module, left: list[Signal], counted: Value, last: Value) -> None:
        """A counting pass for each digit, then the pass that marks."""
        k, digits, turn = self.start.payload.k, self._digits, self.turn
        with m.FSM():
            with m.State("IDLE"):
                # All bits below the digit being found are 1: above u − 1 is at least u.
                m.d.sync += [
                    self.level.eq(~0),
                    digits[self.passes - 1].eq(0),
                    turn.eq(self.passes - 1),
                    self.ties.eq(k),
                ]
                with m.If(self.start.valid):
                    m.next = "PASS"
            with m.State("PASS"):
                request = self.scan if self.chip.learn_rows == 1 else self.blocks
                m.d.comb += request.valid.eq(1)
                m.d.sync += [value.eq(k) for value in left]
                with m.If(request.ready):
                    m.next = "COUNT"
            with m.State("COUNT"):
                m.d.comb += self.counting.eq(1)
                with m.If(counted):
                    m.next = "DIGIT"
            with m.State("DIGIT"):
                m.next = "PASS"
                self._find_digit(m, left)
            with m.State("MARK"):
                m.d.comb += self.scan.valid.eq(1)
                with m.If(self.level == 0):
                    m.d.sync += self.ties.eq(0)
                with m.If(self.scan.ready):
                    m.next = "MARKED"
            with m.State("MARKED"):
                m.d.comb += self.found.eq(1)
                with m.If(self.o.valid & self.o.ready & last):
                    m.d.comb += self.start.ready.eq(1)
                    m.next = "IDLE"

    def _find_digit(self, m: Module, left: list[Signal]) -> None:
        """The digit is the number of levels with more than ``k`` candidates above them; marking follows the lowest."""
        digits, turn = self._digits, self.turn
        more = Cat(value[-1] for value in left)
        for index in reversed(range(len(left))):
            with m.If(~more[index]):
                m.d.sync += self.ties.eq(left[index])
        m.d.sync += turn.eq(turn - 1)
        with m.Switch(turn):
            for place in range(self.passes):
                with m.Case(place):
                    m.d.sync += digits[place].eq(sum(more))
                    if place:
                        m.d.sync += digits[place - 1].eq(0)
                    else:
                        m.next = "MARK"
