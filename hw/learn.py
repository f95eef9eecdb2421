"""Learn: the engine that takes one teaching sample from the last layer to the first.

Each layer is a sweep: for every word, for every row with δ ≠ 0, a cycle. In that cycle the row's word of counters is
updated from the layer's inputs (:mod:`.accumulate`) and, above the first layer, the row's word of weights is added to
the errors of the layer below (:mod:`.backward`); both need the same word of the same row, so both are done in one
visit::

    rows   (t, +1), (j, −1)      ┌─────────────── (row, δ) of the layer below ───────────────┐
             │                   ▼                                                           │
             └────────────▶  list of rows ──▶ L0 ──▶ L1 row, δ ──▶ L2 ─┬▶ counters += δ·a     │
    words of inputs ───────▶ word, lanes ─────┘      addresses out     └▶ e += δ·w ──▶ clip ──┘

Rows with δ = 0 are in no list, first-layer words without a one in none either: the cost is what there is to learn. The
sweep of a layer starts while the list of its rows is still growing.
"""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .accumulate import Accumulate
from .activations import ActivationReadSignature, activation_base
from .backward import Backward, row_layout
from .config import ChipConfig
from .error import verdict_layout
from .forward import hidden_lanes, lane_layout
from .ingest import InputReadSignature
from .layers import of_layer, times
from .weights import StateSignature


class Learn(wiring.Component):
    """Steps 3 and 4 of the rule for one sample after another.

    Members
    -------
    ``i`` : In(stream verdict_layout)
        Teaching samples in stream order.
    ``done`` : Out(1), ``done_slot`` : Out(range(slots))
        A sample has been learned, and its slot is free.
    ``inputs`` : Out(InputReadSignature), ``activations`` : Out(ActivationReadSignature)
        With ``compact`` data are used in the cycle after a request, and none is made in the cycle of a weight read.
    ``state`` : Out(StateSignature)
        Its weight reads take the banks from the MAC array for a cycle each; it never writes weights.
    ``busy`` : Out(1)
        A row's word is taken in this cycle.
    ``waiting`` : Out(1)
        A sample is here, or offered, and none is taken.

    A sample takes Σ_l (rows with δ ≠ 0) × (words) cycles, twice as many with ``compact``, and about 12 a layer to
    fill and drain.
    """

    def __init__(self, chip: ChipConfig):
        self.chip = chip
        super().__init__(
            {
                "i": In(stream.Signature(verdict_layout(chip))),
                "done": Out(1),
                "done_slot": Out(range(chip.slots)),
                "inputs": Out(InputReadSignature(chip)),
                "activations": Out(ActivationReadSignature(chip)),
                "state": Out(StateSignature(chip)),
                "busy": Out(1),
                "waiting": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        chip = self.chip
        depth, lanes = chip.depth, chip.array_synapses
        m.submodules.accumulate = accumulate = Accumulate(chip)
        wiring.connect(m, accumulate.counters, wiring.flipped(self.state.counters))

        verdict = Signal(verdict_layout(chip))
        layer = Signal(range(depth))
        first_layer = layer == 0

        # The lists of rows: one being read, and the one the errors of the sweep go into -------------------------------
        reading = Signal()  # which list the sweep reads …
        writing = Signal()  # … and which is written; the same until the list being read is complete
        complete = Signal()
        capacity = max([2, *chip.rows[:-1]])
        index_bits = ceil_log2(capacity)
        m.submodules.rows = rows = Memory(shape=row_layout(chip), depth=2 << index_bits, init=[])
        push, pull = rows.write_port(), rows.read_port()
        length = Array(Signal(range(capacity + 1), name=f"length{index}") for index in range(2))
        m.d.comb += push.addr.eq(Cat(length[writing][:index_bits], writing))
        with m.If(push.en):
            m.d.sync += length[writing].eq(length[writing] + 1)

        # Words: fetched ahead of their use ----------------------------------------------------------------------------
        word_layout = data.StructLayout(
            {
                "index": range(max(chip.words)),
                "base": range(chip.counter_depth),  # address of row 0's counters
                "lanes": lane_layout(chip),
                "taught": lanes,  # neurons of the layer below that are within the window
                "last": 1,
            }
        )
        fetch = Signal(range(max(chip.words)))  # next word to be asked for
        fetching = Signal()
        fetched = Signal()  # its data are here
        fetched_index = Signal.like(fetch)
        fetched_last = Signal()
        word = Signal(word_layout)
        word_valid = Signal()
        word_done = Signal()
        last_fetch = fetch == Mux(first_layer, verdict.sample.words - 1, of_layer(layer, [w - 1 for w in chip.words]))

        fetched_moves = fetched & (~word_valid | word_done)
        ask = fetching & (~fetched | fetched_moves)
        if chip.compact:  # with the memory's only port: not before there is a place for the word, and not while the
            # array is made to wait with a word of its own
            ask = fetching & ~fetched & (~word_valid | word_done) & ~self.state.weights.read
        m.d.comb += [
            self.inputs.en.eq(ask & first_layer),
            self.inputs.slot.eq(verdict.sample.slot),
            self.inputs.position.eq(fetch),
            self.activations.en.eq(ask & ~first_layer),
            self.activations.slot.eq(verdict.sample.slot),
            self.activations.word.eq(
                of_layer(layer, [activation_base(chip, index) if index else 0 for index in range(depth)]) + fetch
            ),
        ]
        with m.If(fetched_moves | ~fetched):
            m.d.sync += [fetched.eq(ask), fetched_index.eq(fetch), fetched_last.eq(last_fetch)]
        with m.If(ask):
            m.d.sync += [fetch.eq(fetch + 1), fetching.eq(~last_fetch)]

        index = Mux(first_layer, self.inputs.data.index, fetched_index)
        with m.If(word_done):
            m.d.sync += word_valid.eq(0)
        with m.If(fetched_moves):
            m.d.sync += [
                word_valid.eq(1),
                word.index.eq(index),
                word.last.eq(fetched_last),
                word.base.eq(
                    of_layer(
                        layer,
                        [base + times(index, count) for base, count in zip(chip.counter_base, chip.rows, strict=True)],
                    )
                ),
                word.lanes.enable.eq(self.inputs.data.bits),
                word.lanes.positive.eq(self.inputs.data.bits),
            ]
            if depth > 1:
                neurons = [(1 << width % lanes) - 1 for width in chip.layers[:-1]]  # of a layer's last word
                m.d.sync += word.taught.eq(
                    self.activations.near & Mux(fetched_last, of_layer(layer, neurons), (1 << lanes) - 1)
                )
                with m.If(~first_layer):
                    m.d.sync += word.lanes.eq(hidden_lanes(chip, layer, fetched_last, self.activations.active))

        # L0: a row of the list is asked for ---------------------------------------------------------------------------
        position = Signal(range(capacity + 1))
        first_row = position == 0
        here = length[reading]
        last_row = complete & (position + 1 == here)
        # Until the list is complete a row may turn out to be the last one, so the newest row waits.
        row_here = Mux(complete, position != here, position + 1 < here)
        sweeping = Signal()
        errors_left = Signal(init=1)  # the errors of the word before have left, so the next ones may be completed
        l0 = Signal()
        counters_busy = Signal()  # the row before is being written
        if chip.compact:
            m.d.sync += counters_busy.eq(l0)
        m.d.comb += [
            l0.eq(sweeping & word_valid & row_here & (first_layer | ~last_row | errors_left) & ~counters_busy),
            word_done.eq(l0 & last_row),
            pull.en.eq(l0),
            pull.addr.eq(Cat(position[:index_bits], reading)),
            self.busy.eq(l0),
        ]
        with m.If(l0):
            m.d.sync += position.eq(Mux(last_row, 0, position + 1))

        # L1: the row is here, its counters and weights are asked for --------------------------------------------------
        stage_layout = data.StructLayout(
            {"valid": 1, "above": 1, "starts_word": 1, "ends_word": 1, "layer": range(depth)}
        )
        l1 = Signal(stage_layout)
        m.d.sync += [
            l1.valid.eq(l0),
            l1.above.eq(l0 & ~first_layer),
            l1.starts_word.eq(first_row),
            l1.ends_word.eq(last_row),
            l1.layer.eq(layer),
        ]
        l1_word = word  # where no other one comes as soon as that
        if not chip.compact:
            l1_word = Signal(word_layout)
            m.d.sync += l1_word.eq(word)
        row = pull.data
        m.d.comb += [
            accumulate.valid.eq(l1.valid),
            accumulate.i.address.eq(l1_word.base + row.row),
            accumulate.i.delta.eq(row.delta),
            accumulate.i.lanes.eq(l1_word.lanes),
        ]

        # L2: e += δ·w, above the first layer --------------------------------------------------------------------------
        if depth > 1:
            m.submodules.backward = backward = Backward(chip)
            bank_bits = ceil_log2(chip.array_rows)
            group = row.row >> bank_bits
            m.d.comb += [
                self.state.weights.read.eq(l1.above),
                self.state.weights.read_bank.eq(row.row[:bank_bits]),
                self.state.weights.read_address.eq(
                    l1_word.index
                    + of_layer(
                        l1.layer,
                        [
                            base + times(group, words) if number else 0
                            for number, (base, words) in enumerate(zip(chip.weight_base, chip.words, strict=True))
                        ],
                    )
                ),
            ]
            l2 = Signal(stage_layout)
            l2_delta = Signal.like(row.delta)
            l2_word = Signal(word_layout)
            m.d.sync += [l2.eq(l1), l2_word.eq(l1_word), l2_delta.eq(row.delta)]
            m.d.comb += [
                backward.valid.eq(l2.above),
                backward.delta.eq(l2_delta),
                backward.weights.eq(self.state.weights.read_data),
                backward.starts_word.eq(l2.starts_word),
                backward.ends_word.eq(l2.ends_word),
                backward.word.eq(l2_word.index),
                backward.taught.eq(l2_word.taught),
                backward.o.ready.eq(1),
                errors_left.eq(backward.free & ~(l1.above & l1.ends_word) & ~(l2.above & l2.ends_word)),
            ]

        # Sequence -----------------------------------------------------------------------------------------------------
        finished = Signal()  # the sample's last row has been asked for
        written = Signal(accumulate.latency)  # … and its counters are written when this has gone through
        m.d.sync += [written.eq(Cat(finished, written)), self.done.eq(written[-1])]
        with m.If(finished):
            m.d.sync += self.done_slot.eq(verdict.sample.slot)
        m.d.comb += self.waiting.eq((self.i.valid | ~self.i.ready) & ~self.busy)

        with m.FSM():
            with m.State("IDLE"):
                # Counters of the sample before are written long before the next ones are read, some 7 cycles from here.
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += [verdict.eq(self.i.payload), layer.eq(depth - 1), complete.eq(0), writing.eq(reading)]
                m.d.sync += [length[0].eq(0), length[1].eq(0), position.eq(0)]
                with m.If(self.i.valid):
                    m.next = "TRUE"
            with m.State("TRUE"):
                m.d.comb += [push.en.eq(1), push.data.row.eq(verdict.sample.label), push.data.delta.eq(1)]
                m.d.sync += [fetching.eq(1), fetch.eq(0)]
                m.next = "RIVAL"
            with m.State("RIVAL"):
                m.d.comb += [push.en.eq(1), push.data.row.eq(verdict.rival), push.data.delta.eq(-1)]
                m.d.sync += [complete.eq(1), writing.eq(~reading)]
                m.next = "SWEEP"
            with m.State("SWEEP"):
                m.d.comb += sweeping.eq(1)
                if depth > 1:
                    m.d.comb += [push.en.eq(backward.o.valid), push.data.eq(backward.o.payload)]
                    with m.If(~complete & errors_left):
                        m.d.sync += [complete.eq(1), writing.eq(~reading), length[~reading].eq(0)]
                    with m.If(word_done & word.last & ~first_layer):
                        m.d.sync += [layer.eq(layer - 1), reading.eq(~reading), complete.eq(0)]
                        m.d.sync += [fetching.eq(1), fetch.eq(0)]
                m.d.comb += finished.eq((word_done & word.last & first_layer) | (complete & (here == 0)))
                with m.If(finished):
                    m.d.sync += [fetching.eq(0), fetched.eq(0), word_valid.eq(0)]
                    m.next = "IDLE"
        return m
