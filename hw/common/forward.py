"""Forward: takes samples through all layers and keeps the MAC array busy.

    v_o = Σ_i a_i · w_oi        (arXiv 2410.09734, eq 1 and 7; golden: popflip.golden.common.forward.forward)

``P`` rows × ``N`` synapses a cycle::

    scheduler ─▶ inputs ─▶ weights ─▶ MAC array ─▶ Σ words ─▶ v ─┬▶ v > 0, |v| ≤ WINDOW ─▶ activations
       S0          S1         S2          …                      └▶ last layer: o, to the error unit

* S0 requests the inputs of the scheduler's current word (:mod:`.scheduler`).
* S1 has the inputs, turns them into lanes of −1, 0, +1, and requests the weights. Until the request is taken, it holds
  S0 and S1.
* S2 has the weights. From here on nothing waits: the array multiplies (:mod:`.mac_array`), the sums of rows add up
  (:mod:`.row_accumulator`), and finished rows leave as activations or as results.

If biases are apart (:attr:`.ChipConfig.bias_apart`), the first layer's sums start from them. S0 then skips a nonzero
word that holds only the bias. If that is a sample's only word, S0 issues it and S1 enables no lane.

A last layer has few rows, ten for digits, and would leave most of a large array idle. So the array is folded there
(:attr:`.ChipConfig.fold`): each of ``F`` parts of its rows computes another word of the same rows.

LBE (arXiv 2412.00119) has no bias, and its inputs are ±1. The sums of all layers leave, those of one sample before
those of the next. A layer's weights change with every sample, so the next sample waits until they are settled.
"""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from popflip.hw.common.mac_array import MacArray
from popflip.hw.common.row_accumulator import RowAccumulator
from popflip.hw.common.scheduler import Scheduler
from popflip.hw.config import ChipConfig
from popflip.hw.layouts import activation_base, lane_layout, result_layout, sample_layout
from popflip.hw.lib.arithmetic import compare_magnitude
from popflip.hw.lib.lookup import of_layer
from popflip.hw.lib.stream import Queue, delayed
from popflip.hw.memory.activations import hidden_lanes
from popflip.hw.memory.signatures import (
    ActivationReadSignature,
    ActivationWriteSignature,
    ArrayReadSignature,
    BiasReadSignature,
    InputReadSignature,
)

RESULT_GROUPS = 2
"""Groups of sums that the output queue holds. A compact chip has no queue: it issues a group's last word only when the
consumer is ready for the group."""


def active(chip: ChipConfig, v: Value) -> Value:
    """Activation of a neuron, 1 is +1: ``v > 0`` (GFT) or ``v ≥ 0`` (LBE)."""
    return ~v[-1] if chip.fires_at_zero else v > 0


def tag_layout(chip: ChipConfig) -> data.StructLayout:
    """The tag that travels with a word through the pipeline."""
    return data.StructLayout(
        {
            "valid": 1,
            "context": 1,
            "layer": range(chip.depth),
            "starts_row": 1,
            "ends_row": 1,
            "ends_layer": 1,
            **({"group": range(chip.groups[0])} if chip.bias_apart else {}),
        }
    )


class Forward(wiring.Component):
    """Takes samples through all layers, ``P × N`` synapses a cycle.

    Members
    -------
    ``i`` : In(stream sample_layout)
    ``o`` : Out(stream result_layout)
        The sums of the last layer (LBE: of every layer), group after group, samples in the order they came.
    ``window`` : In(L−1 × range)
        GFT only. The largest |v| within the window, for each hidden layer.
    ``settled`` : In(L)
        LBE only. Bit ``l`` is high for a cycle when layer ``l`` has learned from the sample last issued to it.
    ``inputs`` : Out(InputReadSignature), ``activations`` : Out(ActivationReadSignature)
    ``hold`` : In(1)
        Forward must not read inputs or activations in this cycle.
    ``weights`` : Out(ArrayReadSignature), ``weights_ready`` : In(1)
        S0 and S1 hold a request until a cycle in which ``weights_ready`` is high.
    ``bias`` : Out(BiasReadSignature)
        Only if biases are apart.
    ``store`` : Out(ActivationWriteSignature)
        Hidden activations.
    ``busy`` : Out(1)
        The array takes a word in this cycle.
    ``waiting`` : Out(1)
        A sample is here, or offered, and the array takes no word.

    A sample takes Σ_l groups[l] × array_words[l] cycles of the array; zero words of the first layer, and a bias that is
    apart, take none. Two samples hide each other's latency if each layer takes at least :attr:`latency` cycles; on
    pipelined chips the last layer may take less.
    """

    def __init__(self, chip: ChipConfig):
        self.chip = chip
        self.mac = MacArray(chip)
        # S0 to S1 to S2, the array, the sum over words, activations
        self.latency = 1 + chip.read_latency + self.mac.latency + 2 + exact_log2(chip.fold)
        super().__init__(
            {
                "i": In(stream.Signature(sample_layout(chip))),
                "o": Out(stream.Signature(result_layout(chip))),
                **(
                    {"window": In(data.ArrayLayout(range(chip.v_max + 1), max(1, chip.depth - 1)))}
                    if chip.windowed
                    else {"settled": In(chip.depth)}
                ),
                "inputs": Out(InputReadSignature(chip)),
                "activations": Out(ActivationReadSignature(chip, chip.fold)),
                "hold": In(1),
                "weights": Out(ArrayReadSignature(chip)),
                "weights_ready": In(1),
                **({"bias": Out(BiasReadSignature(chip))} if chip.bias_apart else {}),
                "store": Out(ActivationWriteSignature(chip)),
                "busy": Out(1),
                "waiting": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.mac = self.mac
        scheduler = Scheduler(m, self.chip)
        scheduler.accept(self.i)
        issue, s1_free = self._issue(m, scheduler)
        s1, s1_lanes = self._operands(m, scheduler, issue, s1_free)
        tag_before, tag = self._multiply(m, s1, s1_lanes)
        rows = RowAccumulator(m, self.chip)
        done = self._accumulate(m, rows, tag_before, tag)
        last_layer = done.layer == self.chip.depth - 1
        if self.chip.depth > 1:
            self._store_activations(m, scheduler, rows, done, ~last_layer)
        self._give_results(m, scheduler, rows, done, last_layer)
        return m

    def _issue(self, m: Module, scheduler: Scheduler) -> tuple[Signal, Signal]:
        """S0: request the inputs of a word, unless S1 holds or the results would have no room. Returns ``issue``, high
        if S0 issues a word, and ``s1_free``, which S1 drives."""
        chip = self.chip
        groups_out = Signal(range(RESULT_GROUPS + 1))  # groups of sums that were issued and have not left `o`
        s1_free = Signal()
        issue = Signal()
        gives_results = Const(1) if chip.layerwise else scheduler.last_layer
        result_issued = issue & scheduler.ends_row & gives_results
        # A consumer that is ready stays ready until sums come.
        full = (groups_out != 0) | ~self.o.ready if chip.compact else groups_out == RESULT_GROUPS
        m.d.comb += issue.eq(scheduler.running & s1_free & ~self.hold & ~(gives_results & scheduler.ends_row & full))
        m.d.sync += groups_out.eq(groups_out + result_issued - (self.o.valid & self.o.ready))
        scheduler.advance(issue)
        scheduler.choose(issue, self.settled if chip.layerwise else None)

        layer, word = scheduler.layer, scheduler.word
        base = of_layer(layer, [activation_base(chip, index) if index else 0 for index in range(chip.depth)])
        fold_bits = exact_log2(chip.fold)
        m.d.comb += [
            self.inputs.en.eq(issue & (layer == 0)),
            self.inputs.slot.eq(scheduler.slot),
            self.inputs.position.eq(word),
            self.activations.en.eq(issue & (layer != 0)),
            self.activations.slot.eq(scheduler.slot),
            self.activations.word.eq(
                base + (Mux(scheduler.last_layer, word << fold_bits, word) if fold_bits else word)
            ),
        ]
        return issue, s1_free

    def _operands(self, m: Module, scheduler: Scheduler, issue: Signal, s1_free: Signal) -> tuple[data.View, data.View]:
        """S1: has the inputs and requests the weights. Returns the stage's tag and lanes."""
        chip = self.chip
        s1 = Signal(tag_layout(chip))
        s1_word = Signal.like(scheduler.word, name="s1_word")
        s1_row_address = Signal.like(scheduler.row_address, name="s1_row_address")
        s1_moves = ~s1.valid | self.weights_ready
        m.d.comb += s1_free.eq(s1_moves)
        with m.If(s1_moves):
            m.d.sync += [
                s1.valid.eq(issue),
                s1.context.eq(scheduler.current),
                s1.layer.eq(scheduler.layer),
                s1.starts_row.eq(scheduler.word == 0),
                s1.ends_row.eq(scheduler.ends_row),
                s1.ends_layer.eq(scheduler.ends_layer),
                *([s1.group.eq(scheduler.group)] if chip.bias_apart else []),
                s1_word.eq(scheduler.word),
                s1_row_address.eq(scheduler.row_address),
            ]

        first_layer = s1.layer == 0
        s1_lanes = Signal(data.ArrayLayout(lane_layout(chip), chip.fold))
        if chip.signed_inputs:
            signs = Mux(first_layer, self.inputs.data.bits, self.activations.active)
            m.d.comb += s1_lanes[0].as_value().eq(hidden_lanes(chip, s1.layer, s1.ends_row, signs))
        else:
            self._first_layer_lanes(m, scheduler, s1_moves, s1_lanes)
            if chip.depth > 1 and chip.fold == 1:
                with m.If(~first_layer):
                    lanes = hidden_lanes(chip, s1.layer, s1.ends_row, self.activations.active)
                    m.d.comb += s1_lanes[0].as_value().eq(lanes)
            elif chip.depth > 1:
                self._folded_lanes(m, scheduler, issue, s1, s1_lanes)
        m.d.comb += [
            self.weights.read.eq(s1.valid),
            self.weights.address.eq(s1_row_address + Mux(first_layer, self.inputs.data.index, s1_word)),
            self.busy.eq(s1.valid & self.weights_ready),
            self.waiting.eq((scheduler.holds_samples | self.i.valid) & ~self.busy),
        ]
        return s1, s1_lanes

    def _first_layer_lanes(self, m: Module, scheduler: Scheduler, s1_moves: Value, s1_lanes: data.View) -> None:
        """Lanes of inputs of 0 and +1, the same for all parts of a folded array."""
        bits = self.inputs.data.bits
        enable = bits
        if self.chip.bias_apart:
            alone = Signal()  # the bias is the sample's only nonzero word
            with m.If(s1_moves):
                m.d.sync += alone.eq(scheduler.sample(scheduler.current).words == 1)
            enable = bits & ~alone.replicate(self.chip.array_synapses)
        for part in s1_lanes:
            m.d.comb += [part.enable.eq(enable), part.positive.eq(bits)]

    def _folded_lanes(self, m: Module, scheduler: Scheduler, issue: Value, s1: data.View, s1_lanes: data.View) -> None:
        """Lanes of the parts of a folded array above the first layer. In the last layer each part has a word of its
        own; in other layers all parts have the same word."""
        chip = self.chip
        width, last = chip.array_synapses, chip.depth - 1
        active = self.activations.active
        parts = hidden_lanes(chip, Const(last), s1.ends_row, active)
        for number, part in enumerate(s1_lanes):
            with m.If(s1.layer == last):
                m.d.comb += [
                    part.enable.eq(parts.word_select(number, width)),
                    part.positive.eq(parts.word_select(chip.fold + number, width)),
                ]
        if chip.depth == 2:
            return
        place = Signal(exact_log2(chip.fold))  # of the requested word among those read
        with m.If(issue):
            m.d.sync += place.eq(scheduler.word)
        hidden = hidden_lanes(chip, s1.layer, s1.ends_row, active.word_select(place, width))
        with m.If((s1.layer != 0) & (s1.layer != last)):
            m.d.comb += [part.as_value().eq(hidden) for part in s1_lanes]

    def _multiply(self, m: Module, s1: data.View, s1_lanes: data.View) -> tuple[data.View, data.View]:
        """S2: has the weights; the array multiplies. Returns the tags of its output in the next and in this cycle."""
        stages = self.chip.read_latency - 1
        s2 = Signal(tag_layout(self.chip))
        s2_lanes = Signal.like(s1_lanes, name="s2_lanes")
        m.d.sync += [s2.eq(s1), s2.valid.eq(self.busy), s2_lanes.eq(s1_lanes)]
        s2 = delayed(m, s2, stages)
        m.d.comb += [self.mac.weights.eq(self.weights.data), self.mac.lanes.eq(delayed(m, s2_lanes, stages))]
        tag_before = delayed(m, s2, self.mac.latency - 1)
        return tag_before, delayed(m, tag_before, 1)

    def _accumulate(self, m: Module, rows: RowAccumulator, tag_before: data.View, tag: data.View) -> data.View:
        """Sums over the words of a row. Returns the tag of rows that are complete."""
        done = Signal(tag_layout(self.chip))
        m.d.sync += [done.eq(tag), done.valid.eq(tag.valid & tag.ends_row)]
        starts = rows.biases(tag_before, tag, self.bias if self.chip.bias_apart else None)
        rows.add(tag, starts, self.mac.o)
        return done

    def _store_activations(
        self, m: Module, scheduler: Scheduler, rows: RowAccumulator, done: data.View, hidden: Value
    ) -> None:
        """Write the activations of hidden layers, and whether each neuron is within its window. A complete layer makes
        the next one ready."""
        chip, depth, count, lanes = self.chip, self.chip.depth, self.chip.array_rows, self.chip.array_synapses
        done_group = Signal(range(max(chip.groups)))  # groups leave in the order in which they were issued
        with m.If(done.valid):
            m.d.sync += done_group.eq(Mux(done.ends_layer, 0, done_group + 1))
        if chip.windowed:
            window = Array(self.window[index] for index in range(depth - 1))[done.layer]
            in_window = Cat(~compare_magnitude(rows.v[row], window)[0] for row in range(count))
            m.d.sync += self.store.in_window.eq(in_window)
        if count >= lanes:
            group_word = done_group << exact_log2(count // lanes)
        else:
            group_word = done_group >> exact_log2(lanes // count)
        bases = [activation_base(chip, index + 1) if index < depth - 1 else 0 for index in range(depth)]
        m.d.sync += [
            self.store.write.eq(done.valid & hidden),
            self.store.slot.eq(scheduler.sample(done.context).slot),
            self.store.word.eq(of_layer(done.layer, bases) + group_word),
            self.store.part.eq(done_group),
            self.store.active.eq(Cat(active(chip, rows.v[row]) for row in range(count))),
        ]
        stored = Signal()
        stored_context = Signal()
        m.d.sync += [stored.eq(done.valid & done.ends_layer & hidden), stored_context.eq(done.context)]
        scheduler.layer_stored(stored, stored_context)

    def _give_results(
        self, m: Module, scheduler: Scheduler, rows: RowAccumulator, done: data.View, last_layer: Value
    ) -> None:
        """Hand out the sums of the last layer, or of every layer, through a queue."""
        chip, stages = self.chip, exact_log2(self.chip.fold)
        sums = rows.folded(stages)
        finals = [(count - 1) % chip.array_rows for count in chip.rows]  # last row of a layer's last group
        final = of_layer(done.layer, finals) if chip.layerwise else finals[-1]
        results = self.o
        if not chip.compact:
            m.submodules.results = queue = Queue(result_layout(chip), RESULT_GROUPS)
            wiring.connect(m, queue.o, wiring.flipped(self.o))
            results = queue.i
        m.d.comb += [
            results.valid.eq(delayed(m, done.valid & (1 if chip.layerwise else last_layer), stages)),
            results.payload.items.as_value().eq(Cat(sums)),
            results.payload.final.eq(Mux(delayed(m, done.ends_layer, stages), final, chip.array_rows - 1)),
            results.payload.last.eq(delayed(m, done.ends_layer, stages)),
            results.payload.tag.eq(delayed(m, scheduler.leaving_sample(done.context), stages)),
        ]
        scheduler.release(done.valid & last_layer & done.ends_layer, done.context)
