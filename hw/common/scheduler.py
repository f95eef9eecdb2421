"""Scheduler: chooses the sample, the layer and the word that the MAC array takes next.

A layer needs the whole layer below, and the pipeline is several cycles long, so two samples take turns: while one of
them drains, the words of the other fill the array. Each has a context::

    samples 0, 2, … ─▶ context 0 ─┐
                                  ├─▶ one layer at a time: group after group, word after word
    samples 1, 3, … ─▶ context 1 ─┘

After a layer, the scheduler prefers the other context, if its layer is ready. Last layers are issued in the order in
which their samples came.
"""

from __future__ import annotations

from amaranth.hdl import Array, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring

from popflip.hw.config import ChipConfig
from popflip.hw.layouts import sample_layout
from popflip.hw.lib.lookup import of_layer


class Scheduler:
    """A part of :class:`.forward.Forward`. It adds its logic to that component's module ``m``.

    Attributes
    ----------
    ``running`` : a layer is being issued. It is ``layer`` of the sample in context ``current``, whose slot is ``slot``.
    ``group``, ``word`` : the position in that layer. In the first layer ``word`` counts the sample's nonzero words.
    ``row_address`` : weight address of the group's first word.
    ``ends_row``, ``ends_layer`` : the word is the last one of its rows, of its layer.
    ``last_layer`` : ``layer`` is the network's last.

    ``Forward`` calls each of these methods once, in this order: :meth:`accept`, :meth:`advance`, :meth:`choose`,
    :meth:`layer_stored` (if there is a hidden layer), :meth:`release`.
    """

    def __init__(self, m: Module, chip: ChipConfig):
        self._m, self._chip = m, chip
        # A last layer may be shorter than the pipeline, so a sample frees its context when its last layer begins. The
        # context's next sample cannot overtake it: the pipeline holds the first sample's last layer ahead of the second
        # one's hidden layers, so all sums of the first are complete when the second begins its last layer.
        self.early_release = chip.pipelined and not chip.layerwise and chip.depth > 1
        layout = self._context_layout()
        self._contexts = Array(Signal(layout, name=f"context{index}") for index in range(2))
        self._load = Signal(name="load")  # the context of the next sample
        self._turn = Signal(name="turn")  # the context whose last layer is issued next

        self.running = Signal()
        self.current = Signal()
        self.layer = Signal(range(chip.depth))
        self.word = Signal(range(max(chip.array_words)))
        self._word_last = Signal.like(self.word, name="word_last")
        self.group = Signal(range(max(chip.groups)))
        self._group_last = Signal.like(self.group, name="group_last")
        self.row_address = Signal(range(chip.weight_map.array_depth))
        self.last_layer = self.layer == chip.depth - 1
        self.ends_row = self.word == self._word_last
        self.ends_layer = self.ends_row & (self.group == self._group_last)

    def _bounds_layout(self) -> dict:
        chip = self._chip
        return {
            "last_word": range(max(chip.array_words)),
            "last_group": range(max(chip.groups)),
            "address": range(chip.weight_map.array_depth),  # of the first word
        }

    def _context_layout(self) -> data.StructLayout:
        return data.StructLayout(
            {
                "valid": 1,  # holds a sample, until its last sums leave or, with `early_release`, its last layer begins
                "ready": 1,  # `layer` may be issued: the layer below is complete
                "layer": range(self._chip.depth),
                "sample": sample_layout(self._chip),
                **(self._bounds_layout() if self._chip.pipelined else {}),  # of `layer`, looked up a cycle ahead
            }
        )

    def _bounds(self, layer, words: Value) -> dict[str, Value]:
        """Where ``layer`` begins and ends, for a sample of ``words`` nonzero words."""
        chip = self._chip
        last_words = of_layer(layer, [words - 1 for words in chip.array_words])
        last_nonzero = words - 1
        if chip.bias_apart:  # the last nonzero word is the bias
            last_nonzero = Mux(words == 1, 0, words - 2)
        return {
            "last_word": Mux(layer == 0, last_nonzero, last_words),
            "last_group": of_layer(layer, [groups - 1 for groups in chip.groups]),
            "address": of_layer(layer, chip.weight_map.base),
        }

    def sample(self, context: Value) -> data.View:
        """The sample in a context."""
        return self._contexts[context].sample

    @property
    def holds_samples(self) -> Value:
        """Whether a sample is in a context."""
        return self._contexts[0].valid | self._contexts[1].valid

    def accept(self, samples: wiring.PureInterface) -> None:
        """Load the next sample of the stream ``samples`` into its context when that is empty."""
        m, context = self._m, self._contexts[self._load]
        m.d.comb += samples.ready.eq(~context.valid)
        with m.If(samples.valid & samples.ready):
            m.d.sync += [
                context.valid.eq(1),
                context.ready.eq(1),
                context.layer.eq(0),
                context.sample.eq(samples.payload),
                self._load.eq(~self._load),
            ]
            if self._chip.pipelined:
                bounds = self._bounds(Const(0), samples.payload.words)
                m.d.sync += [context[name].eq(value) for name, value in bounds.items()]

    def advance(self, issue: Value) -> None:
        """Go to the next word in a cycle with ``issue``."""
        m = self._m
        with m.If(issue):
            m.d.sync += self.word.eq(Mux(self.ends_row, 0, self.word + 1))
            with m.If(self.ends_row):
                m.d.sync += [
                    self.group.eq(self.group + 1),
                    self.row_address.eq(self.row_address + of_layer(self.layer, self._chip.array_words)),
                ]

    def choose(self, issue: Value, settled: Value | None) -> None:
        """When no layer is running, or one ends with ``issue``, begin the layer of the other context if it is ready,
        else that of the same one. ``settled`` : layers whose weights become stable (:class:`.forward.Forward`)."""
        m, chip = self._m, self._chip
        if self.early_release:
            self._leaving = Array(Signal(sample_layout(chip), name=f"leaving{index}") for index in range(2))
            self.slot: Value = Signal(range(chip.slots), name="slot")
        else:
            self.slot = self._contexts[self.current].sample.slot
        if chip.layerwise:
            self._unsettled = Signal(chip.depth, name="unsettled")  # layers that were issued and have yet to learn
            m.d.sync += self._unsettled.eq(self._unsettled & ~settled)
        other, same = self._may_begin(~self.current), self._may_begin(self.current)
        chosen = Mux(other, ~self.current, self.current)
        with m.If(~self.running | (issue & self.ends_layer)):
            m.d.sync += self.running.eq(other | same)
            with m.If(other | same):
                self._begin(chosen, settled)

    def _may_begin(self, index: Value) -> Value:
        """Whether the current layer of context ``index`` may be issued."""
        context = self._contexts[index]
        in_turn = self._turn == index
        if self._chip.layerwise:
            return context.ready & in_turn & ~self._unsettled.bit_select(context.layer, 1)
        return context.ready & ((context.layer != self._chip.depth - 1) | in_turn)

    def _begin(self, chosen: Value, settled: Value | None) -> None:
        """Begin the current layer of context ``chosen``."""
        m, chip, context = self._m, self._chip, self._contexts[chosen]
        layer = context.layer
        if chip.pipelined:
            bounds = {name: context[name] for name in self._bounds_layout()}
        else:
            bounds = self._bounds(layer, context.sample.words)
        m.d.sync += [
            self.current.eq(chosen),
            context.ready.eq(0),
            self.layer.eq(layer),
            self.word.eq(0),
            self.group.eq(0),
            self._group_last.eq(bounds["last_group"]),
            self._word_last.eq(bounds["last_word"]),
            self.row_address.eq(bounds["address"]),
        ]
        if self.early_release:
            m.d.sync += self.slot.eq(context.sample.slot)
        with m.If(layer == chip.depth - 1):
            m.d.sync += self._turn.eq(~self._turn)
            if self.early_release:
                m.d.sync += [self._leaving[chosen].eq(context.sample), context.valid.eq(0)]
        if chip.layerwise:
            m.d.sync += self._unsettled.eq((self._unsettled & ~settled) | (1 << layer))

    def layer_stored(self, stored: Value, index: Value) -> None:
        """With ``stored``, all activations of the current layer of context ``index`` are in memory: the next layer is
        ready."""
        m, context = self._m, self._contexts[index]
        above = Signal(range(self._chip.depth))
        m.d.comb += above.eq(context.layer + 1)
        with m.If(stored):
            m.d.sync += [
                context.ready.eq(1),
                context.layer.eq(above),
            ]
            if self._chip.pipelined:
                bounds = self._bounds(above, context.sample.words)
                m.d.sync += [context[name].eq(value) for name, value in bounds.items()]

    def leaving_sample(self, index: Value) -> data.View:
        """The sample of context ``index`` whose last sums are leaving."""
        return self._leaving[index] if self.early_release else self._contexts[index].sample

    def release(self, leaves: Value, index: Value) -> None:
        """With ``leaves``, the last sums of a sample leave: empty its context ``index``, unless it was freed before."""
        m = self._m
        if not self.early_release:
            with m.If(leaves):
                m.d.sync += self._contexts[index].valid.eq(0)
