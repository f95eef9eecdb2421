"""Learn: steps 3 and 4 of GFT, backward and accumulate, for one sample at a time from the last layer to the first.

A sweep of a layer takes a cycle for each word of each row with δ ≠ 0. The visit updates the row's word of counters from
the layer's inputs (:mod:`.accumulate`). Above the first layer, it also adds the row's word of weights to the errors of
the layer below (:mod:`.backward`). Both need the same word of the same row, so one visit serves both::

    rows   (t, +1), (j, −1)      ┌─────────────── (row, δ) of the layer below ───────────────┐
             │                   ▼                                                           │
             └─────────────▶ row lists ──▶ L0 ──▶ L1 row, δ ──▶ L2 ─┬▶ counters += δ·a       │
    words of inputs ───────▶ prefetcher ────┘     requests          └▶ e += δ·w ──▶ clip ────┘

No list holds a row with δ = 0, and the first layer has nonzero words only, so the cost follows the number of errors and
of nonzero words. The sweep of a layer begins while the list of its rows still grows (:mod:`.row_lists`).

With Pc > 1 the first layer has a sweep of its own, which updates Pc rows a cycle (:mod:`.first_layer`).
"""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from popflip.hw.config import ChipConfig
from popflip.hw.gft.accumulate import Accumulate
from popflip.hw.gft.backward import Backward
from popflip.hw.gft.first_layer import Sweep
from popflip.hw.gft.prefetcher import Prefetcher
from popflip.hw.gft.row_lists import RowLists
from popflip.hw.layouts import activation_base, lane_layout, verdict_layout
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
    """The state that learning uses. It reads ``weights``, and reads and writes all banks of ``counters``."""

    def __init__(self, chip: ChipConfig):
        super().__init__(
            {
                "weights": Out(WeightRowSignature(chip)),
                "counters": Out(CounterBanksSignature(chip)),
            }
        )


def word_layout(chip: ChipConfig) -> data.StructLayout:
    """A word of a layer's inputs."""
    return data.StructLayout(
        {
            "index": range(max(chip.words)),
            "base": range(chip.counter_map.depth),  # address of row 0's counters
            "lanes": lane_layout(chip),
            "in_window": chip.array_synapses,  # neurons of the layer below that are within the window
            "last": 1,
        }
    )


def tag_layout(chip: ChipConfig) -> data.StructLayout:
    """The tag that travels with a row through the pipeline. ``above``: the row's layer is above the first."""
    return data.StructLayout({"valid": 1, "above": 1, "starts_word": 1, "ends_word": 1, "layer": range(chip.depth)})


class Learn(wiring.Component):
    """Updates the counters, one sample after another.

    Members
    -------
    ``i`` : In(stream verdict_layout)
        Samples that trigger an update, in stream order.
    ``done`` : Out(1), ``done_slot`` : Out(range(slots))
        The sample in slot ``done_slot`` is learned, and its slot is free.
    ``inputs`` : Out(InputReadSignature), ``activations`` : Out(ActivationReadSignature)
        On compact chips, learning uses data only in the cycle after its request, and makes no request in the cycle of a
        weight read.
    ``state`` : Out(LearnStateSignature)
        A weight read takes the banks from the MAC array for a cycle.
    ``busy`` : Out(1)
        The engine visits a word of a row in this cycle, or with Pc > 1 a word of a row in each bank.
    ``waiting`` : Out(1)
        A sample is here, or offered, and the engine visits no row.

    A sample takes Σ_l (rows with δ ≠ 0) × (words) cycles, twice as many on compact chips, and about 12 a layer to fill
    and drain the pipeline. With Pc > 1, count for the first layer only the rows of the bank that has most.
    """

    def __init__(self, chip: ChipConfig):
        self.chip = chip
        self._banked = chip.learn_rows > 1  # the first layer has a sweep of its own
        self._bank_bits = ceil_log2(chip.learn_rows)
        self._late = int(chip.pipelined)  # cycles by which L1 follows the read of a row
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
        self._add_accumulates(m)
        self._verdict = Signal(verdict_layout(chip), name="verdict")  # on the current sample
        self._layer = Signal(range(chip.depth), name="layer")  # of the current sweep
        self._first_layer = Const(0) if self._banked else self._layer == 0
        self._rows = RowLists(m, chip)
        self._words = Prefetcher(m, max(chip.words), numbered=True)
        self._word = Signal(word_layout(chip), name="word")
        self._request_words(m)
        self._hold_word(m)
        l0 = self._visit(m)
        tag, word, row, in_flight = self._read_row(m, l0)
        self._update_counters(m, tag, word, row)
        if chip.depth > 1:
            tag, ends = self._pass_errors_back(m, tag, word, row, in_flight)
        self._lists_complete = Signal(name="lists_complete")  # of the first layer's rows
        m.d.comb += self.busy.eq(l0)
        if self._banked:
            self._add_sweep(m, l0)
            if chip.depth > 1:
                self._list_errors(m, tag, in_flight, ends)
                self._space_words(m)
            else:
                self._list_rows(m)
        self._sequence(m)
        return m

    def _add_accumulates(self, m: Module) -> None:
        """Add an accumulate unit for each bank of counters."""
        self._accumulates = []
        for bank in range(self.chip.learn_rows):
            m.submodules[f"accumulate{bank}"] = accumulate = Accumulate(self.chip)
            wiring.connect(m, accumulate.counters, wiring.flipped(getattr(self.state.counters, f"bank{bank}")))
            self._accumulates.append(accumulate)

    # Words ------------------------------------------------------------------------------------------------------------

    def _request_words(self, m: Module) -> None:
        """Request the words of the layer: nonzero inputs in the first one, activations above it."""
        chip, words, sample, layer = self.chip, self._words, self._verdict.sample, self._layer
        last = words.next == Mux(self._first_layer, sample.words - 1, of_layer(layer, [w - 1 for w in chip.words]))
        enable = words.wanted
        if chip.compact:
            # The samples' memory has one read port: request a word only when there is room for it, and not while
            # the array waits for a read of weights.
            enable = words.fetching & ~words.fetched & (~words.valid | words.done) & ~self.state.weights.read
        if not self._banked:
            m.d.comb += [
                self.inputs.en.eq(enable & self._first_layer),
                self.inputs.slot.eq(sample.slot),
                self.inputs.position.eq(words.next),
            ]
        bases = [activation_base(chip, number) if number else 0 for number in range(chip.depth)]
        m.d.comb += [
            self.activations.en.eq(enable & ~self._first_layer),
            self.activations.slot.eq(sample.slot),
            self.activations.word.eq(of_layer(layer, bases) + words.next),
        ]
        words.request(enable, last)

    def _hold_word(self, m: Module) -> None:
        """The word in use, with its lanes and the neurons that errors may pass back to."""
        chip, words, word, lanes = self.chip, self._words, self._word, self.chip.array_synapses
        index = Mux(self._first_layer, self.inputs.data.index, words.fetched_number)
        addresses = [chip.counter_map.word_address(number, index) for number in range(chip.depth)]
        with m.If(words.done):
            m.d.sync += words.valid.eq(0)
        with m.If(words.moves):
            m.d.sync += [
                words.valid.eq(1),
                word.index.eq(index),
                word.last.eq(words.fetched_last),
                word.base.eq(of_layer(self._layer, addresses)),
                word.lanes.enable.eq(self.inputs.data.bits),
                word.lanes.positive.eq(self.inputs.data.bits),
            ]
            if chip.depth > 1:
                neurons = [(1 << width % lanes) - 1 for width in chip.layers[:-1]]  # of a layer's last word
                real = Mux(words.fetched_last, of_layer(self._layer, neurons), (1 << lanes) - 1)
                m.d.sync += word.in_window.eq(self.activations.in_window & real)
                with m.If(~self._first_layer):
                    active = self.activations.active
                    m.d.sync += word.lanes.eq(hidden_lanes(chip, self._layer, words.fetched_last, active))

    # Rows -------------------------------------------------------------------------------------------------------------

    def _visit(self, m: Module) -> Signal:
        """L0: read a row from the list. Above the first layer, the last row of a word waits until :mod:`.backward` has
        handed out the errors of the previous word."""
        rows, words = self._rows, self._words
        self._sweeping = Signal(name="sweeping")
        self._spaced = Signal(init=1, name="spaced")  # the banks have had time to take the errors of the previous word
        self._errors_left = Signal(init=1, name="errors_left")  # the errors of the previous word have left
        l0 = Signal()
        held = Signal()  # compact: accumulate needs a free cycle after each row
        if self.chip.compact:
            m.d.sync += held.eq(l0)
        may_end = self._first_layer | ~rows.last | (self._errors_left & self._spaced)
        m.d.comb += [
            l0.eq(self._sweeping & words.valid & rows.available & ~held & may_end),
            words.done.eq(l0 & rows.last),
        ]
        rows.read(l0)
        return l0

    def _read_row(self, m: Module, l0: Signal) -> tuple[data.View, data.View, data.View, list]:
        """L1: has the row. Returns its tag, its word, the row itself, and the tags of all rows in the pipeline."""
        l1 = Signal(tag_layout(self.chip))
        m.d.sync += [
            l1.valid.eq(l0),
            l1.above.eq(l0 & ~self._first_layer),
            l1.starts_word.eq(self._rows.first),
            l1.ends_word.eq(self._rows.last),
            l1.layer.eq(self._layer),
        ]
        l1_word = self._word  # on compact chips, the next word comes no earlier than the cycle after
        if not self.chip.compact:
            l1_word = Signal(word_layout(self.chip))
            m.d.sync += l1_word.eq(self._word)
        row = self._rows.pull.data
        in_flight = [l1]
        for _ in range(self._late):
            l1, l1_word, row = (delayed(m, value, 1) for value in (l1, l1_word, row))
            in_flight.append(l1)
        return l1, l1_word, row, in_flight

    def _update_counters(self, m: Module, tag: data.View, word: data.View, row: data.View) -> None:
        """L1: send the row's word to the bank that holds its counters."""
        for bank, accumulate in enumerate(self._accumulates):
            m.d.comb += [
                accumulate.valid.eq(tag.valid & (row.row[: self._bank_bits] == bank)),
                accumulate.i.address.eq(word.base + (row.row >> self._bank_bits)),
                accumulate.i.delta.eq(row.delta),
                accumulate.i.lanes.eq(word.lanes),
            ]

    def _pass_errors_back(self, m: Module, tag: data.View, word: data.View, row: data.View, in_flight: list) -> tuple:
        """L1: request the row's word of weights. L2: add it to the errors of the layer below. Returns the tag of L2,
        and for each row in the pipeline whether it ends a word, whose errors then are still to come."""
        chip, weights = self.chip, self.state.weights
        m.submodules.backward = self._backward = backward = Backward(chip)
        array_bits = ceil_log2(chip.array_rows)
        group = row.row >> array_bits
        addresses = [chip.weight_map.row_address(number, group) if number else 0 for number in range(chip.depth)]
        m.d.comb += [
            weights.read.eq(tag.above),
            weights.read_bank.eq(row.row[:array_bits]),
            weights.read_address.eq(word.index + of_layer(tag.layer, addresses)),
        ]
        delta = row.delta
        for _ in range(chip.read_latency + self._late):
            tag, word, delta = (delayed(m, value, 1) for value in (tag, word, delta))
            in_flight.append(tag)
        m.d.comb += [
            backward.valid.eq(tag.above),
            backward.delta.eq(delta),
            backward.weights.eq(delayed(m, weights.read_data, self._late)),
            backward.starts_word.eq(tag.starts_word),
            backward.ends_word.eq(tag.ends_word),
            backward.word.eq(word.index),
            backward.in_window.eq(word.in_window),
            backward.o.ready.eq(1),
        ]
        ends = [stage.above & stage.ends_word for stage in in_flight]
        if not self._banked:
            m.d.comb += self._errors_left.eq(backward.free & ~Cat(ends).any())
        return tag, ends

    # First layer, with Pc > 1 -----------------------------------------------------------------------------------------

    def _add_sweep(self, m: Module, l0: Signal) -> None:
        """Add the first layer's own sweep, which updates all banks at once."""
        m.submodules.sweep = self._sweep = sweep = Sweep(self.chip)
        wiring.connect(m, sweep.inputs, wiring.flipped(self.inputs))
        m.d.comb += [sweep.sample.eq(self._verdict.sample), self.busy.eq(l0 | sweep.busy)]
        for bank, accumulate in enumerate(self._accumulates):
            with m.If(sweep.valid[bank]):
                m.d.comb += [accumulate.valid.eq(1), accumulate.i.eq(sweep.updates[bank])]

    def _list_errors(self, m: Module, tag: data.View, in_flight: list, ends: list[Value]) -> None:
        """The errors of layer 1 are the rows of the first layer, and go to the lists of their banks."""
        backward, sweep = self._backward, self._sweep
        m.d.comb += [backward.first_layer.eq(tag.layer == 1), sweep.push.eq(backward.banks)]
        m.d.comb += sweep.rows.eq(backward.bank_rows)
        m.d.comb += self._lists_complete.eq(backward.free & ~Cat(ends).any())
        if self.chip.depth > 2:  # with a depth of 2 all errors are the first layer's
            others = [end & (stage.layer != 1) for end, stage in zip(ends, in_flight, strict=True)]
            m.d.comb += self._errors_left.eq(backward.gone & ~Cat(others).any())

    def _space_words(self, m: Module) -> None:
        """The errors of a word leave within as many cycles as a bank has lanes."""
        bank_lanes = self.chip.array_synapses // self.chip.learn_rows
        spacing = Signal(range(bank_lanes))
        m.d.comb += self._spaced.eq(spacing == 0)
        with m.If(self._words.done):
            m.d.sync += spacing.eq(bank_lanes - 1)
        with m.Elif(~self._spaced):
            m.d.sync += spacing.eq(spacing - 1)

    def _list_rows(self, m: Module) -> None:
        """In a network of one layer, the two rows of the verdict go to the lists of their banks."""
        push, bits = self._rows.push, self._bank_bits
        m.d.comb += self._lists_complete.eq(1)
        for bank in range(self.chip.learn_rows):
            m.d.comb += self._sweep.push[bank].eq(push.en & (push.data.row[:bits] == bank))
            m.d.comb += self._sweep.rows[bank].row.eq(push.data.row >> bits)
            m.d.comb += self._sweep.rows[bank].delta.eq(push.data.delta)

    # Sequence ---------------------------------------------------------------------------------------------------------

    def _sequence(self, m: Module) -> None:
        """A sample: list its two rows of the last layer, sweep layer after layer, and with Pc > 1 the first layer."""
        self._finished = finished = Signal(name="finished")  # the sample's last row is read
        written = Signal(self._late + self._accumulates[-1].latency)  # shifts `finished` until its counters are written
        m.d.sync += [written.eq(Cat(finished, written)), self.done.eq(written[-1])]
        with m.If(finished):
            m.d.sync += self.done_slot.eq(self._verdict.sample.slot)
        m.d.comb += self.waiting.eq((self.i.valid | ~self.i.ready) & ~self.busy)
        sweeps_here = not self._banked or self.chip.depth > 1
        rows = self._rows
        with m.FSM():
            with m.State("IDLE"):
                # The previous sample's counters are written in time: learning reads the next ones some 5 cycles later.
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += [self._verdict.eq(self.i.payload), self._layer.eq(self.chip.depth - 1), *rows.clear()]
                if self._banked:
                    m.d.comb += self._sweep.clear.eq(1)
                with m.If(self.i.valid):
                    m.next = "TRUE"
            with m.State("TRUE"):
                m.d.comb += rows.append(self._verdict.sample.label, 1)
                m.d.sync += self._words.start(sweeps_here)
                m.next = "RIVAL"
            with m.State("RIVAL"):
                m.d.comb += rows.append(self._verdict.rival, -1)
                m.d.sync += [rows.complete.eq(1), rows.writing.eq(~rows.reading)]
                m.next = "SWEEP" if sweeps_here else "LISTED"
            with m.State("SWEEP"):
                self._sweep_layers(m)
            if self._banked:
                with m.State("LISTED"), m.If(self._lists_complete):
                    m.d.comb += self._sweep.start.eq(1)
                    m.next = "FIRST LAYER"
                    with m.If(self._sweep.finished):
                        m.d.comb += finished.eq(1)
                        m.next = "IDLE"
                with m.State("FIRST LAYER"), m.If(self._sweep.finished):
                    m.d.comb += finished.eq(1)
                    m.next = "IDLE"

    def _sweep_layers(self, m: Module) -> None:
        """State ``SWEEP``: go down a layer when one is finished, until the first, or until no row has an error."""
        rows, words, layer, finished = self._rows, self._words, self._layer, self._finished
        m.d.comb += self._sweeping.eq(1)
        ends_layer = words.done & self._word.last
        if self.chip.depth > 1:
            m.d.comb += [rows.push.en.eq(self._backward.o.valid), rows.push.data.eq(self._backward.o.payload)]
            with m.If(~rows.complete & self._errors_left):
                m.d.sync += rows.finish()
            with m.If(ends_layer & (layer != (1 if self._banked else 0))):
                m.d.sync += [layer.eq(layer - 1), rows.reading.eq(~rows.reading), rows.complete.eq(0)]
                m.d.sync += words.start()
        m.d.comb += finished.eq((ends_layer & self._first_layer) | (rows.complete & rows.empty))
        if self._banked:
            with m.If(ends_layer & (layer == 1)):
                m.next = "LISTED"
        with m.If(finished):
            m.d.sync += [words.fetching.eq(0), words.fetched.eq(0), words.valid.eq(0)]
            m.next = "IDLE"
