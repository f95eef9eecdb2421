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

With Pc > 1 rows a cycle the first layer, where most rows with an error are, has a sweep of its own (:class:`Sweep`): as
many lists of rows as banks of counters, gone through in step.
"""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from popflip.hw.config import ChipConfig
from popflip.hw.gft.accumulate import Accumulate
from popflip.hw.gft.backward import Backward
from popflip.hw.layouts import (
    activation_base,
    bank_row_layout,
    lane_layout,
    row_layout,
    sample_layout,
    update_layout,
    verdict_layout,
)
from popflip.hw.lib.lookup import of_layer
from popflip.hw.lib.stream import delayed
from popflip.hw.memory.activations import hidden_lanes
from popflip.hw.memory.signatures import (
    ActivationReadSignature,
    CounterBanksSignature,
    InputReadSignature,
    WeightRowSignature,
)


class LearnStateSignature(wiring.Signature):
    """What learning reads and writes: a row's word of ``weights`` at a time, and all banks of ``counters``."""

    def __init__(self, chip: ChipConfig):
        super().__init__(
            {
                "weights": Out(WeightRowSignature(chip)),
                "counters": Out(CounterBanksSignature(chip)),
            }
        )


class Sweep(wiring.Component):
    """The first layer of a sample: in a cycle, each bank of counters takes a word of one of its rows.

    Members
    -------
    ``clear`` : In(1)
        Empties the lists of rows.
    ``push`` : In(Pc), ``rows`` : In(Pc × bank_row_layout)
        A row for a bank's list, in any cycle before ``start``.
    ``start`` : In(1), ``sample`` : In(sample_layout)
        All rows are listed. ``sample`` is stable until ``finished``.
    ``inputs`` : Out(InputReadSignature)
    ``valid`` : Out(Pc), ``updates`` : Out(Pc × update_layout)
        To an :class:`.accumulate.Accumulate` each, :attr:`latency` cycles after ``busy``.
    ``busy`` : Out(1), ``finished`` : Out(1)
        A step is taken; it is the last one, or there are no rows.

    Words × rows of the longest list cycles, and 3 from ``start`` to the first step.
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

        # Words: fetched ahead of their use ----------------------------------------------------------------------------
        fetch = Signal(range(chip.words[0]))
        fetching, fetched, fetched_last = Signal(), Signal(), Signal()
        word_valid, word_last, word_done = Signal(), Signal(), Signal()
        word_bits = Signal(chip.array_synapses)
        word_base = Signal(range(chip.counter_map.depth))
        moves = fetched & (~word_valid | word_done)
        ask = fetching & (~fetched | moves)
        last_fetch = fetch == self.sample.words - 1
        m.d.comb += [
            self.inputs.en.eq(ask),
            self.inputs.slot.eq(self.sample.slot),
            self.inputs.position.eq(fetch),
        ]
        with m.If(moves | ~fetched):
            m.d.sync += [fetched.eq(ask), fetched_last.eq(last_fetch)]
        with m.If(ask):
            m.d.sync += [fetch.eq(fetch + 1), fetching.eq(~last_fetch)]
        with m.If(word_done):
            m.d.sync += word_valid.eq(0)
        with m.If(moves):
            m.d.sync += [
                word_valid.eq(1),
                word_last.eq(fetched_last),
                word_bits.eq(self.inputs.data.bits),
                word_base.eq(chip.counter_map.word_address(0, self.inputs.data.index)),
            ]
        with m.If(self.start & (longest != 0)):
            m.d.sync += [fetching.eq(1), fetch.eq(0)]

        # Rows: each list from its end, so that none has to know where the others end ----------------------------------
        position = Signal(range(capacity))
        last_row = position == 0
        m.d.comb += [
            self.busy.eq(word_valid),
            word_done.eq(word_valid & last_row),
            self.finished.eq((word_done & word_last) | (self.start & (longest == 0))),
        ]
        with m.If(self.start | word_done):
            m.d.sync += position.eq(longest - 1)
        with m.Elif(word_valid):
            m.d.sync += position.eq(position - 1)
        with m.If(self.clear):
            m.d.sync += longest.eq(0)
        with m.Elif(Cat(push & (length == longest) for push, length in zip(self.push, lengths, strict=True)).any()):
            m.d.sync += longest.eq(longest + 1)
        base, bits = Signal.like(word_base), Signal.like(word_bits)
        m.d.sync += [base.eq(word_base), bits.eq(word_bits)]
        base, bits = (delayed(m, value, self.latency - 1) for value in (base, bits))
        for bank, length in enumerate(lengths):
            m.submodules[f"list{bank}"] = rows = Memory(shape=bank_row_layout(chip), depth=max(2, capacity), init=[])
            write, read = rows.write_port(), rows.read_port()
            m.d.comb += [
                write.en.eq(self.push[bank]),
                write.addr.eq(length),
                write.data.eq(self.rows[bank]),
                read.en.eq(word_valid),
                read.addr.eq(position),
            ]
            with m.If(self.clear):
                m.d.sync += length.eq(0)
            with m.Elif(self.push[bank]):
                m.d.sync += length.eq(length + 1)
            row = delayed(m, read.data, self.latency - 1)
            m.d.comb += [
                self.valid[bank].eq(delayed(m, word_valid & (position < length), self.latency)),
                self.updates[bank].address.eq(base + row.row),
                self.updates[bank].delta.eq(row.delta),
                self.updates[bank].lanes.enable.eq(bits),
                self.updates[bank].lanes.positive.eq(bits),
            ]
        return m


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
    ``state`` : Out(LearnStateSignature)
        Its weight reads take the banks from the MAC array for a cycle each; it never writes weights.
    ``busy`` : Out(1)
        A row's word is taken in this cycle, or one of each bank.
    ``waiting`` : Out(1)
        A sample is here, or offered, and none is taken.

    A sample takes Σ_l (rows with δ ≠ 0) × (words) cycles, twice as many with ``compact``, and about 12 a layer to
    fill and drain. In the first layer it is the rows of the bank that has most of them.
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
                "state": Out(LearnStateSignature(chip)),
                "busy": Out(1),
                "waiting": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        chip = self.chip
        depth, lanes = chip.depth, chip.array_synapses
        banks = chip.learn_rows
        banked = banks > 1
        bank_bits = ceil_log2(banks)
        accumulates = []
        for bank in range(banks):
            m.submodules[f"accumulate{bank}"] = accumulate = Accumulate(chip)
            wiring.connect(m, accumulate.counters, wiring.flipped(getattr(self.state.counters, f"bank{bank}")))
            accumulates.append(accumulate)

        verdict = Signal(verdict_layout(chip))
        layer = Signal(range(depth))
        first_layer = Const(0) if banked else layer == 0  # of those that are swept here

        # The lists of rows: one being read, and the one the errors of the sweep go into -------------------------------
        reading = Signal()  # which list the sweep reads …
        writing = Signal()  # … and which is written; the same until the list being read is complete
        complete = Signal()
        capacity = max([2, *chip.rows[1 if banked else 0 : -1]])
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
                "base": range(chip.counter_map.depth),  # address of row 0's counters
                "lanes": lane_layout(chip),
                "in_window": lanes,  # neurons of the layer below that are within the window
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
        if not banked:
            m.d.comb += [
                self.inputs.en.eq(ask & first_layer),
                self.inputs.slot.eq(verdict.sample.slot),
                self.inputs.position.eq(fetch),
            ]
        m.d.comb += [
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
                    of_layer(layer, [chip.counter_map.word_address(number, index) for number in range(depth)])
                ),
                word.lanes.enable.eq(self.inputs.data.bits),
                word.lanes.positive.eq(self.inputs.data.bits),
            ]
            if depth > 1:
                neurons = [(1 << width % lanes) - 1 for width in chip.layers[:-1]]  # of a layer's last word
                m.d.sync += word.in_window.eq(
                    self.activations.in_window & Mux(fetched_last, of_layer(layer, neurons), (1 << lanes) - 1)
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
        spaced = Signal(init=1)  # … by the banks, which takes a word's errors a time that is known
        errors_left = Signal(init=1)  # the errors of the word before have left, so the next ones may be completed
        l0 = Signal()
        held = Signal()  # the row before is being written
        if chip.compact:
            m.d.sync += held.eq(l0)
        m.d.comb += [
            l0.eq(sweeping & word_valid & row_here & ~held & (first_layer | ~last_row | (errors_left & spaced))),
            word_done.eq(l0 & last_row),
            pull.en.eq(l0),
            pull.addr.eq(Cat(position[:index_bits], reading)),
        ]
        with m.If(l0):
            m.d.sync += position.eq(Mux(last_row, 0, position + 1))

        # L1: the row is here, its counters and weights are asked for; in fast chips a cycle later ---------------------
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
        late = int(chip.pipelined)
        on_their_way = [l1]  # what has left the list, and may end a word
        for _ in range(late):
            l1, l1_word, row = (delayed(m, value, 1) for value in (l1, l1_word, row))
            on_their_way.append(l1)
        for bank, accumulate in enumerate(accumulates):
            m.d.comb += [
                accumulate.valid.eq(l1.valid & (row.row[:bank_bits] == bank)),
                accumulate.i.address.eq(l1_word.base + (row.row >> bank_bits)),
                accumulate.i.delta.eq(row.delta),
                accumulate.i.lanes.eq(l1_word.lanes),
            ]

        # L2: e += δ·w, above the first layer --------------------------------------------------------------------------
        if depth > 1:
            m.submodules.backward = backward = Backward(chip)
            array_bits = ceil_log2(chip.array_rows)
            group = row.row >> array_bits
            m.d.comb += [
                self.state.weights.read.eq(l1.above),
                self.state.weights.read_bank.eq(row.row[:array_bits]),
                self.state.weights.read_address.eq(
                    l1_word.index
                    + of_layer(
                        l1.layer,
                        [chip.weight_map.row_address(number, group) if number else 0 for number in range(depth)],
                    )
                ),
            ]
            l2, l2_word, l2_delta = l1, l1_word, row.delta
            for _ in range(chip.read_latency + late):
                l2, l2_word, l2_delta = (delayed(m, value, 1) for value in (l2, l2_word, l2_delta))
                on_their_way.append(l2)
            m.d.comb += [
                backward.valid.eq(l2.above),
                backward.delta.eq(l2_delta),
                backward.weights.eq(delayed(m, self.state.weights.read_data, late)),
                backward.starts_word.eq(l2.starts_word),
                backward.ends_word.eq(l2.ends_word),
                backward.word.eq(l2_word.index),
                backward.in_window.eq(l2_word.in_window),
                backward.o.ready.eq(1),
            ]
            ends = [stage.above & stage.ends_word for stage in on_their_way]
            if not banked:
                m.d.comb += errors_left.eq(backward.free & ~Cat(ends).any())

        # The first layer by itself ------------------------------------------------------------------------------------
        all_listed = Signal()  # rows of the first layer
        m.d.comb += self.busy.eq(l0)
        if banked:
            m.submodules.sweep = sweep = Sweep(chip)
            wiring.connect(m, sweep.inputs, wiring.flipped(self.inputs))
            m.d.comb += [sweep.sample.eq(verdict.sample), self.busy.eq(l0 | sweep.busy)]
            for bank, accumulate in enumerate(accumulates):
                with m.If(sweep.valid[bank]):
                    m.d.comb += [accumulate.valid.eq(1), accumulate.i.eq(sweep.updates[bank])]
            if depth > 1:
                m.d.comb += [backward.first_layer.eq(l2.layer == 1), sweep.push.eq(backward.banks)]
                m.d.comb += sweep.rows.eq(backward.bank_rows)
                m.d.comb += all_listed.eq(backward.free & ~Cat(ends).any())
                if depth > 2:  # else all errors there are are the first layer's
                    others = [end & (stage.layer != 1) for end, stage in zip(ends, on_their_way, strict=True)]
                    m.d.comb += errors_left.eq(backward.gone & ~Cat(others).any())
                # A word's errors leave within as many cycles as a bank has lanes.
                spacing = Signal(range(lanes // banks))
                m.d.comb += spaced.eq(spacing == 0)
                with m.If(word_done):
                    m.d.sync += spacing.eq(lanes // banks - 1)
                with m.Elif(~spaced):
                    m.d.sync += spacing.eq(spacing - 1)
            else:
                m.d.comb += all_listed.eq(1)
                for bank in range(banks):
                    of_bank = push.data.row[:bank_bits] == bank
                    m.d.comb += sweep.push[bank].eq(push.en & of_bank)
                    m.d.comb += sweep.rows[bank].row.eq(push.data.row >> bank_bits)
                    m.d.comb += sweep.rows[bank].delta.eq(push.data.delta)

        # Sequence -----------------------------------------------------------------------------------------------------
        finished = Signal()  # the sample's last row has been asked for
        written = Signal(late + accumulate.latency)  # … and its counters are written when this has gone through
        m.d.sync += [written.eq(Cat(finished, written)), self.done.eq(written[-1])]
        with m.If(finished):
            m.d.sync += self.done_slot.eq(verdict.sample.slot)
        m.d.comb += self.waiting.eq((self.i.valid | ~self.i.ready) & ~self.busy)

        with m.FSM():
            with m.State("IDLE"):
                # Counters of the sample before are written long before the next ones are read, some 5 cycles from here.
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += [verdict.eq(self.i.payload), layer.eq(depth - 1), complete.eq(0), writing.eq(reading)]
                m.d.sync += [length[0].eq(0), length[1].eq(0), position.eq(0)]
                if banked:
                    m.d.comb += sweep.clear.eq(1)
                with m.If(self.i.valid):
                    m.next = "TRUE"
            with m.State("TRUE"):
                m.d.comb += [push.en.eq(1), push.data.row.eq(verdict.sample.label), push.data.delta.eq(1)]
                m.d.sync += [fetching.eq(not banked or depth > 1), fetch.eq(0)]
                m.next = "RIVAL"
            with m.State("RIVAL"):
                m.d.comb += [push.en.eq(1), push.data.row.eq(verdict.rival), push.data.delta.eq(-1)]
                m.d.sync += [complete.eq(1), writing.eq(~reading)]
                m.next = "SWEEP" if not banked or depth > 1 else "LISTED"
            with m.State("SWEEP"):
                m.d.comb += sweeping.eq(1)
                if depth > 1:
                    m.d.comb += [push.en.eq(backward.o.valid), push.data.eq(backward.o.payload)]
                    with m.If(~complete & errors_left):
                        m.d.sync += [complete.eq(1), writing.eq(~reading), length[~reading].eq(0)]
                    with m.If(word_done & word.last & (layer != (1 if banked else 0))):
                        m.d.sync += [layer.eq(layer - 1), reading.eq(~reading), complete.eq(0)]
                        m.d.sync += [fetching.eq(1), fetch.eq(0)]
                m.d.comb += finished.eq((word_done & word.last & first_layer) | (complete & (here == 0)))
                if banked:
                    with m.If(word_done & word.last & (layer == 1)):
                        m.next = "LISTED"
                with m.If(finished):
                    m.d.sync += [fetching.eq(0), fetched.eq(0), word_valid.eq(0)]
                    m.next = "IDLE"
            if banked:
                with m.State("LISTED"), m.If(all_listed):
                    m.d.comb += sweep.start.eq(1)
                    m.next = "FIRST LAYER"
                    with m.If(sweep.finished):
                        m.d.comb += finished.eq(1)
                        m.next = "IDLE"
                with m.State("FIRST LAYER"), m.If(sweep.finished):
                    m.d.comb += finished.eq(1)
                    m.next = "IDLE"
        return m
