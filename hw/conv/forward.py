"""Forward with positions: takes samples through layers of rows × words × positions (golden: ``conv.forward.forward``).

``P`` rows × ``N`` synapses a cycle::

    patch words ─▶ weights ─▶ MAC array ─▶ Σ words, positions of the pool ─▶ v ─┬▶ v > 0, |v| ≤ WINDOW ─▶ activations
                                                                                └▶ last layer: o, to the error unit

A layer is one pass for each group of ``P`` rows. A pass takes all positions in the order ``(py, px)``, and the words of
each (:mod:`.patch_words`). The next layer begins when the last activation of this one is stored. A layer takes hundreds
of cycles, so the few in which the pipeline drains need no second sample to fill them.
"""

from __future__ import annotations

from typing import NamedTuple

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from popflip.hw.common.forward import RESULT_GROUPS, active
from popflip.hw.common.mac_array import MacArray
from popflip.hw.config import ChipConfig
from popflip.hw.conv.fields import Fields
from popflip.hw.conv.gather import most_pools
from popflip.hw.conv.patch_words import PatchWords
from popflip.hw.conv.pool_accumulator import PoolAccumulator
from popflip.hw.conv.signatures import GroupReadSignature, GroupWriteSignature, PatchReadSignature
from popflip.hw.layouts import result_layout, sample_layout
from popflip.hw.lib.arithmetic import compare_magnitude
from popflip.hw.lib.lookup import of_layer, times
from popflip.hw.lib.stream import Queue, delayed
from popflip.hw.memory.signatures import ArrayReadSignature


def tag_layout(chip: ChipConfig) -> data.StructLayout:
    """The tag that travels with a word through the pipeline. ``group`` : of ``P`` rows. ``ends_layer`` : it is the last
    word of the layer's last group."""
    return data.StructLayout(
        {
            "valid": 1,
            "layer": range(chip.depth),
            "group": range(max(chip.groups)),
            "pool": range(most_pools(chip)),
            "ends_pool": 1,
            "ends_layer": 1,
        }
    )


class _Word(NamedTuple):
    """A word at the array's door. ``ends_pass`` : it is the last one of the pass."""

    valid: Value
    lanes: data.View
    index: Value
    pool: Value
    ends_pool: Value
    ends_pass: Value


class ConvForward(wiring.Component):
    """Takes samples through all layers of a network with positions, one sample after the other.

    Members
    -------
    ``i`` : In(stream sample_layout)
        ``words`` is the length of the sample's list of patch words.
    ``o`` : Out(stream result_layout)
        The sums of the last layer, group after group.
    ``window`` : In(L−1 × range)
        The largest |v| within the window, for each hidden layer.
    ``patches`` : Out(PatchReadSignature), ``activations`` : Out(GroupReadSignature)
    ``weights`` : Out(ArrayReadSignature), ``weights_ready`` : In(1)
        A request is held until a cycle in which ``weights_ready`` is high.
    ``store`` : Out(GroupWriteSignature)
        Hidden activations.
    ``busy`` : Out(1)
        The array takes a word in this cycle.
    ``waiting`` : Out(1)
        A sample is here, or offered, and the array takes no word.

    A sample takes ``groups[0] × words of its list`` and Σ_l groups[l] × positions × words that have to be touched, and
    between two layers about :attr:`latency` cycles.
    """

    def __init__(self, chip: ChipConfig):
        self.chip = chip
        self.fields = Fields(chip)
        self.mac = MacArray(chip)
        self.words = PatchWords(chip)
        # From the last word of a layer at the array's door to the first one of the next layer there.
        self.latency = chip.read_latency + self.mac.latency + 3 + PatchWords.latency
        super().__init__(
            {
                "i": In(stream.Signature(sample_layout(chip))),
                "o": Out(stream.Signature(result_layout(chip))),
                "window": In(data.ArrayLayout(range(chip.v_max + 1), max(1, chip.depth - 1))),
                "patches": Out(PatchReadSignature(chip)),
                "activations": Out(GroupReadSignature(chip)),
                "weights": Out(ArrayReadSignature(chip)),
                "weights_ready": In(1),
                "store": Out(GroupWriteSignature(chip)),
                "busy": Out(1),
                "waiting": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        chip = self.chip
        m.submodules.mac, m.submodules.words = self.mac, self.words
        self._sample = Signal(sample_layout(chip), name="sample")
        self._running = Signal(name="running")  # a sample is here
        self._layer = Signal(range(chip.depth), name="layer")
        self._group = Signal(range(max(chip.groups)), name="group")
        self._requesting = Signal(name="requesting")  # passes of the layer are still to be requested
        self._leaving = Signal(sample_layout(chip), name="leaving")  # the sample whose last layer is in the pipeline
        self._starts_layer = Signal(name="starts_layer")
        self._next_layer = Signal(range(chip.depth), name="next_layer")
        ready = Signal()  # the word at the array's door is taken
        word = self._words(m, ready)
        tag = self._take(m, word, ready)
        tag_before, tag = self._multiply(m, tag, word.lanes)
        accumulator = PoolAccumulator(m, chip)
        accumulator.add(tag_before, tag, self.mac.o)
        done = Signal(tag_layout(chip))
        m.d.sync += [done.eq(tag), done.valid.eq(tag.valid & tag.ends_pool)]
        last_layer = done.layer == chip.depth - 1
        self._store(m, accumulator, done, last_layer)
        self._give_results(m, accumulator, done, last_layer)
        self._sequence(m, done.valid & done.ends_layer & ~last_layer)
        return m

    # Words ------------------------------------------------------------------------------------------------------------

    def _words(self, m: Module, ready: Signal) -> _Word:
        """The words of the passes."""
        words, request = self.words, self.words.start
        wiring.connect(m, words.patches, wiring.flipped(self.patches))
        wiring.connect(m, words.activations, wiring.flipped(self.activations))
        m.d.comb += [
            request.valid.eq(self._requesting),
            request.payload.layer.eq(self._layer),
            request.payload.slot.eq(self._sample.slot),
            request.payload.words.eq(self._sample.words),
            words.o.ready.eq(ready),
        ]
        place = words.o.payload.place
        return _Word(
            valid=words.o.valid,
            lanes=words.o.payload.lanes,
            index=place.index,
            pool=place.pool,
            ends_pool=place.ends_position & place.ends_pool,
            ends_pass=place.ends_position & place.ends_layer,
        )

    def _take(self, m: Module, word: _Word, ready: Signal) -> data.View:
        """Request the weights of a word, unless the results would have no room. Returns its tag."""
        chip = self.chip
        last_layer = self._layer == chip.depth - 1
        groups_out = Signal(range(RESULT_GROUPS + 1))  # groups of sums that were issued and have not left `o`
        full = groups_out == RESULT_GROUPS
        offers = Signal()
        tag = Signal(tag_layout(chip))
        row_address = Signal(range(chip.weight_map.array_depth))
        issued = self.busy & last_layer & word.ends_pool
        bases = list(chip.weight_map.base)
        last_group = self._group == of_layer(self._layer, [groups - 1 for groups in chip.groups])
        m.d.comb += [
            offers.eq(word.valid & ~(last_layer & word.ends_pool & full)),
            self.weights.read.eq(offers),
            self.weights.address.eq(row_address + word.index),
            self.busy.eq(offers & self.weights_ready),
            ready.eq(self.busy),
            self.waiting.eq((self._running | self.i.valid) & ~self.busy),
            tag.valid.eq(self.busy),
            tag.layer.eq(self._layer),
            tag.group.eq(self._group),
            tag.pool.eq(word.pool),
            tag.ends_pool.eq(word.ends_pool),
            tag.ends_layer.eq(word.ends_pass & last_group),
        ]
        m.d.sync += groups_out.eq(groups_out + issued - (self.o.valid & self.o.ready))
        self._ends_layer = self.busy & tag.ends_layer
        with m.If(self.busy & word.ends_pass):
            m.d.sync += [
                self._group.eq(self._group + 1),
                row_address.eq(row_address + of_layer(self._layer, chip.words)),
            ]
        with m.If(self._starts_layer):
            m.d.sync += [self._group.eq(0), row_address.eq(of_layer(self._next_layer, bases))]
        return tag

    # The array and its results ----------------------------------------------------------------------------------------

    def _multiply(self, m: Module, tag: data.View, lanes: data.View) -> tuple[data.View, data.View]:
        """The array multiplies. Returns the tags of its output in the next and in this cycle."""
        stages = self.chip.read_latency
        m.d.comb += [
            self.mac.weights.eq(self.weights.data),
            self.mac.lanes[0].eq(delayed(m, lanes, stages)),
        ]
        tag_before = delayed(m, tag, stages + self.mac.latency - 1)
        return tag_before, delayed(m, tag_before, 1)

    def _store(self, m: Module, accumulator: PoolAccumulator, done: data.View, last_layer: Value) -> None:
        """Write the activations of hidden layers, and whether each neuron is within its window."""
        chip, fields = self.chip, self.fields
        depth, rows = chip.depth, range(chip.array_rows)
        window = Array(self.window[index] for index in range(max(1, depth - 1)))[done.layer]
        parts = exact_log2(fields.group // chip.array_rows)
        pixels = [fields.base[index] + times(done.pool, fields.pixel_groups[index]) for index in range(depth - 1)]
        m.d.sync += [
            self.store.write.eq(done.valid & ~last_layer),
            self.store.slot.eq(self._sample.slot),
            self.store.group.eq(of_layer(done.layer, [*pixels, 0]) + (done.group >> parts)),
            self.store.part.eq(done.group[:parts]),
            self.store.active.eq(Cat(active(chip, accumulator.v[row]) for row in rows)),
            self.store.in_window.eq(Cat(~compare_magnitude(accumulator.v[row], window)[0] for row in rows)),
        ]

    def _give_results(self, m: Module, accumulator: PoolAccumulator, done: data.View, last_layer: Value) -> None:
        """Hand out the sums of the last layer through a queue."""
        chip = self.chip
        m.submodules.results = queue = Queue(result_layout(chip), RESULT_GROUPS)
        wiring.connect(m, queue.o, wiring.flipped(self.o))
        results, count = queue.i, len(queue.i.payload.items)
        final = (chip.rows[-1] - 1) % chip.array_rows  # last row of the last group
        m.d.comb += [
            results.valid.eq(done.valid & last_layer),
            *(results.payload.items[row].eq(accumulator.v[row]) for row in range(count)),
            results.payload.final.eq(Mux(done.ends_layer, final, chip.array_rows - 1)),
            results.payload.last.eq(done.ends_layer),
            results.payload.tag.eq(self._leaving),
        ]

    # Sequence ---------------------------------------------------------------------------------------------------------

    def _sequence(self, m: Module, layer_done: Value) -> None:
        """Take a sample, and begin its layers one after the other. The next sample may come when the last layer's last
        word is taken: its first layer ends long after the sums of this one have left."""
        chip = self.chip
        last_layer = self._layer == chip.depth - 1
        finished = self._ends_layer & last_layer
        passes = Signal(range(max(chip.groups)))  # still to be requested after this one
        requested = self.words.start.valid & self.words.start.ready
        takes = self.i.valid & self.i.ready
        stored = Signal()
        m.d.sync += stored.eq(layer_done)
        m.d.comb += [
            self.i.ready.eq(~self._running),
            self._starts_layer.eq(takes | stored),
            self._next_layer.eq(Mux(takes, 0, self._layer + 1)),
        ]
        with m.If(requested):
            m.d.sync += [passes.eq(passes - 1), self._requesting.eq(passes != 0)]
        with m.If(self._starts_layer):
            m.d.sync += [
                self._layer.eq(self._next_layer),
                self._requesting.eq(1),
                passes.eq(of_layer(self._next_layer, [groups - 1 for groups in chip.groups])),
            ]
            with m.If(self._next_layer == chip.depth - 1):
                m.d.sync += self._leaving.eq(self._sample)
        with m.If(takes):
            m.d.sync += [self._running.eq(1), self._sample.eq(self.i.payload)]
        with m.Elif(finished):
            m.d.sync += self._running.eq(0)
