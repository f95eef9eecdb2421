"""Error: which class was predicted, which rival came closest, and whether the sample triggers an update.

    δ_t = +1, δ_j = −1   where   v_t − v_j ≤ MARGIN,   j = lowest index among the largest v_c, c ≠ t
    (golden: popflip.golden.common.error.output_error)

A running maximum over the classes, one a cycle. The value being looked at is registered first, so the loop is one
comparison and one selection, whatever the number of rows.

LBE asks the same of every layer, of how many of its neurons agree with each class (:mod:`.score`) instead of sums.
"""

from __future__ import annotations

from amaranth.hdl import Const, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from popflip.golden.config import Rule
from popflip.hw.config import ChipConfig
from popflip.hw.layouts import sample_layout, verdict_layout
from popflip.hw.lib.stream import RegisteredQueue, Unroll, group_layout

UNDER_WAY = 4  # samples that have begun and whose verdicts have not left, where nothing waits in between


def value_shape(chip: ChipConfig):
    """Shape of what classes are compared by."""
    return signed(chip.score_max.bit_length() + 1)


def values_together(chip: ChipConfig) -> int:
    """Values that come at once: GFT ``P`` sums, or those of all classes; LBE the scores of all classes."""
    return min(chip.array_rows, chip.classes) if chip.rule == Rule.GFT else chip.classes


def values_layout(chip: ChipConfig) -> data.StructLayout:
    """Values of a sample's classes, lowest class first."""
    return group_layout(value_shape(chip), values_together(chip), sample_layout(chip))


def margin_shape(chip: ChipConfig):
    """Shape of the margin."""
    return signed((2 * chip.score_max + 1).bit_length() + 1)


class Error(wiring.Component):
    """Finds the rival and compares it with the true class.

    Members
    -------
    ``i`` : In(stream values_layout)
    ``margin`` : In(signed)
        For the verdict that is made in this cycle.
    ``o`` : Out(stream verdict_layout)
    ``decides`` : Out(1)
        A verdict is made in this cycle, to appear in the next.

    One class a cycle; a verdict :attr:`latency` cycles after its last class at the earliest. None is lost while ``o``
    waits. In fast chips (GFT) ``o`` is a queue, and no sample begins before its verdict is sure of a place in it:
    whoever takes verdicts stops nothing on its way.
    """

    def __init__(self, chip: ChipConfig):
        self.chip = chip
        self.queues = chip.pipelined and chip.rule == Rule.GFT  # LBE's next sample waits for the verdict anyway
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
        chip = self.chip

        moves = Signal()  # what has begun goes on
        verdict = stream.Signature(verdict_layout(chip)).create() if self.queues else self.o

        # One value at a time, registered ------------------------------------------------------------------------------
        m.submodules.unroll = unroll = Unroll(
            value_shape(chip), values_together(chip), sample_layout(chip), ahead=self.queues
        )
        connect(m, flipped(self.i), unroll.i)
        value = unroll.o.payload
        may_go = Const(1)
        if self.queues:
            begun = Signal(range(UNDER_WAY + 1))
            begins, leaves = unroll.o.valid & unroll.o.ready & value.first, self.o.valid & self.o.ready
            m.d.sync += begun.eq(begun + begins - leaves)
            may_go = ~value.first | (begun != UNDER_WAY)
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

        # Running maximum over the rivals; the true class is kept aside ------------------------------------------------
        true_v = Signal(value_shape(chip))
        rival_v = Signal(value_shape(chip))
        rival = Signal(range(chip.classes))
        rival_found = Signal()
        ended = Signal()  # the sample's classes have all been looked at
        sample = Signal(sample_layout(chip))
        is_true = (v_class == v_sample.label) & ~v_sample.infer
        found = rival_found & ~v_first
        with m.If(moves):
            m.d.sync += [ended.eq(v_valid & v_last), sample.eq(v_sample)]
            with m.If(v_valid):
                m.d.sync += rival_found.eq(found | ~is_true)
                with m.If(is_true):
                    m.d.sync += true_v.eq(v)
                with m.Elif(~found | (v > rival_v)):
                    m.d.sync += [rival_v.eq(v), rival.eq(v_class)]

        # Verdict ------------------------------------------------------------------------------------------------------
        if self.queues:
            m.submodules.queue = queue = RegisteredQueue(verdict_layout(chip), UNDER_WAY)
            connect(m, queue.o, flipped(self.o))
            m.d.comb += [moves.eq(1), queue.i.valid.eq(verdict.valid), queue.i.payload.eq(verdict.payload)]
            m.d.sync += verdict.valid.eq(0)
        else:
            m.d.comb += moves.eq(~self.o.valid | self.o.ready | ~ended)
            with m.If(self.o.ready):
                m.d.sync += self.o.valid.eq(0)
        m.d.comb += self.decides.eq(ended & moves)
        with m.If(self.decides):
            difference = true_v - rival_v
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
        return m
