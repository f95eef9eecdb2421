"""Forward: the popcount MAC array, and the pipeline that keeps it fed.

    v_o = Σ_i a_i · w_oi        (arXiv 2410.09734, eq 1 and 7; golden: popflip.golden.common.forward.forward)

``P`` rows × ``N`` synapses a cycle. With a_i and w_oi of −1, 0, +1 a product is one of two bits, ``plus`` and
``minus``, and the sum the difference of two popcounts::

    issue ─▶ inputs ─▶ weights ─▶ plus, minus ─▶ popcount ─▶ Σ words ─▶ v ─┬▶ v > 0, |v| ≤ WINDOW ─▶ activations
     S0        S1         S2          S2            …                      └▶ last layer: o, to the error unit

A layer needs the one below to be whole, and the pipeline is several cycles long, so two samples go through in turn:
while one drains, the other's words fill the array. The last layers leave in the order the samples came.

Where biases are apart (:attr:`.ChipConfig.bias_apart`) the first layer's sums start from them, and the word of a list
that holds nothing else is not issued, or, if it is the only one, with no input enabled.

A last layer has few rows, ten for digits, and would leave most of a large array idle. There the array is folded: ``F``
parts of its rows each take another word of the same rows, and their sums are added up (:attr:`.ChipConfig.fold`).

LBE (arXiv 2412.00119) has no bias, inputs of ±1 in the first layer too, an activation of +1 at ``v = 0``, and wants the
sums of every layer, all of a sample before those of the next. A layer's weights change with every sample, so it waits
until they are settled.
"""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from popflip.golden.config import Rule
from popflip.hw.common.mac_array import MacArray
from popflip.hw.config import ChipConfig
from popflip.hw.layouts import activation_base, lane_layout, result_layout, sample_layout, sum_shape
from popflip.hw.lib.arithmetic import compare_magnitude
from popflip.hw.lib.lookup import of_layer
from popflip.hw.lib.stream import Queue, delayed
from popflip.hw.memory.signatures import (
    ActivationReadSignature,
    ActivationWriteSignature,
    ArrayReadSignature,
    BiasReadSignature,
    InputReadSignature,
)

RESULT_GROUPS = 2
"""Groups of sums that may wait for whoever compares them. On a compact chip none: one is issued if it will be taken."""


def hidden_lanes(chip: ChipConfig, layer, last_word, active):
    """The inputs of a layer that is not fed with 0 and 1: ±1 for a neuron, +1 for the bias, 0 for pads
    (``lane_layout``; with more lanes if ``active`` has)."""
    lanes = len(active)
    full = (1 << lanes) - 1
    real = [synapses % lanes or lanes for synapses in chip.synapses]  # lanes of a layer's last word
    enable = of_layer(layer, [(1 << count) - 1 for count in real])
    bias = of_layer(layer, [chip.bias << count - 1 for count in real])
    return Cat(Mux(last_word, enable, full), Mux(last_word, active | bias, active))


def bias_value(chip: ChipConfig, weight: Value) -> Value:
    """What a bias adds to its neuron's sum: its weight."""
    return Mux(weight, 1, -1) if chip.weight_bits == 1 else weight.as_signed()


def active(chip: ChipConfig, v: Value) -> Value:
    """Activation of a neuron, 1 is +1: ``v > 0`` (GFT) or ``v ≥ 0`` (LBE)."""
    return v > 0 if chip.rule == Rule.GFT else ~v[-1]


class Forward(wiring.Component):
    """Takes samples through all layers, ``P × N`` synapses a cycle.

    Members
    -------
    ``i`` : In(stream sample_layout)
    ``o`` : Out(stream result_layout)
        The last layer's sums (LBE: each layer's), group after group, samples in the order they came.
    ``window`` : In(L−1 × range)
        GFT. Largest |v| at which a hidden neuron is taught, a layer.
    ``settled`` : In(L)
        LBE. Bit ``l``, for a cycle: weights of layer ``l`` are what the sample last sent through it left.
    ``inputs`` : Out(InputReadSignature), ``activations`` : Out(ActivationReadSignature)
    ``hold`` : In(1)
        Neither is asked in this cycle.
    ``weights`` : Out(ArrayReadSignature), ``weights_ready`` : In(1)
        S0 and S1 hold a request until a cycle in which ``weights_ready`` is high.
    ``bias`` : Out(BiasReadSignature), where biases are apart
    ``store`` : Out(ActivationWriteSignature)
        Hidden activations.
    ``busy`` : Out(1)
        The array takes a word in this cycle.
    ``waiting`` : Out(1)
        A sample is here, or offered, and the array takes nothing.

    A sample takes Σ_l groups[l] × array_words[l] cycles of the array (first-layer words without a one are not there,
    nor a bias that is apart), and two samples hide each other's latency where a layer takes at least :attr:`latency`
    cycles; in fast chips the last one need not.
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
                    if chip.rule == Rule.GFT
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
        chip = self.chip
        rows, lanes, depth = chip.array_rows, chip.array_synapses, chip.depth
        gft = chip.rule == Rule.GFT
        m.submodules.mac = self.mac

        # Two samples in turn ------------------------------------------------------------------------------------------
        places = {
            "last_word": range(max(chip.array_words)),
            "last_group": range(max(chip.groups)),
            "address": range(chip.weight_map.array_depth),  # of the first word
        }

        def look_up(layer, listed) -> dict[str, Value]:
            """A layer's :data:`places`; ``listed`` words are in the first one's list."""
            last_words = of_layer(layer, [words - 1 for words in chip.array_words])
            last_listed = listed - 1
            if chip.bias_apart:  # the last one listed is the bias
                last_listed = Mux(listed == 1, 0, listed - 2)
            return {
                "last_word": Mux(layer == 0, last_listed, last_words),
                "last_group": of_layer(layer, [groups - 1 for groups in chip.groups]),
                "address": of_layer(layer, chip.weight_map.base),
            }

        context_layout = data.StructLayout(
            {
                "valid": 1,  # a sample is here, until its last sums have left, or `hands_on`: until they begin
                "ready": 1,  # `layer` may be issued: the layer below is whole
                "layer": range(depth),
                "sample": sample_layout(chip),
                **(places if chip.pipelined else {}),  # of `layer`, looked up beforehand
            }
        )
        # A last layer may be shorter than the pipeline, so its sample makes room for the next one when it begins. When
        # another sample of the same context begins with its own, all sums of the first one have been added up, for
        # they were before its hidden layers in the pipeline.
        hands_on = chip.pipelined and gft and depth > 1
        context = Array(Signal(context_layout, name=f"context{index}") for index in range(2))
        load = Signal()  # the context the next sample goes into; they alternate
        turn = Signal()  # the context whose last layer is to be issued next; they alternate too
        m.d.comb += self.i.ready.eq(~context[load].valid)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                context[load].valid.eq(1),
                context[load].ready.eq(1),
                context[load].layer.eq(0),
                context[load].sample.eq(self.i.payload),
                load.eq(~load),
            ]
            if chip.pipelined:
                found = look_up(Const(0), self.i.payload.words)
                m.d.sync += [context[load][name].eq(value) for name, value in found.items()]

        # S0: issue ----------------------------------------------------------------------------------------------------
        running = Signal()  # a layer of a sample is being issued …
        current = Signal()  # … of this context
        layer = Signal(range(depth))
        word = Signal(range(max(chip.array_words)))  # of the row, or of the sample's list in the first layer
        word_last = Signal.like(word)
        group = Signal(range(max(chip.groups)))
        group_last = Signal.like(group)
        row_address = Signal(range(chip.weight_map.array_depth))  # of the group's first word

        groups_out = Signal(range(RESULT_GROUPS + 1))  # groups of sums issued that have not left `o`
        last_layer = layer == depth - 1
        ends_row = word == word_last
        ends_layer = ends_row & (group == group_last)
        s1_free = Signal()
        issue = Signal()
        gives_results = last_layer if gft else Const(1)
        result_issued = issue & ends_row & gives_results
        # What takes sums goes on doing so while none come.
        full = (groups_out != 0) | ~self.o.ready if chip.compact else groups_out == RESULT_GROUPS
        m.d.comb += issue.eq(running & s1_free & ~self.hold & ~(gives_results & ends_row & full))
        m.d.sync += groups_out.eq(groups_out + result_issued - (self.o.valid & self.o.ready))

        with m.If(issue):
            m.d.sync += word.eq(Mux(ends_row, 0, word + 1))
            with m.If(ends_row):
                m.d.sync += [group.eq(group + 1), row_address.eq(row_address + of_layer(layer, chip.array_words))]

        if hands_on:
            leaving = Array(Signal(sample_layout(chip), name=f"leaving{index}") for index in range(2))
            slot = Signal(range(chip.slots))  # of the sample that is being issued
        else:
            slot = context[current].sample.slot

        # What to issue next: the other sample where it can go, else the same one, else nothing.
        if gft:

            def eligible(index):
                return context[index].ready & ((context[index].layer != depth - 1) | (turn == index))

        else:
            unsettled = Signal(depth)  # layers a sample went into, and whose weights may yet change
            m.d.sync += unsettled.eq(unsettled & ~self.settled)

            def eligible(index):
                return context[index].ready & (turn == index) & ~unsettled.bit_select(context[index].layer, 1)

        other_can = eligible(~current)
        same_can = eligible(current)
        chosen = Mux(other_can, ~current, current)
        with m.If(~running | (issue & ends_layer)):
            m.d.sync += running.eq(other_can | same_can)
            with m.If(other_can | same_can):
                next_layer = context[chosen].layer
                if chip.pipelined:
                    place = {name: context[chosen][name] for name in places}
                else:
                    place = look_up(next_layer, context[chosen].sample.words)
                m.d.sync += [
                    current.eq(chosen),
                    context[chosen].ready.eq(0),
                    layer.eq(next_layer),
                    word.eq(0),
                    group.eq(0),
                    group_last.eq(place["last_group"]),
                    word_last.eq(place["last_word"]),
                    row_address.eq(place["address"]),
                ]
                if hands_on:
                    m.d.sync += slot.eq(context[chosen].sample.slot)
                with m.If(next_layer == depth - 1):
                    m.d.sync += turn.eq(~turn)
                    if hands_on:
                        m.d.sync += [leaving[chosen].eq(context[chosen].sample), context[chosen].valid.eq(0)]
                if not gft:
                    m.d.sync += unsettled.eq((unsettled & ~self.settled) | (1 << next_layer))

        base = of_layer(layer, [activation_base(chip, index) if index else 0 for index in range(depth)])
        fold_bits = exact_log2(chip.fold)
        m.d.comb += [
            self.inputs.en.eq(issue & (layer == 0)),
            self.inputs.slot.eq(slot),
            self.inputs.position.eq(word),
            self.activations.en.eq(issue & (layer != 0)),
            self.activations.slot.eq(slot),
            self.activations.word.eq(base + (Mux(last_layer, word << fold_bits, word) if fold_bits else word)),
        ]

        # S1: the inputs are here, the weights are asked for -----------------------------------------------------------
        tag_layout = data.StructLayout(
            {
                "valid": 1,
                "context": 1,
                "layer": range(depth),
                "starts_row": 1,
                "ends_row": 1,
                "ends_layer": 1,
                **({"group": range(chip.groups[0])} if chip.bias_apart else {}),
            }
        )
        s1 = Signal(tag_layout)
        s1_word = Signal.like(word)
        s1_row_address = Signal.like(row_address)
        s1_moves = ~s1.valid | self.weights_ready
        m.d.comb += s1_free.eq(s1_moves)
        with m.If(s1_moves):
            m.d.sync += [
                s1.valid.eq(issue),
                s1.context.eq(current),
                s1.layer.eq(layer),
                s1.starts_row.eq(word == 0),
                s1.ends_row.eq(ends_row),
                s1.ends_layer.eq(ends_layer),
                *([s1.group.eq(group)] if chip.bias_apart else []),
                s1_word.eq(word),
                s1_row_address.eq(row_address),
            ]

        first_layer = s1.layer == 0
        s1_lanes = Signal(data.ArrayLayout(lane_layout(chip), chip.fold))
        if not gft:
            signs = Mux(first_layer, self.inputs.data.bits, self.activations.active)
            m.d.comb += s1_lanes[0].as_value().eq(hidden_lanes(chip, s1.layer, s1.ends_row, signs))
        else:
            bits = self.inputs.data.bits
            enable = bits
            if chip.bias_apart:
                alone = Signal()  # the bias is the only word
                with m.If(s1_moves):
                    m.d.sync += alone.eq(context[current].sample.words == 1)
                enable = bits & ~alone.replicate(lanes)
            for part in s1_lanes:
                m.d.comb += [part.enable.eq(enable), part.positive.eq(bits)]
            if depth > 1 and not fold_bits:
                with m.If(~first_layer):
                    m.d.comb += (
                        s1_lanes[0].as_value().eq(hidden_lanes(chip, s1.layer, s1.ends_row, self.activations.active))
                    )
            elif depth > 1:
                self._folded_lanes(m, s1_lanes, s1, issue, word)
        m.d.comb += [
            self.weights.read.eq(s1.valid),
            self.weights.address.eq(s1_row_address + Mux(first_layer, self.inputs.data.index, s1_word)),
            self.busy.eq(s1.valid & self.weights_ready),
            self.waiting.eq((context[0].valid | context[1].valid | self.i.valid) & ~self.busy),
        ]

        # S2: the weights are here; from here on nothing waits ---------------------------------------------------------
        s2 = Signal(tag_layout)
        s2_lanes = Signal.like(s1_lanes)
        m.d.sync += [s2.eq(s1), s2.valid.eq(self.busy), s2_lanes.eq(s1_lanes)]
        s2 = delayed(m, s2, chip.read_latency - 1)
        m.d.comb += [
            self.mac.weights.eq(self.weights.data),
            self.mac.lanes.eq(delayed(m, s2_lanes, chip.read_latency - 1)),
        ]
        tag_before = delayed(m, s2, self.mac.latency - 1)
        tag = delayed(m, tag_before, 1)

        # Σ over the words of the row ----------------------------------------------------------------------------------
        v = Signal(data.ArrayLayout(sum_shape(chip), rows))
        done = Signal(tag_layout)
        m.d.sync += [done.eq(tag), done.valid.eq(tag.valid & tag.ends_row)]
        starts: list[Value] = [Const(0)] * rows
        if chip.bias_apart:
            m.d.comb += [
                self.bias.en.eq(tag_before.valid & tag_before.starts_row & (tag_before.layer == 0)),
                self.bias.group.eq(tag_before.group),
            ]
            starts = [Mux(tag.layer == 0, bias_value(chip, bias), 0) for bias in self.bias.data]
        with m.If(tag.valid):
            for row, start in enumerate(starts):
                m.d.sync += v[row].eq(Mux(tag.starts_row, start, v[row]) + self.mac.o[row])

        # Hidden layers: activation and window -------------------------------------------------------------------------
        done_group = Signal(range(max(chip.groups)))  # groups leave in the order in which they were issued
        with m.If(done.valid):
            m.d.sync += done_group.eq(Mux(done.ends_layer, 0, done_group + 1))
        done_last_layer = done.layer == depth - 1
        finished = context[done.context]
        if depth > 1:
            if gft:
                window = Array(self.window[index] for index in range(depth - 1))[done.layer]
                in_window = Cat(~compare_magnitude(v[row], window)[0] for row in range(rows))
                m.d.sync += self.store.in_window.eq(in_window)
            group_word = (
                (done_group << (rows // lanes).bit_length() - 1)
                if rows >= lanes
                else (done_group >> (lanes // rows).bit_length() - 1)
            )
            base = of_layer(
                done.layer, [activation_base(chip, index + 1) if index < depth - 1 else 0 for index in range(depth)]
            )
            m.d.sync += [
                self.store.write.eq(done.valid & ~done_last_layer),
                self.store.slot.eq(finished.sample.slot),
                self.store.word.eq(base + group_word),
                self.store.part.eq(done_group),
                self.store.active.eq(Cat(active(chip, v[row]) for row in range(rows))),
            ]
            stored = Signal()
            stored_context = Signal()
            m.d.sync += [
                stored.eq(done.valid & done.ends_layer & ~done_last_layer),
                stored_context.eq(done.context),
            ]
            above = Signal(range(depth))
            m.d.comb += above.eq(context[stored_context].layer + 1)
            with m.If(stored):
                m.d.sync += [
                    context[stored_context].ready.eq(1),
                    context[stored_context].layer.eq(above),
                ]
                if chip.pipelined:
                    found = look_up(above, context[stored_context].sample.words)
                    m.d.sync += [context[stored_context][name].eq(value) for name, value in found.items()]

        # Sums to be compared ------------------------------------------------------------------------------------------
        sums = list(v)
        for _ in range(fold_bits):
            half = len(sums) // 2
            pairs = zip(sums[:half], sums[half:], strict=True)
            sums = [delayed(m, (low + high)[: len(low)].as_signed(), 1) for low, high in pairs]
        finals = [(count - 1) % rows for count in chip.rows]  # last row of a layer's last group
        final = finals[-1] if gft else of_layer(done.layer, finals)
        results = self.o
        if not chip.compact:
            m.submodules.results = queue = Queue(result_layout(chip), RESULT_GROUPS)
            wiring.connect(m, queue.o, wiring.flipped(self.o))
            results = queue.i
        m.d.comb += [
            results.valid.eq(delayed(m, done.valid & (done_last_layer if gft else 1), fold_bits)),
            results.payload.items.as_value().eq(Cat(sums)),
            results.payload.final.eq(Mux(delayed(m, done.ends_layer, fold_bits), final, rows - 1)),
            results.payload.last.eq(delayed(m, done.ends_layer, fold_bits)),
            results.payload.tag.eq(delayed(m, leaving[done.context], fold_bits) if hands_on else finished.sample),
        ]
        if not hands_on:
            with m.If(done.valid & done_last_layer & done.ends_layer):
                m.d.sync += finished.valid.eq(0)
        return m

    def _folded_lanes(self, m: Module, lanes: data.View, tag: data.View, issue: Value, word: Value) -> None:
        """What goes to the parts of a folded array in S1: to each its word of the last layer's, to all of them the same
        of a layer below it."""
        chip = self.chip
        width, last = chip.array_synapses, chip.depth - 1
        active = self.activations.active
        parts = hidden_lanes(chip, Const(last), tag.ends_row, active)
        for number, part in enumerate(lanes):
            with m.If(tag.layer == last):
                m.d.comb += [
                    part.enable.eq(parts.word_select(number, width)),
                    part.positive.eq(parts.word_select(chip.fold + number, width)),
                ]
        if chip.depth == 2:
            return
        place = Signal(exact_log2(chip.fold))  # of the word asked for among those read
        with m.If(issue):
            m.d.sync += place.eq(word)
        hidden = hidden_lanes(chip, tag.layer, tag.ends_row, active.word_select(place, width))
        with m.If((tag.layer != 0) & (tag.layer != last)):
            m.d.comb += [part.as_value().eq(hidden) for part in lanes]
