"""Error: which class was predicted, which rival came closest, and whether the sample triggers an update.

    δ_t = +1, δ_j = −1   where   v_t − v_j ≤ MARGIN,   j = lowest index among the largest v_c, c ≠ t
    (golden: popflip.golden.common.error.output_error)

The unit takes one class a cycle and keeps a running maximum. It registers a value before it compares it, so the loop is
one comparison and one selection, whatever the number of rows.

GFT compares the sums of the last layer. LBE compares, in every layer, the scores of :mod:`.score`.
"""

from __future__ import annotations

from typing import NamedTuple

from amaranth.hdl import Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from popflip.golden.config import Rule
from popflip.hw.config import ChipConfig
from popflip.hw.layouts import sample_layout, verdict_layout
from popflip.hw.lib.stream import RegisteredQueue, Unroll, group_layout

UNDER_WAY = 4  # with a queue of verdicts: most samples from their first class until their verdict has left


def value_shape(chip: ChipConfig):
    """Shape of a class's value: a sum of the last layer, or a score."""
    return signed(chip.score_max.bit_length() + 1)


def values_together(chip: ChipConfig) -> int:
    """Values that arrive in one cycle. GFT: ``P`` sums, or all ``C`` if ``P > C``; serial chips: one. LBE: the
    scores of all classes."""
    if chip.serial:
        return 1
    return min(chip.array_rows, chip.classes) if chip.rule == Rule.GFT else chip.classes


def values_layout(chip: ChipConfig) -> data.StructLayout:
    """A group of values of a sample's classes, lowest class first."""
    return group_layout(value_shape(chip), values_together(chip), sample_layout(chip))


def margin_shape(chip: ChipConfig):
    """Shape of the margin."""
    return signed((2 * chip.score_max + 1).bit_length() + 1)


def queues_verdicts(chip: ChipConfig) -> bool:
    """Whether verdicts wait in a queue. LBE does not need one: its next sample waits for the verdict anyway."""
    return chip.pipelined and chip.rule == Rule.GFT


class _Item(NamedTuple):
    """The value ``v`` of class ``number``, the sample's ``first`` or ``last`` one."""

    v: Signal
    number: Signal
    valid: Signal
    first: Signal
    last: Signal
    sample: data.View


class _Leader(NamedTuple):
    """The values of the true class and of its rival. They are complete in the cycle with ``ended``."""

    true_v: Signal
    rival_v: Signal
    rival: Signal
    ended: Signal
    sample: data.View


class Error(wiring.Component):
    """Finds the rival and compares it with the true class.

    Members
    -------
    ``i`` : In(stream of :func:`values_layout`)
    ``margin`` : In(signed)
        The margin for a verdict that is made in this cycle.
    ``o`` : Out(stream of :func:`popflip.hw.layouts.verdict_layout`)
    ``decides`` : Out(1)
        The unit makes a verdict in this cycle.

    Takes one class a cycle. A verdict leaves at the earliest :attr:`latency` cycles after its last class came. If
    verdicts are queued (:func:`queues_verdicts`), a sample starts only when the queue has room for its verdict, so
    back-pressure never stalls a sample in flight.
    """

    def __init__(self, chip: ChipConfig):
        self.chip = chip
        self.queues = queues_verdicts(chip)
        self.latency = 3 + self.queues
        super().__init__(
            {
                "i": In(stream.Signature(values_layout(chip))),
                "margin": In(margin_shape(chip)),
                "o": Out(stream.Signature(verdict_layout(chip))),
                "decides": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        moves = Signal()  # samples in flight move on
        verdict = stream.Signature(verdict_layout(self.chip)).create() if self.queues else self.o
        item = self._take_value(m, moves)
        leader = self._find_rival(m, moves, item)
        if self.queues:
            m.submodules.queue = queue = RegisteredQueue(verdict_layout(self.chip), UNDER_WAY)
            connect(m, queue.o, flipped(self.o))
            m.d.comb += [moves.eq(1), queue.i.valid.eq(verdict.valid), queue.i.payload.eq(verdict.payload)]
            m.d.sync += verdict.valid.eq(0)
        else:
            m.d.comb += moves.eq(~self.o.valid | self.o.ready | ~leader.ended)
            with m.If(self.o.ready):
                m.d.sync += self.o.valid.eq(0)
        m.d.comb += self.decides.eq(leader.ended & moves)
        with m.If(self.decides):
            self._decide(m, leader, verdict)
        return m

    def _take_value(self, m: Module, moves: Value) -> _Item:
        """One value at a time, registered."""
        chip = self.chip
        m.submodules.unroll = unroll = Unroll(
            value_shape(chip), values_together(chip), sample_layout(chip), ahead=self.queues
        )
        connect(m, flipped(self.i), unroll.i)
        value = unroll.o.payload
        may_go = self._room(m, unroll) if self.queues else Const(1)
        number = Signal(range(chip.classes))  # of the class whose value comes next
        v = Signal(value_shape(chip))
        v_class = Signal(range(chip.classes))
        v_valid = Signal()
        v_first = Signal()
        v_last = Signal()
        v_sample = Signal(sample_layout(chip))
        m.d.comb += unroll.o.ready.eq(moves & may_go)
        with m.If(moves):
            m.d.sync += [
                v.eq(value.item),
                v_class.eq(number),
                v_valid.eq(unroll.o.valid & may_go),
                v_first.eq(value.first),
                v_last.eq(value.last),
                v_sample.eq(value.tag),
            ]
            with m.If(unroll.o.valid & may_go):
                m.d.sync += number.eq(Mux(value.last, 0, number + 1))
        return _Item(v, v_class, v_valid, v_first, v_last, v_sample)

    def _room(self, m: Module, unroll: Unroll) -> Value:
        """Whether the next value may go on. The first value of a sample needs room for its verdict in the queue."""
        begun = Signal(range(UNDER_WAY + 1))
        first = unroll.o.payload.first
        begins, leaves = unroll.o.valid & unroll.o.ready & first, self.o.valid & self.o.ready
        m.d.sync += begun.eq(begun + begins - leaves)
        return ~first | (begun != UNDER_WAY)

    def _find_rival(self, m: Module, moves: Value, item: _Item) -> _Leader:
        """A running maximum over the rivals. The true class has a register of its own."""
        chip = self.chip
        true_v = Signal(value_shape(chip))
        rival_v = Signal(value_shape(chip))
        rival = Signal(range(chip.classes))
        rival_found = Signal()
        ended = Signal()  # all classes of the sample have been compared
        sample = Signal(sample_layout(chip))
        is_true = (item.number == item.sample.label) & ~item.sample.infer
        found = rival_found & ~item.first
        with m.If(moves):
            m.d.sync += [ended.eq(item.valid & item.last), sample.eq(item.sample)]
            with m.If(item.valid):
                m.d.sync += rival_found.eq(found | ~is_true)
                with m.If(is_true):
                    m.d.sync += true_v.eq(item.v)
                with m.Elif(~found | (item.v > rival_v)):
                    m.d.sync += [rival_v.eq(item.v), rival.eq(item.number)]
        return _Leader(true_v, rival_v, rival, ended, sample)

    def _decide(self, m: Module, leader: _Leader, verdict: stream.Interface) -> None:
        """Register the verdict. On equal values, the class with the lower index is the prediction."""
        sample, rival = leader.sample, leader.rival
        difference = leader.true_v - leader.rival_v
        updates = ~sample.infer & (difference <= self.margin)
        m.d.sync += [
            verdict.valid.eq(1),
            verdict.payload.sample.eq(sample),
            verdict.payload.rival.eq(rival),
            verdict.payload.updates.eq(updates),
            verdict.payload.correct.eq(
                ~sample.infer & ((difference > 0) | ((difference == 0) & (sample.label < rival)))
            ),
        ]
