"""Schedule: decides, for each layer of a sample, which rows to update and when the next sample may enter it."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from popflip.hw.config import ChipConfig
from popflip.hw.layouts import verdict_layout
from popflip.hw.lbe.reinforce import row_update_layout
from popflip.hw.lbe.winner import winner_layout


class Schedule(wiring.Component):
    """Takes the verdicts on a sample's layers in order, and hands out the winners of each layer to update.

    Members
    -------
    ``i`` : In(stream of :func:`popflip.hw.layouts.verdict_layout`)
        A layer's verdict; taken when the layer's weights are final for the sample.
    ``rows`` : In(range), ``position`` : Out(range), ``winner`` : In(winner_layout), ``release`` : Out(1)
        The older list of :class:`.winner.Winner`.
    ``o`` : Out(stream of :func:`.reinforce.row_update_layout`)
        Rows to update; taken when the row is written.
    ``settled`` : Out(L)
        Bit ``l``, for a cycle: the weights of layer ``l`` are final for the sample.
    ``last_layer`` : Out(1)
        The current or next verdict is on the last layer.
    ``done`` : Out(1)
        The sample is finished: the verdict on its last layer is taken in this cycle.
    ``updated`` : Out(1)
        With ``done``: the sample triggered an update in one of its layers.
    ``waiting`` : Out(1)
        A verdict is offered, but no row.

    A layer takes one cycle, and at least two more for each row to update.
    """

    def __init__(self, chip: ChipConfig):
        self.chip = chip
        most = max(chip.rows)
        super().__init__(
            {
                "i": In(stream.Signature(verdict_layout(chip))),
                "rows": In(range(most + 1)),
                "position": Out(range(most)),
                "winner": In(winner_layout(chip)),
                "release": Out(1),
                "o": Out(stream.Signature(row_update_layout(chip))),
                "settled": Out(chip.depth),
                "last_layer": Out(1),
                "done": Out(1),
                "updated": Out(1),
                "waiting": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        verdict = self.i.payload
        layer = Signal(range(self.chip.depth))
        updated_below = Signal()  # a layer below was updated
        next_row = Signal.like(self.rows)
        last_layer = self.last_layer
        taken = self.i.valid & self.i.ready
        updates = verdict.updates & (self.rows != 0)
        m.d.comb += [
            last_layer.eq(layer == self.chip.depth - 1),
            self.position.eq(next_row),
            self.o.payload.layer.eq(layer),
            self.o.payload.slot.eq(verdict.sample.slot),
            self.o.payload.winner.eq(self.winner),
            self.release.eq(taken),
            self.settled.eq(taken << layer),
            self.done.eq(taken & last_layer),
            self.updated.eq(updated_below | verdict.updates),
            self.waiting.eq(self.i.valid & ~self.o.valid),
        ]
        with m.FSM():
            with m.State("VERDICT"):
                m.d.sync += next_row.eq(0)
                m.d.comb += self.i.ready.eq(~updates)
                with m.If(self.i.valid & updates):
                    m.next = "READ ROW"
            with m.State("READ ROW"):  # the list answers in the next cycle
                m.next = "UPDATE ROW"
            with m.State("UPDATE ROW"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.d.sync += next_row.eq(next_row + 1)
                    m.next = "READ ROW"
                    with m.If(next_row + 1 == self.rows):
                        m.d.comb += self.i.ready.eq(1)
                        m.next = "VERDICT"
        with m.If(taken):
            m.d.sync += [updated_below.eq(self.updated & ~last_layer)]
            with m.If(last_layer):
                m.d.sync += layer.eq(0)
            with m.Else():
                m.d.sync += layer.eq(layer + 1)
        return m
