"""Select: exactly the ``k`` synapses of a layer with the largest counters (arXiv 2410.09734, eq 11)."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from popflip.golden.config import Precision

from .config import ChipConfig
from .popcount import Popcount
from .scan import most_synapses, position_layout, word_layout
from .weights import counter_word, weight_word


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
    """Whether the weight can still move where a counter that is not 0 asks it to: ``sgn(m) ≠ w``."""
    negative = counter[-1]
    if chip.precision == Precision.BINARY:
        return weight[0] == negative
    return ~weight[0] | (weight[1] != negative)


def compare(counter: Value, level: Value) -> tuple[Value, Value]:
    """``|m| > level`` and ``|m| = level``: carry and sum of ``|m| − 1 − level``, without forming ``|m|``.

    With ``x`` the bits of ``m``, inverted if it is negative, ``|m| = x + (m < 0)``; a lowest bit of ``m < 0`` on both
    sides carries that one in, so that all is one adder.
    """
    negative = counter[-1]
    x = counter ^ negative.replicate(len(counter))
    total = Cat(negative, x[: len(level)]) + Cat(negative, ~level)
    return total[-1], total[1:-1].all()


class Select(wiring.Component):
    """Finds the threshold of a layer, then passes its words on, marked (golden ``select.select``).

    Candidates have ``s ≠ 0`` and ``s ≠ w``, with ``s = sgn(m)``. ``level`` is the largest ``u ≥ 1`` such that more than
    ``k`` candidates have ``|m| ≥ u``, or 0; the threshold θ is ``level + 1``. Selected are the candidates above it, and
    the first of those at it, in scan order, that make it ``k``. ``level`` comes from its highest bits down: a pass over
    the layer counts the candidates above each of the ``2**digit − 1`` levels that differ in the next ``digit`` bits.

    Ties are marked one a cycle, lowest lane first. There are at most ``k`` in a layer, so they cost little, and no sum
    over lanes stands between one word and the next.

    Parameters
    ----------
    digit : int
        Bits of the threshold found in a pass; each level tried takes a comparator a lane. By default 1 with N ≤ 8,
        else 2.

    Members
    -------
    ``start`` : In(stream of ``layer``, ``k``)
        Taken when it is finished, with the last word of ``o``.
    ``scan`` : Out(stream of range(L))
        Asks for all words of the layer, once a pass.
    ``i`` : In(stream of :func:`.scan.word_layout`)
        A counter that is 0 is never selected, so pads need no care.
    ``o`` : Out(stream of :func:`selected_layout`)
        The layer's words in scan order, in the last pass.
    ``counting`` : Out(1)
        A pass is running in which every word is taken at once.
    ``found`` : Out(1), ``level`` : Out
        While ``found``, the last pass is running and ``level`` is θ − 1.

    :attr:`passes` passes, then one more. A word a cycle, but for ties; latency 1 cycle from ``i`` to ``o``.
    """

    def __init__(self, chip: ChipConfig, *, digit: int | None = None):
        self.chip = chip
        self.digit = (1 if chip.array_synapses <= 8 else 2) if digit is None else digit
        self.passes = -(-chip.mmax.bit_length() // self.digit)
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
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        chip = self.chip
        lanes = chip.array_synapses
        levels = 2**self.digit - 1
        most = most_synapses(chip)
        k = self.start.payload.k

        digits = data.View(data.ArrayLayout(self.digit, self.passes), self.level)
        turn = Signal(range(self.passes))  # the digit being found
        ties = Signal(range(most + 1))  # still to be selected at the level

        # One word, compared. ``above`` is what lies over each level tried, and grows with the ties that are taken.
        # On a compact chip memory holds the word meanwhile, so that a word that is marked takes a cycle more.
        word = Signal(word_layout(chip))
        word_valid, word_ready, word_load = Signal(), Signal(), Signal()
        above = [Signal(lanes, name=f"above{index}") for index in range(levels)]
        tied = Signal(lanes)
        m.d.comb += [
            self.i.ready.eq(word_ready if chip.compact else ~word_valid | word_ready),
            word_load.eq(self.i.valid & (self.counting | ~word_valid if chip.compact else self.i.ready)),
        ]
        with m.If(word_load):
            m.d.sync += [word.eq(self.i.payload), word_valid.eq(1)]
        with m.Elif(word_ready):
            m.d.sync += word_valid.eq(0)
        weights, counters = self.i.payload.weights, self.i.payload.counters
        candidates = Cat(candidate(chip, weights[lane], counters[lane]) for lane in range(lanes))
        for index in range(levels):
            tried = Signal.like(self.level, name=f"tried{index}")
            m.d.comb += tried.eq(Cat(digit | Mux(turn == place, index, 0) for place, digit in enumerate(digits)))
            over, at = zip(*(compare(counters[lane], tried) for lane in range(lanes)), strict=True)
            with m.If(word_load):
                m.d.sync += above[index].eq(Cat(over) & candidates)
                if index == 0:
                    m.d.sync += tied.eq(Cat(at) & candidates)

        # Counting passes: how many of the k are left after those above each level; negative if there are more.
        left = [Signal(signed(len(k) + 1), name=f"left{index}") for index in range(levels)]
        more = Cat(value[-1] for value in left)
        counts = []
        for index in range(levels):
            m.submodules[f"popcount{index}"] = popcount = Popcount(lanes)
            m.d.comb += popcount.i.eq(above[index])
            counts.append(popcount.o)
        counted, counted_last = word_valid & self.counting, word.position.last
        for stage in range(popcount.latency):
            arrived, arrived_last = Signal(name=f"counted{stage}"), Signal(name=f"last{stage}")
            m.d.sync += [arrived.eq(counted), arrived_last.eq(counted_last)]
            counted, counted_last = arrived, arrived_last
        with m.If(counted):
            m.d.sync += [value.eq(value - count) for value, count in zip(left, counts, strict=True)]

        # The last pass: ties join the selected one a cycle, until none are left of the word or of the number wanted.
        taking = Signal()
        spent = Signal()  # none are left of it; ready by the time the first word comes
        m.d.sync += spent.eq(ties == taking)
        resolved = ~tied.any() | spent
        rest = tied & (tied - 1)[:lanes]
        m.d.comb += taking.eq(self.found & word_valid & ~resolved)
        with m.If(taking):
            m.d.sync += [tied.eq(rest), above[0].eq(above[0] | (tied ^ rest)), ties.eq(ties - 1)]
        held = self.i.payload if chip.compact else word
        m.d.comb += [
            self.o.payload.position.eq(held.position),
            self.o.payload.weights.eq(held.weights),
            self.o.payload.counters.eq(held.counters),
            self.o.payload.selected.eq(above[0]),
            self.o.valid.eq(self.found & word_valid & resolved),
            word_ready.eq(self.counting | (self.o.valid & self.o.ready)),
            self.scan.payload.eq(self.start.payload.layer),
        ]

        with m.FSM():
            with m.State("IDLE"):
                # All bits below the digit being found are 1: above u − 1 is at least u.
                m.d.sync += [self.level.eq(~0), digits[self.passes - 1].eq(0), turn.eq(self.passes - 1), ties.eq(k)]
                with m.If(self.start.valid):
                    m.next = "PASS"
            with m.State("PASS"):
                m.d.comb += self.scan.valid.eq(1)
                m.d.sync += [value.eq(k) for value in left]
                with m.If(self.scan.ready):
                    m.next = "COUNT"
            with m.State("COUNT"):
                m.d.comb += self.counting.eq(1)
                with m.If(counted & counted_last):
                    m.next = "DIGIT"
            with m.State("DIGIT"):
                for index in reversed(range(levels)):
                    with m.If(~more[index]):
                        m.d.sync += ties.eq(left[index])
                m.d.sync += turn.eq(turn - 1)
                m.next = "PASS"
                with m.Switch(turn):
                    for place in range(self.passes):
                        with m.Case(place):
                            m.d.sync += digits[place].eq(sum(more))
                            if place:
                                m.d.sync += digits[place - 1].eq(0)
                            else:
                                m.next = "MARK"
            with m.State("MARK"):
                m.d.comb += self.scan.valid.eq(1)
                with m.If(self.level == 0):
                    m.d.sync += ties.eq(0)
                with m.If(self.scan.ready):
                    m.next = "MARKED"
            with m.State("MARKED"):
                m.d.comb += self.found.eq(1)
                with m.If(self.o.valid & self.o.ready & word.position.last):
                    m.d.comb += self.start.ready.eq(1)
                    m.next = "IDLE"
        return m
