"""Learn with positions: backward and accumulate, one sample at a time from the last layer to the first.

A sweep of a layer goes over its patch words, position by position. At each word it visits the blocks of ``Pc`` rows
that have a ``δ ≠ 0`` at this pool: the counters of ``Pc`` rows take their votes, and above the first layer ``Σ δ·w`` of
the word is added to the errors of the activations that the word was gathered from::

    patch words ─▶ queue ─▶ word ─┐
         └▶ pool ─▶ next δ ─▶ δ ──┴▶ V0 block ─▶ V1 ─┬▶ counters += δ·a
                                                     └▶ weights ─▶ Σ δ·w of the word ─▶ errors of the layer below

The ``δ`` of a pool are loaded when its first word enters the queue, while words of the pool before are visited.

A first layer of one word a row has no errors to pass back, and visits at the same address follow each other. So it is
swept once for each block, and each word fetches the ``δ`` of its block::

    patch words ─▶ F0 read δ ─▶ F1 ─▶ V1
"""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import NamedTuple

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from popflip.hw.config import ChipConfig
from popflip.hw.conv.accumulate import HeldAccumulate
from popflip.hw.conv.deltas import Deltas, blocks, fetches
from popflip.hw.conv.errors import WORDS_UNDER_WAY, Errors
from popflip.hw.conv.fields import Fields
from popflip.hw.conv.gather import gathered_layout, most_pools, unit_layout
from popflip.hw.conv.patch_words import PatchWords
from popflip.hw.conv.signatures import (
    BlockReadSignature,
    GroupReadSignature,
    LearnStateSignature,
    PatchReadSignature,
    WindowReadSignature,
)
from popflip.hw.layouts import delta_shape, lane_layout, verdict_layout
from popflip.hw.lib.lookup import of_layer
from popflip.hw.lib.stream import RegisteredQueue, delayed

WORDS_AHEAD = 8
"""Words in the queue between the patch words and the visits."""


def visit_layout(chip: ChipConfig) -> data.StructLayout:
    """A visit of a block of ``Pc`` rows. ``above`` : its layer is above the first. ``starts_word``, ``ends_word`` : it
    is the first, the last visit at the word."""
    return data.StructLayout(
        {
            "valid": 1,
            "above": 1,
            "layer": range(chip.depth),
            "starts_word": 1,
            "ends_word": 1,
            "index": range(max(chip.words)),
            "block": range(max(chip.counter_map.bank_rows)),
            "address": range(chip.counter_map.depth),
            "deltas": data.ArrayLayout(delta_shape(chip), chip.learn_rows),
            "lanes": lane_layout(chip),
            "units": data.ArrayLayout(unit_layout(chip), Fields(chip).units),
        }
    )


class _Taken(NamedTuple):
    """``valid`` : a word was taken. ``ends`` : it is the sweep's last one."""

    valid: Value
    ends: Value


class ConvLearn(wiring.Component):
    """Updates the counters, one sample after another.

    Members
    -------
    ``i`` : In(stream verdict_layout)
        Samples that trigger an update, in stream order.
    ``done`` : Out(1), ``done_slot`` : Out(range(slots))
        The sample in slot ``done_slot`` is learned, and its slot is free.
    ``patches`` : Out(PatchReadSignature), ``activations`` : Out(GroupReadSignature), ``windows`` :
    Out(WindowReadSignature), ``weight_rows`` : Out(BlockReadSignature)
    ``state`` : Out(LearnStateSignature)
    ``busy`` : Out(1)
        The engine visits a word of a block of rows in this cycle.
    ``waiting`` : Out(1)
        A sample is here, or offered, and the engine visits no block.

    A sweep takes a cycle for each word and block of rows with ``δ ≠ 0``, one for each word without any, and about
    twenty to begin and to end. A word of counters that does not follow itself is visited again only when its previous
    votes are written.
    """

    def __init__(self, chip: ChipConfig):
        self.chip, self.fields = chip, Fields(chip)
        self.words, self.deltas, self.errors = PatchWords(chip), Deltas(chip), Errors(chip)
        self.banks = [HeldAccumulate(chip) for _ in range(chip.learn_rows)]
        self._fetches = fetches(chip)
        super().__init__(
            {
                "i": In(stream.Signature(verdict_layout(chip))),
                "done": Out(1),
                "done_slot": Out(range(chip.slots)),
                "patches": Out(PatchReadSignature(chip)),
                "activations": Out(GroupReadSignature(chip)),
                "windows": Out(WindowReadSignature(chip)),
                "weight_rows": Out(BlockReadSignature(chip)),
                "state": Out(LearnStateSignature(chip)),
                "busy": Out(1),
                "waiting": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        chip = self.chip
        m.submodules.words, m.submodules.deltas, m.submodules.errors = self.words, self.deltas, self.errors
        wiring.connect(m, self.words.patches, wiring.flipped(self.patches))
        wiring.connect(m, self.words.activations, wiring.flipped(self.activations))
        wiring.connect(m, self.deltas.windows, wiring.flipped(self.windows))
        wiring.connect(m, self.deltas.errors, self.errors.read)
        self._verdict = Signal(verdict_layout(chip), name="verdict")
        self._layer = Signal(range(chip.depth), name="layer")
        self._sweeping = Signal(name="sweeping")
        self._first_layer = self._layer == 0
        self._visit = Signal(visit_layout(chip), name="visit")
        self._passes = Signal(range(blocks(chip)), name="passes")  # after the one that is taken
        self._fetched = Signal(name="fetched")
        taken = self._queue(m)
        self._visit_blocks(m)
        if self._fetches:
            self._fetch(m, taken)
        voting = self._update_counters(m)
        self._pass_errors_back(m)
        self._sequence(m, taken, voting)
        return m

    # Words and their δ ------------------------------------------------------------------------------------------------

    def _queue(self, m: Module) -> _Taken:
        """Take words into the queue, and load the ``δ`` of each new pool. Returns what is taken."""
        chip, words, deltas = self.chip, self.words.o, self.deltas
        shape = data.StructLayout({"word": gathered_layout(chip), "new_pool": 1})
        m.submodules.queue = self._words = queue = RegisteredQueue(shape, WORDS_AHEAD)
        seen, pool = Signal(name="pool_seen"), Signal(range(most_pools(chip)), name="pool")
        place = words.payload.place
        new, last_layer = ~seen | (pool != place.pool), self._layer == chip.depth - 1
        enters, taken = Signal(name="enters"), Signal(name="taken")
        m.d.comb += [
            enters.eq(self._sweeping & (~new | deltas.free | last_layer)),
            queue.i.valid.eq(words.valid & enters),
            queue.i.payload.word.eq(words.payload),
            queue.i.payload.new_pool.eq(new),
            words.ready.eq(queue.i.ready & enters),
            taken.eq(words.valid & words.ready),
            deltas.slot.eq(self._verdict.sample.slot),
            deltas.layer.eq(self._layer),
            deltas.load.eq(taken & new & ~last_layer),
            deltas.pool.eq(place.pool),
            deltas.label.eq(self._verdict.sample.label),
            deltas.rival.eq(self._verdict.rival),
        ]
        with m.If(taken):
            m.d.sync += [seen.eq(1), pool.eq(place.pool)]
        with m.If(~self._sweeping):
            m.d.sync += seen.eq(0)
        return _Taken(taken, place.ends_position & place.ends_layer)

    def _fetch(self, m: Module, taken: _Taken) -> None:
        """F0 and F1: in the first layer, words pass the queue by."""
        chip, words, deltas, visit = self.chip, self.words.o, self.deltas, self._visit
        fetches = words.valid & self._sweeping & self._first_layer
        block = Signal(range(chip.counter_map.bank_rows[0]), name="fetch_block")
        fetched, lanes = self._fetched, Signal(lane_layout(chip), name="fetched_lanes")
        at = Signal.like(block, name="fetched_block")
        m.d.comb += [
            deltas.fetch.eq(fetches),
            deltas.fetch_pool.eq(words.payload.place.pool),
            deltas.fetch_block.eq(block),
        ]
        m.d.sync += [fetched.eq(fetches), at.eq(block), lanes.eq(words.payload.lanes)]
        with m.If(self._first_layer):
            m.d.comb += [self._words.i.valid.eq(0), deltas.load.eq(0), words.ready.eq(self._sweeping)]
        with m.If(fetches & taken.ends):
            m.d.sync += block.eq(Mux(self._passes == 0, 0, block + 1))
        with m.If(fetched):
            m.d.sync += [
                visit.valid.eq(deltas.fetched.as_value().any()),
                visit.above.eq(0),
                visit.layer.eq(0),
                visit.address.eq(at),
                visit.block.eq(at),
                visit.lanes.eq(lanes),
                visit.deltas.eq(deltas.fetched),
            ]

    # Visits -----------------------------------------------------------------------------------------------------------

    def _visit_blocks(self, m: Module) -> None:
        """V0: visit the blocks of the word that have a ``δ ≠ 0``, the lowest first."""
        chip, queue, deltas, visit = self.chip, self._words.o, self.deltas, self._visit
        word, fresh = Signal(gathered_layout(chip), name="word"), Signal(name="fresh")
        here = Signal.like(deltas.deltas, name="deltas_here")
        nonzero, left = Signal(blocks(chip), name="nonzero_here"), Signal(blocks(chip), name="left")
        lowest, loads, visits, last = Signal(blocks(chip)), Signal(), Signal(), Signal()
        new = queue.payload.new_pool
        bases = [chip.counter_map.word_address(layer, word.place.index) for layer in range(chip.depth)]
        address = Signal(range(chip.counter_map.depth))
        chosen = _select(lowest, [Const(block) for block in range(blocks(chip))])
        self._left = left.any()
        m.d.comb += [
            lowest.eq(left & -left),
            last.eq((left & ~lowest) == 0),
            address.eq(of_layer(self._layer, bases) + chosen),
            visits.eq(left.any() & self._may_visit(m, address, last)),
            loads.eq(queue.valid & (~left.any() | (visits & last)) & (~new | deltas.full)),
            queue.ready.eq(loads),
            deltas.take.eq(loads & new),
        ]
        with m.If(loads):
            m.d.sync += [word.eq(queue.payload.word), fresh.eq(1), left.eq(Mux(new, deltas.nonzero, nonzero))]
            with m.If(new):
                m.d.sync += [here.eq(deltas.deltas), nonzero.eq(deltas.nonzero)]
        with m.Elif(visits):
            m.d.sync += [fresh.eq(0), left.eq(left & ~lowest)]
        self._ends_word = visits & last & ~self._first_layer
        m.d.sync += visit.valid.eq(visits)
        with m.If(visits):
            m.d.sync += [
                visit.above.eq(~self._first_layer),
                visit.layer.eq(self._layer),
                visit.starts_word.eq(fresh),
                visit.ends_word.eq(last),
                visit.index.eq(word.place.index),
                visit.block.eq(chosen),
                visit.address.eq(address),
                visit.lanes.eq(word.lanes),
                visit.units.eq(word.units),
            ]
            for bank in range(chip.learn_rows):
                column = [here[block * chip.learn_rows + bank].as_unsigned() for block in range(blocks(chip))]
                m.d.sync += visit.deltas[bank].eq(_select(lowest, column).as_signed())

    def _may_visit(self, m: Module, address: Value, last: Value) -> Value:
        """Whether the word at ``address`` was visited last, or its votes are written; and, at the last visit of a word,
        whether its errors have room."""
        visit, recent = self._visit, []
        valid, earlier = visit.valid, visit.address
        for _ in range(self.banks[0].latency - 2):
            valid, earlier = delayed(m, valid, 1), delayed(m, earlier, 1)
            recent.append(valid & (earlier == address))
        same = visit.address == address
        self._under_way = Signal(range(WORDS_UNDER_WAY + 1), name="words_under_way")
        room = Signal(name="room")
        m.d.comb += room.eq(self._under_way != WORDS_UNDER_WAY)
        return (same | ~Cat(recent).any()) & (room | ~last | self._first_layer)

    def _update_counters(self, m: Module) -> Value:
        """V1: send the votes to the banks. Returns whether any are not written yet."""
        chip, visit = self.chip, self._visit
        self._forget = Signal(name="forget")
        for bank, accumulate in enumerate(self.banks):
            m.submodules[f"accumulate{bank}"] = accumulate
            wiring.connect(m, accumulate.counters, wiring.flipped(getattr(self.state.counters, f"bank{bank}")))
            update = accumulate.i
            m.d.comb += [
                accumulate.valid.eq(visit.valid & visit.deltas[bank].any()),
                accumulate.forget.eq(self._forget),
                update.address.eq(visit.address),
                update.delta.eq(visit.deltas[bank]),
                update.lanes.eq(visit.lanes),
                *([update.layer.eq(visit.layer)] if chip.mmaxes else []),
            ]
        voting = [visit.valid]
        for _ in range(self.banks[0].latency):
            voting.append(delayed(m, voting[-1], 1))
        m.d.comb += self.busy.eq(visit.valid)
        return Cat(voting).any()

    # Backward ---------------------------------------------------------------------------------------------------------

    def _pass_errors_back(self, m: Module) -> None:
        """V1: request the weights of the block. When they are here, add ``δ·w``. After a word's last visit its sums go
        to the errors."""
        chip, visit, errors = self.chip, self._visit, self.errors
        banks, rows = exact_log2(chip.learn_rows), exact_log2(chip.array_rows)
        row = visit.block << banks
        addresses = [chip.weight_map.row_address(layer, row >> rows) if layer else 0 for layer in range(chip.depth)]
        m.d.comb += [
            self.weight_rows.en.eq(visit.valid & visit.above),
            self.weight_rows.block.eq(visit.block),
            self.weight_rows.address.eq(visit.index + of_layer(visit.layer, addresses)),
        ]
        late = delayed(m, visit, chip.read_latency)
        word = errors.i.payload
        adds = late.valid & late.above
        m.d.sync += errors.i.valid.eq(adds & late.ends_word)
        with m.If(adds):
            m.d.sync += [word.units.eq(late.units), word.only.eq(late.layer == chip.depth - 1)]
            for lane, total in enumerate(word.sums):
                products = [
                    self._product(delta, weights[lane])
                    for delta, weights in zip(late.deltas, self.weight_rows.rows, strict=True)
                ]
                m.d.sync += total.eq(Mux(late.starts_word, 0, total) + sum(products[1:], products[0]))
        m.d.sync += self._under_way.eq(self._under_way + self._ends_word - errors.added)

    def _product(self, delta: Value, weight: Value) -> Value:
        if self.chip.weight_bits == 1:
            return Mux(weight, delta, -delta)
        return Mux(weight[0], Mux(weight[1], -delta, delta), 0)

    # Sequence ---------------------------------------------------------------------------------------------------------

    def _sequence(self, m: Module, taken: _Taken, voting: Value) -> None:
        """A sample: sweep the layers from the last one down, each when all of the one above is written."""
        chip, verdict, request = self.chip, self._verdict, self.words.start
        requests = Signal(range(blocks(chip) + 1))  # passes that are still to be requested
        again = chip.counter_map.bank_rows[0] - 1 if self._fetches else 0  # passes of the first layer after the first
        rests, starts = Signal(name="rests"), Signal(name="starts")
        m.d.comb += [
            request.valid.eq(requests != 0),
            request.payload.layer.eq(self._layer),
            request.payload.slot.eq(verdict.sample.slot),
            request.payload.words.eq(verdict.sample.words),
            self.waiting.eq((self.i.valid | ~self.i.ready) & ~self.busy),
            self.done_slot.eq(verdict.sample.slot),
            rests.eq(~(voting | self._words.o.valid | self._left | self._fetched | (self._under_way != 0))),
        ]
        with m.If(request.valid & request.ready):
            m.d.sync += requests.eq(requests - 1)
        with m.If(taken.valid & taken.ends):
            m.d.sync += self._passes.eq(self._passes - 1)
        with m.If(starts):
            m.d.sync += [requests.eq(1), self._passes.eq(0)]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(self.i.valid):
                    m.d.sync += [verdict.eq(self.i.payload), self._layer.eq(chip.depth - 1)]
                    m.next = "VERDICT"
            with m.State("VERDICT"):
                m.d.comb += [self.deltas.set.eq(1), self._forget.eq(1), starts.eq(1)]
                m.next = "SWEEP"
            with m.State("SWEEP"):
                m.d.comb += self._sweeping.eq(1)
                with m.If(taken.valid & taken.ends & (self._passes == 0)):
                    m.next = "REST"
            with m.State("REST"), m.If(rests & ~self.errors.busy & self.errors.cleared):
                m.d.sync += self._layer.eq(self._layer - 1)
                m.d.comb += starts.eq(1)
                m.next = "SWEEP"
                with m.If(self._layer == 1):
                    m.d.sync += [requests.eq(again + 1), self._passes.eq(again)]
                with m.If(self._first_layer):
                    m.d.sync += requests.eq(0)
                    m.d.comb += [self.done.eq(1), self.errors.clear.eq(1)]
                    m.next = "IDLE"


def _select(one_hot: Signal, values: list) -> Value:
    """The value whose bit is set in ``one_hot``, or 0 if no bit is."""
    return reduce(or_, (Mux(bit, value, 0) for bit, value in zip(one_hot, values, strict=True)))
