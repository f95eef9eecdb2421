"""Learning on a chip with one walk: backward and accumulate, a row at a time (golden: ``conv.backward``,
``conv.accumulate``).

A sweep of a layer goes over its positions in golden's order, and at each over the rows with ``δ ≠ 0``, and for each of
these over the words of the patch. One adder gives a word of counters its votes, and then adds ``δ·w`` to the errors of
the activations that the word is. Both lie in single-port RAM, so each takes a cycle to read and one to write::

    errors of the pool ─▶ δ of N rows ─▶ row, δ ─▶ words ─┬▶ m + δ·a ─▶ counters
                                                          └▶ e + δ·w ─▶ errors of the layer below
"""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from popflip.hw.config import ChipConfig
from popflip.hw.conv.signatures import BlockReadSignature, LearnStateSignature
from popflip.hw.layouts import delta_shape, verdict_layout
from popflip.hw.lib.arithmetic import clip
from popflip.hw.lib.lookup import of_layer
from popflip.hw.serial.places import ERRORS_BASE, Places
from popflip.hw.serial.signatures import WalkSignature


class SerialLearn(wiring.Component):
    """Updates the counters, one sample after another.

    Members
    -------
    ``i`` : In(stream verdict_layout)
        Samples that trigger an update, in stream order.
    ``done`` : Out(1), ``done_slot`` : Out(range(slots))
        The sample in slot ``done_slot`` is learned, and its slot is free.
    ``walk`` : Out(WalkSignature), ``weight_rows`` : Out(BlockReadSignature)
    ``state`` : Out(LearnStateSignature)
        Errors lie behind the counters.
    ``busy`` : Out(1)
        The engine gives a word its votes in this cycle.
    ``waiting`` : Out(1)
        A sample is here, or offered, and the engine gives no votes.
    """

    def __init__(self, chip: ChipConfig):
        self.chip, self.places = chip, Places(chip)
        super().__init__(
            {
                "i": In(stream.Signature(verdict_layout(chip))),
                "done": Out(1),
                "done_slot": Out(range(chip.slots)),
                "walk": Out(WalkSignature(chip)),
                "weight_rows": Out(BlockReadSignature(chip)),
                "state": Out(LearnStateSignature(chip)),
                "busy": Out(1),
                "waiting": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        chip, walk = self.chip, self.walk
        lanes = chip.array_synapses
        self._verdict = Signal(verdict_layout(chip), name="verdict")
        self._layer = Signal(range(chip.depth), name="layer")
        self._row = Signal(range(-(-max(chip.rows) // lanes) * lanes), name="row")
        self._deltas = Signal(data.ArrayLayout(delta_shape(chip), lanes), name="deltas")  # of `row` and those after it
        self._address = Signal(range(chip.counter_map.depth), name="address")  # of the word's counters
        self._errs = Signal(name="errs")  # the adder adds errors, no votes
        self._swept, self._voted = Signal(name="swept"), Signal(name="voted")  # at this position: a row, a word
        self._last_layer = self._layer == chip.depth - 1
        counters = self.state.counters.bank0
        self._place = Signal.like(counters.read_address, name="place")
        row = self._row
        m.d.comb += [
            walk.layer.eq(self._layer),
            walk.slot.eq(self._verdict.sample.slot),
            walk.group.eq(row >> exact_log2(chip.array_rows)),
            walk.part.eq(self._row >> exact_log2(lanes)),
            counters.read_address.eq(self._place),
            counters.write_address.eq(self._place),
            self.weight_rows.block.eq(row),
            self.weight_rows.address.eq(walk.weight_address),
            self.done_slot.eq(self._verdict.sample.slot),
            self.waiting.eq((self.i.valid | ~self.i.ready) & ~self.busy),
        ]
        self._add(m)
        self._sequence(m)
        return m

    def _add(self, m: Module) -> None:
        """The adder: a word of counters with its votes, saturating, or a unit of errors with ``δ·w``."""
        chip, counters, walk = self.chip, self.state.counters.bank0, self.walk
        delta, ternary = self._deltas[0], chip.weight_bits == 2
        for lane in range(chip.array_synapses):
            weight = self.weight_rows.rows[0][lane]
            adds = Mux(self._errs, weight[0] if ternary else 1, walk.lanes.enable[lane])
            minus = Mux(self._errs, weight[1] if ternary else ~weight[0], ~walk.lanes.positive[lane])
            moved = Signal(signed(chip.counter_bits + 1), name=f"moved{lane}")
            old = counters.read_data[lane]
            m.d.comb += moved.eq(old + Mux(adds, Mux(minus, -delta, delta), 0))
            m.d.comb += counters.write_data[lane].eq(self._saturated(m, moved, ~self._errs))

    def _saturated(self, m: Module, moved: Signal, votes: Value) -> Value:
        """``moved``, saturated at the layer's limit if they are ``votes``."""
        limits = self.chip.limits
        if any(limit & (limit + 1) for limit in limits):
            clipped = {limit: clip(moved, -limit, limit).as_signed() for limit in limits}
            return Mux(votes, of_layer(self._layer, [clipped[limit] for limit in limits]), moved)
        # Limits are 2ⁿ − 1. A sum outside becomes n ones, or minus that: 1…1, n − 1 zeros, and a one.
        sizes, negative = [limit.bit_length() for limit in limits], moved[-1]
        outside = {
            size: Mux(negative, ~moved[size:-1].all() | ~moved[:size].any(), moved[size:-1].any()) for size in sizes
        }
        clips = Signal.like(negative, name=f"clips_{moved.name}")
        m.d.comb += clips.eq(of_layer(self._layer, [outside[size] for size in sizes]) & votes)
        bits = [Mux(clips, 1, moved[0])]
        for place in range(1, self.chip.counter_bits):
            within = of_layer(self._layer, [int(place < size) for size in sizes])
            bits.append(Mux(clips, within ^ negative, moved[place]))
        return Cat(bits)

    def _errors(self, m: Module) -> None:
        """The ``δ`` of the unit of errors that was read. Rows that the layer does not have have 0."""
        chip, lanes = self.chip, self.chip.array_synapses
        last_unit = self._row[exact_log2(lanes) :] == of_layer(self._layer, [(rows - 1) // lanes for rows in chip.rows])
        real = Mux(last_unit, of_layer(self._layer, [(1 << (rows - 1) % lanes + 1) - 1 for rows in chip.rows]), -1)
        for lane, delta in enumerate(self._deltas):
            error = self.state.counters.bank0.read_data[lane]
            here = self.walk.in_window[lane] & real[lane]
            m.d.sync += delta.eq(Mux(here, clip(error, -chip.dclip, chip.dclip), 0))

    def _access(self, m: Module, address: Value, *, write: bool) -> None:
        """Read or write a word of counters or errors."""
        counters = self.state.counters.bank0
        m.d.comb += [self._place.eq(address), (counters.write if write else counters.read).eq(1)]

    def _sequence(self, m: Module) -> None:
        """A sample: clear the errors, then sweep the layers from the last one down."""
        chip, walk, verdict = self.chip, self.walk, self._verdict
        m.d.comb += walk.claim.eq(1)
        error = Signal(range(max(2, self.places.depth)), name="error")
        with m.If(walk.ready):
            m.d.sync += self._address.eq(self._address + of_layer(self._layer, chip.counter_map.word_stride))
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [self.i.ready.eq(1), walk.claim.eq(0)]
                m.d.sync += self._layer.eq(chip.depth - 1)
                with m.If(self.i.valid):
                    m.d.sync += verdict.eq(self.i.payload)
                    m.next = "CLEAR"
            with m.State("CLEAR"):
                self._access(m, ERRORS_BASE | error, write=True)
                m.d.comb += self.state.counters.bank0.write_data.as_value().eq(0)
                m.d.sync += error.eq(Mux(error == self.places.depth - 1, 0, error + 1))
                with m.If(error == self.places.depth - 1):
                    m.next = "LAYER"
            with m.State("LAYER"):
                m.d.comb += walk.begin.eq(1)
                m.d.sync += self._row.eq(Mux(self._last_layer, verdict.sample.label, 0))
                m.next = "UNIT"
            self._rows(m)
            self._words(m)
            with m.State("DONE"):
                m.d.comb += self.done.eq(1)
                m.next = "IDLE"

    def _rows(self, m: Module) -> None:
        """The rows of a position with ``δ ≠ 0``: a unit at a time, and its lanes one after the other. A position whose
        patch is all 0 ends with the first of them. In the last layer the label, with +1, and the rival, with −1."""
        chip, walk, lanes = self.chip, self.walk, self.chip.array_synapses
        row, deltas = self._row, self._deltas
        second = Signal(name="second")  # the rival follows
        ends_unit = row[: exact_log2(lanes)] == lanes - 1
        ends = ends_unit & (
            row[exact_log2(lanes) :] == of_layer(self._layer, [(rows - 1) // lanes for rows in chip.rows])
        )
        with m.State("UNIT"):  # read its errors and windows
            self._access(m, ERRORS_BASE | walk.pool_unit, write=False)
            m.d.comb += walk.peek.eq(1)
            m.next = "UNIT READ"
        with m.State("UNIT READ"):
            self._errors(m)
            with m.If(self._last_layer):
                m.d.sync += deltas[0].eq(Mux(second, -1, 1))
            m.next = "ROW"
        with m.State("ROW"):
            bases = [Const(base, range(chip.counter_map.depth)) for base in chip.counter_map.base]
            m.d.sync += self._address.eq(of_layer(self._layer, bases) + row)
            m.next = "NEXT ROW"
            with m.If(deltas[0].any()):
                m.d.comb += walk.start.eq(1)
                m.d.sync += self._swept.eq(1)
                m.next = "WORD"
        with m.State("NEXT ROW"):
            blank = self._swept & ~self._voted  # the position's patch is all 0
            m.d.sync += [Cat(*deltas).eq(Cat(*deltas) >> len(deltas[0])), row.eq(row + 1)]
            m.next = "ROW"
            with m.If(self._last_layer):
                m.d.sync += [second.eq(~second), row.eq(self._verdict.rival)]
                m.next = "UNIT READ"
                with m.If(second):
                    m.d.sync += self._layer.eq(self._layer - 1)
                    m.next = "LAYER"
                    if chip.depth == 1:
                        m.next = "DONE"
            with m.Elif(ends | blank):
                m.d.sync += [row.eq(0), self._swept.eq(0), self._voted.eq(0)]
                m.d.comb += walk.step.eq(1)
                m.next = "UNIT"
                with m.If(walk.ends_layer):
                    m.d.sync += self._layer.eq(self._layer - 1)
                    m.next = "LAYER"
                    with m.If(self._layer == 0):
                        m.next = "DONE"
            with m.Elif(ends_unit):
                m.next = "UNIT"

    def _words(self, m: Module) -> None:
        """The words of a row. One without an input takes a cycle."""
        walk = self.walk
        with m.State("WORD"):
            with m.If(walk.valid):
                self._access(m, self._address, write=False)
                walk_empty = ~walk.lanes.enable.any()
                m.d.comb += walk.ready.eq(walk_empty)
                with m.If(~walk_empty):
                    m.next = "VOTE"
            with m.Elif(walk.idle):
                m.next = "NEXT ROW"
        with m.State("VOTE"):
            self._access(m, self._address, write=True)
            m.d.comb += [self.busy.eq(1), walk.ready.eq(~walk.in_unit)]
            m.d.sync += self._voted.eq(1)
            m.next = "ERRORS"
            with m.If(~walk.in_unit):
                m.next = "WORD"
        with m.State("ERRORS"):
            self._access(m, ERRORS_BASE | walk.unit, write=False)
            m.d.comb += self.weight_rows.en.eq(1)
            m.next = "ADD ERRORS"
        with m.State("ADD ERRORS"):
            self._access(m, ERRORS_BASE | walk.unit, write=True)
            m.d.comb += [self._errs.eq(1), walk.ready.eq(1)]
            m.next = "WORD"
