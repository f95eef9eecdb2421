"""Error: which class was predicted, which rival came closest, and whether the sample teaches.

    δ_t = +1, δ_j = −1   where   v_t − v_j ≤ MARGIN,   j = lowest index among the largest v_c, c ≠ t
    (golden: popflip.golden.error.output_error)

A running maximum over the classes, one a cycle. The sum being looked at is registered first, so the loop is one
comparison and one selection, whatever the number of rows.
"""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .config import ChipConfig
from .forward import result_layout, sum_shape
from .ingest import sample_layout


def verdict_layout(chip: ChipConfig) -> data.StructLayout:
    """What the output says of a sample. For one that is only asked ``rival`` is the prediction, and it never
    teaches."""
    return data.StructLayout(
        {
            "sample": sample_layout(chip),
            "rival": range(chip.classes),
            "teaches": 1,
            "correct": 1,
        }
    )


class Error(wiring.Component):
    """Finds the rival and compares it with the true class.

    Members
    -------
    ``i`` : In(stream result_layout)
    ``margin`` : In(signed)
    ``o`` : Out(stream verdict_layout)

    One class a cycle; a verdict :attr:`latency` cycles after its last class at the earliest. None is lost while ``o``
    waits.
    """

    latency = 3

    def __init__(self, chip: ChipConfig):
        self.chip = chip
        super().__init__(
            {
                "i": In(stream.Signature(result_layout(chip))),
                "margin": In(signed((2 * chip.v_max + 1).bit_length() + 1)),
                "o": Out(stream.Signature(verdict_layout(chip))),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        chip = self.chip
        rows = len(self.i.payload.v)

        # One sum at a time --------------------------------------------------------------------------------------------
        group = Signal(result_layout(chip))
        loaded = Signal()
        lane = Signal(range(rows))
        number = Signal(range(chip.classes))  # of the class whose sum comes next
        moves = Signal()
        last_class = number == chip.classes - 1
        ends_group = (lane == rows - 1) | last_class
        m.d.comb += self.i.ready.eq(~loaded | (moves & ends_group))
        with m.If(loaded & moves):
            m.d.sync += [
                group.v.as_value().eq(group.v.as_value() >> sum_shape(chip).width),
                lane.eq(Mux(ends_group, 0, lane + 1)),
                number.eq(Mux(last_class, 0, number + 1)),
            ]
        with m.If(self.i.ready):
            m.d.sync += loaded.eq(self.i.valid)
            with m.If(self.i.valid):
                m.d.sync += group.eq(self.i.payload)

        v = Signal(sum_shape(chip))
        v_class = Signal(range(chip.classes))
        v_valid = Signal()
        v_first = Signal()
        v_last = Signal()
        v_sample = Signal(sample_layout(chip))
        with m.If(moves):
            m.d.sync += [
                v.eq(group.v[0]),
                v_class.eq(number),
                v_valid.eq(loaded),
                v_first.eq(number == 0),
                v_last.eq(last_class),
                v_sample.eq(group.sample),
            ]

        # Running maximum over the rivals; the true class is kept aside ------------------------------------------------
        true_v = Signal(sum_shape(chip))
        rival_v = Signal(sum_shape(chip))
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
        m.d.comb += moves.eq(~self.o.valid | self.o.ready | ~ended)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(ended & moves):
            difference = true_v - rival_v
            teaches = ~sample.infer & (difference <= self.margin)
            m.d.sync += [
                self.o.valid.eq(1),
                self.o.payload.sample.eq(sample),
                self.o.payload.rival.eq(rival),
                self.o.payload.teaches.eq(teaches),
                self.o.payload.correct.eq(
                    ~sample.infer & ((difference > 0) | ((difference == 0) & (sample.label < rival)))
                ),
            ]
        return m
