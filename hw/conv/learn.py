"""Learn with positions: backward and accumulate, one sample at a time from the last layer to the first.

A sweep of a layer goes over its patch words, position by position. At each word it visits the blocks of ``Pc`` rows
that have a ``δ ≠ 0`` at this pool: the counters of ``Pc`` rows take their votes, and above the first layer ``Σ δ·w`` of
the word is added to the errors of the activations that the word was gathered from::

    patch words ─┐                 ┌▶ counters += δ·a
                 ├▶ block, δ ─▶ V1 ┤
    errors ─▶ δ ─┘                 └▶ weights ─▶ Σ δ·w of the word ─▶ queue ─▶ errors of the layer below, unit by unit

Errors stay sums, as wide as they get, until the layer below is swept. Then they are clipped, and are 0 outside the
window. A position without any ``δ ≠ 0`` takes a cycle a word.
"""

from __future__ import annotations

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from popflip.golden.layers import Layer
from popflip.hw.config import ChipConfig
from popflip.hw.conv.fields import Fields
from popflip.hw.conv.gather import most_pools, unit_layout
from popflip.hw.conv.patch_words import PatchWords
from popflip.hw.conv.signatures import GroupReadSignature, PatchReadSignature, WindowReadSignature
from popflip.hw.gft.accumulate import Accumulate
from popflip.hw.gft.learn import LearnStateSignature
from popflip.hw.layouts import delta_shape, lane_layout, verdict_layout
from popflip.hw.lib.arithmetic import clip
from popflip.hw.lib.lookup import of_layer, times
from popflip.hw.lib.stream import RegisteredQueue, delayed

WORDS_UNDER_WAY = 4
"""Most words whose errors are on their way to the memory of errors."""


def input_reads(layer: Layer) -> int:
    """Most positions at which a row of ``layer`` reads the same input."""
    across = -(-layer.kernel // layer.stride)
    return min(layer.positions, across**2)


def error_limit(chip: ChipConfig) -> int:
    """Largest possible |e|: every row agrees at every position. The last layer has two rows with an error."""
    hidden = [layer.rows * chip.dclip * input_reads(layer) for layer in chip.plan[1:-1]]
    return max([2, *hidden])


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


class ConvLearn(wiring.Component):
    """Updates the counters, one sample after another.

    Members
    -------
    ``i`` : In(stream verdict_layout)
        Samples that trigger an update, in stream order.
    ``done`` : Out(1), ``done_slot`` : Out(range(slots))
        The sample in slot ``done_slot`` is learned, and its slot is free.
    ``patches`` : Out(PatchReadSignature), ``activations`` : Out(GroupReadSignature), ``windows`` :
    Out(WindowReadSignature)
    ``state`` : Out(LearnStateSignature)
        A weight read takes the banks from the MAC array for a cycle.
    ``busy`` : Out(1)
        The engine visits a word of a block of rows in this cycle.
    ``waiting`` : Out(1)
        A sample is here, or offered, and the engine visits no block.

    A sweep takes a cycle for each word and block of rows with ``δ ≠ 0``, and at each position some more to load ``δ``
    (the units of a pool's neurons, and 3). A word of counters is visited again only when its previous votes are
    written. Before a sweep above the first layer, the errors of the layer below are cleared, a unit a cycle.
    """

    def __init__(self, chip: ChipConfig):
        self.chip, self.fields = chip, Fields(chip)
        self.words = PatchWords(chip)
        self._error = signed(error_limit(chip).bit_length() + 1)
        self._units = -(-max(chip.rows) // self.fields.unit)  # of a pool's neurons
        super().__init__(
            {
                "i": In(stream.Signature(verdict_layout(chip))),
                "done": Out(1),
                "done_slot": Out(range(chip.slots)),
                "patches": Out(PatchReadSignature(chip)),
                "activations": Out(GroupReadSignature(chip)),
                "windows": Out(WindowReadSignature(chip)),
                "state": Out(LearnStateSignature(chip)),
                "busy": Out(1),
                "waiting": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        chip = self.chip
        m.submodules.words = self.words
        wiring.connect(m, self.words.patches, wiring.flipped(self.patches))
        wiring.connect(m, self.words.activations, wiring.flipped(self.activations))
        self._verdict = Signal(verdict_layout(chip), name="verdict")
        self._layer = Signal(range(chip.depth), name="layer")
        self._sweeping = Signal(name="sweeping")
        self._clears = Signal(name="clears")  # write a 0 to the errors
        self._loaded = Signal(name="loaded")  # `deltas` are those of pool `pool`
        self._pool = Signal(range(most_pools(chip)), name="pool")
        rows = max(self._units * self.fields.unit, chip.learn_rows)
        rows += -rows % chip.learn_rows
        self._deltas = Signal(data.ArrayLayout(delta_shape(chip), rows), name="deltas")
        self._add_errors(m)
        self._load(m)
        visit = self._visit(m)
        in_flight = self._update_counters(m, visit)
        self._pass_errors_back(m, visit)
        self._sequence(m, in_flight)
        return m

    # Errors and δ -----------------------------------------------------------------------------------------------------

    def _add_errors(self, m: Module) -> None:
        """The memory of errors: a unit at each address (group, part), those of all hidden layers."""
        fields = self.fields
        shape = data.ArrayLayout(self._error, fields.unit)
        memory = Memory(shape=shape, depth=fields.depth * fields.parts, init=[])
        m.submodules.errors = memory
        self._write = memory.write_port()
        self._add_to = memory.read_port(transparent_for=(self._write,))
        self._errors = memory.read_port()

    def _address(self, group: Value, part: Value) -> Value:
        return (group << exact_log2(self.fields.parts)) | part

    def _load(self, m: Module) -> None:
        """Load the ``δ`` of the pool of the word that is offered, unless they are here: errors, clipped, or 0 outside
        the window. A row that the layer does not have has none."""
        chip, fields, place = self.chip, self.fields, self.words.o.payload.place
        parts, unit_bits = exact_log2(fields.parts), fields.unit
        number = Signal(range(self._units), name="load_unit")
        reading, last, arrives, ends = (Signal(name=f"load_{n}") for n in ("reading", "last", "arrives", "ends"))
        arrived = Signal.like(number, name="load_arrived")
        here = self._loaded & (self._pool == place.pool)
        hidden = range(chip.depth - 1)
        groups = [fields.base[index] + times(place.pool, fields.pixel_groups[index]) for index in hidden]
        group = Signal(range(max(2, fields.depth)), name="load_group")
        lasts = [-(-chip.rows[index] // fields.unit) - 1 for index in hidden]
        m.d.comb += [
            reading.eq(self._sweeping & self.words.o.valid & ~here & ~ends),
            last.eq(number == of_layer(self._layer, [*lasts, 0])),
            group.eq(of_layer(self._layer, [*groups, 0]) + (number >> parts)),
            self._errors.en.eq(reading),
            self._errors.addr.eq(self._address(group, number[:parts])),
            self.windows.en.eq(reading),
            self.windows.slot.eq(self._verdict.sample.slot),
            self.windows.group.eq(group),
        ]
        m.d.sync += [arrives.eq(reading), arrived.eq(number), ends.eq(reading & last)]
        with m.If(reading):
            m.d.sync += number.eq(Mux(last, 0, number + 1))
            with m.If(number == 0):  # the pool before, of another layer perhaps, had more units
                m.d.sync += [delta.eq(0) for delta in self._deltas]
        with m.If(ends):
            m.d.sync += [self._loaded.eq(1), self._pool.eq(place.pool)]
        in_window = self.windows.in_window.word_select(arrived[:parts], unit_bits)
        with m.If(arrives):
            for row, delta in enumerate(self._deltas):
                unit, lane = divmod(row, unit_bits)
                exists = of_layer(self._layer, [int(row < count) for count in chip.rows])
                value = clip(self._errors.data[lane], -chip.dclip, chip.dclip)
                with m.If(arrived == unit):
                    m.d.sync += delta.eq(Mux(in_window[lane] & exists, value, 0))

    # Visits -----------------------------------------------------------------------------------------------------------

    def _visit(self, m: Module) -> data.View:
        """V0: visit the next block of the word. Returns V1, the visit in the next cycle."""
        chip, word = self.chip, self.words.o
        blocks = len(self._deltas) // chip.learn_rows
        nonzero = Cat(Cat(self._block(block)).any() for block in range(blocks))
        here = Signal()  # the blocks of the word are known
        begun, left, pending, lowest = Signal(), Signal(blocks), Signal(blocks), Signal(blocks)
        visit, may, last = Signal(visit_layout(chip)), Signal(), Signal()
        bases = [chip.counter_map.word_address(layer, word.payload.place.index) for layer in range(chip.depth)]
        address = Signal(range(chip.counter_map.depth))
        chosen = self._select(lowest, [Const(block) for block in range(blocks)])
        m.d.comb += [
            here.eq(self._sweeping & word.valid & self._loaded & (self._pool == word.payload.place.pool)),
            pending.eq(Mux(begun, left, nonzero)),
            lowest.eq(pending & -pending),
            last.eq((pending & ~lowest) == 0),
            address.eq(of_layer(self._layer, bases) + chosen),
            may.eq(self._may_visit(m, address, last)),
            self.busy.eq(here & pending.any() & may),
            word.ready.eq(here & (~pending.any() | (last & may))),
        ]
        with m.If(self.busy):
            m.d.sync += [begun.eq(~last), left.eq(pending & ~lowest)]
        m.d.sync += [
            visit.valid.eq(self.busy),
            visit.above.eq(self._layer != 0),
            visit.layer.eq(self._layer),
            visit.starts_word.eq(~begun),
            visit.ends_word.eq(last),
            visit.index.eq(word.payload.place.index),
            visit.block.eq(chosen),
            visit.address.eq(address),
            visit.lanes.eq(word.payload.lanes),
            visit.units.eq(word.payload.units),
        ]
        for bank in range(chip.learn_rows):
            column = [self._deltas[block * chip.learn_rows + bank].as_unsigned() for block in range(blocks)]
            m.d.sync += visit.deltas[bank].eq(self._select(lowest, column).as_signed())
        return visit

    def _block(self, block: int) -> list:
        first = block * self.chip.learn_rows
        return [self._deltas[first + bank] for bank in range(self.chip.learn_rows)]

    def _may_visit(self, m: Module, address: Value, last: Value) -> Value:
        """Whether the votes of the previous visit at this address are written, and, at the last visit of a word,
        whether its errors have room."""
        self._recent = Signal(1, name="recent")
        self._room = Signal(1, name="room")
        self._visit_address = Signal.like(address, name="visit_address")
        m.d.comb += self._visit_address.eq(address)
        return ~self._recent & (self._room | ~last | (self._layer == 0))

    def _update_counters(self, m: Module, visit: data.View) -> Value:
        """V1: send the votes to the banks. Returns whether any are not written yet."""
        chip = self.chip
        for bank in range(chip.learn_rows):
            m.submodules[f"accumulate{bank}"] = accumulate = Accumulate(chip)
            wiring.connect(m, accumulate.counters, wiring.flipped(getattr(self.state.counters, f"bank{bank}")))
            update = accumulate.i
            m.d.comb += [
                accumulate.valid.eq(visit.valid & visit.deltas[bank].any()),
                update.address.eq(visit.address),
                update.delta.eq(visit.deltas[bank]),
                update.lanes.eq(visit.lanes),
                *([update.layer.eq(visit.layer)] if chip.mmaxes else []),
            ]
        valid, address, recent = visit.valid, visit.address, []
        for _ in range(accumulate.latency - 1):
            recent.append(valid & (address == self._visit_address))
            valid, address = delayed(m, valid, 1), delayed(m, address, 1)
        m.d.comb += self._recent.eq(Cat(recent).any())
        under_way = visit.valid
        chain = [visit.valid]
        for _ in range(accumulate.latency):
            under_way = delayed(m, under_way, 1)
            chain.append(under_way)
        return Cat(chain).any()

    # Backward ---------------------------------------------------------------------------------------------------------

    def _pass_errors_back(self, m: Module, visit: data.View) -> None:
        """V1: request the weights of the block. V2: add ``δ·w``. After a word's last visit its sums go to the queue,
        and from there to the errors."""
        chip, weights = self.chip, self.state.weights
        row = visit.block << exact_log2(chip.learn_rows)
        bits = exact_log2(chip.array_rows)
        addresses = [chip.weight_map.row_address(layer, row >> bits) if layer else 0 for layer in range(chip.depth)]
        m.d.comb += [
            weights.read.eq(visit.valid & visit.above),
            weights.read_bank.eq(row[:bits]),
            weights.read_address.eq(visit.index + of_layer(visit.layer, addresses)),
        ]
        late = delayed(m, visit, chip.read_latency)
        words = list(weights.read_rows) if chip.learn_rows > 1 else [weights.read_data]
        sums = Signal(data.ArrayLayout(self._error, chip.array_synapses), name="sums")
        whole, units = Signal(name="sums_whole"), Signal.like(late.units, name="sums_units")
        adds = late.valid & late.above
        m.d.sync += whole.eq(adds & late.ends_word)
        with m.If(adds):
            m.d.sync += units.eq(late.units)
            for lane, total in enumerate(sums):
                products = [self._product(late.deltas[bank], word[lane]) for bank, word in enumerate(words)]
                m.d.sync += total.eq(Mux(late.starts_word, 0, total) + sum(products[1:], products[0]))
        shape = data.StructLayout({"sums": sums.shape(), "units": units.shape()})
        m.submodules.queue = queue = RegisteredQueue(shape, WORDS_UNDER_WAY)
        m.d.comb += [queue.i.valid.eq(whole), queue.i.payload.sums.eq(sums), queue.i.payload.units.eq(units)]
        self._add_to_errors(m, queue)

    def _product(self, delta: Value, weight: Value) -> Value:
        if self.chip.weight_bits == 1:
            return Mux(weight, delta, -delta)
        return Mux(weight[0], Mux(weight[1], -delta, delta), 0)

    def _add_to_errors(self, m: Module, queue: RegisteredQueue) -> None:
        """Add the sums of a word to the errors, a unit a cycle: read, then add and write."""
        fields = self.fields
        number = Signal(range(fields.units), name="add_unit")
        last = number == fields.units - 1
        unit = Signal(unit_layout(self.chip), name="add_place")
        sums = Signal(data.ArrayLayout(self._error, fields.unit), name="add_sums")
        width = len(sums.as_value())
        address = self._address(unit.group, unit.part)
        adds, at, added = Signal(name="adds"), Signal.like(self._write.addr, name="add_at"), Signal.like(sums)
        m.d.comb += [
            unit.as_value().eq(queue.o.payload.units.as_value().word_select(number, len(unit.as_value()))),
            sums.as_value().eq(queue.o.payload.sums.as_value().word_select(number, width)),
            self._add_to.en.eq(1),
            self._add_to.addr.eq(address),
            queue.o.ready.eq(last),
        ]
        m.d.sync += [adds.eq(queue.o.valid & unit.reads), at.eq(address), added.eq(sums)]
        with m.If(queue.o.valid):
            m.d.sync += number.eq(Mux(last, 0, number + 1))
        with m.If(adds):
            m.d.comb += [self._write.en.eq(1), self._write.addr.eq(at)]
            for lane, total in enumerate(self._write.data):
                m.d.comb += total.eq(self._add_to.data[lane] + added[lane])
        under_way = Signal(range(WORDS_UNDER_WAY + 1), name="words_under_way")
        begins = self.busy & self.words.o.ready & (self._layer != 0)
        m.d.sync += under_way.eq(under_way + begins - (queue.o.valid & queue.o.ready))
        m.d.comb += self._room.eq(under_way != WORDS_UNDER_WAY)
        self._errors_under_way = (under_way != 0) | adds

    # Sequence ---------------------------------------------------------------------------------------------------------

    def _sequence(self, m: Module, votes_under_way: Value) -> None:
        """A sample: from the last layer down, clear the errors below, sweep, and wait until all is written."""
        chip, verdict = self.chip, self._verdict
        request = self.words.start
        requested = Signal()
        ends = self.words.o.valid & self.words.o.ready
        place = self.words.o.payload.place
        m.d.comb += [
            request.payload.layer.eq(self._layer),
            request.payload.slot.eq(verdict.sample.slot),
            request.payload.words.eq(verdict.sample.words),
            self.waiting.eq((self.i.valid | ~self.i.ready) & ~self.busy),
            self.done_slot.eq(verdict.sample.slot),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(self.i.valid):
                    m.d.sync += [verdict.eq(self.i.payload), self._layer.eq(chip.depth - 1)]
                    m.next = "VERDICT"
            with m.State("VERDICT"):
                for row, delta in enumerate(self._deltas):
                    m.d.sync += delta.eq(Mux(verdict.sample.label == row, 1, Mux(verdict.rival == row, -1, 0)))
                m.d.sync += [self._loaded.eq(1), self._pool.eq(0)]
                m.next = "CLEAR"
            with m.State("CLEAR"):
                self._clear(m)
            with m.State("SWEEP"):
                m.d.comb += [self._sweeping.eq(1), request.valid.eq(~requested)]
                with m.If(request.ready):
                    m.d.sync += requested.eq(1)
                with m.If(ends & place.ends_position & place.ends_layer):
                    m.d.sync += requested.eq(0)
                    m.next = "DRAIN"
            with m.State("DRAIN"), m.If(~votes_under_way & ~self._errors_under_way):
                m.d.sync += [self._layer.eq(self._layer - 1), self._loaded.eq(0)]
                m.next = "CLEAR"
                with m.If(self._layer == 1):
                    m.next = "SWEEP"
                with m.If(self._layer == 0):
                    m.d.comb += self.done.eq(1)
                    m.next = "IDLE"

    def _clear(self, m: Module) -> None:
        """State ``CLEAR``: clear the errors of the activations that the layer reads."""
        fields = self.fields
        firsts = [base * fields.parts for base in fields.base]
        ends = [*firsts[1:], fields.depth * fields.parts]
        address = Signal(range(max(2, fields.depth * fields.parts)), name="clear_address")
        running = Signal(name="clearing")
        first = of_layer(self._layer, [firsts[0], *firsts])
        final = of_layer(self._layer, [ends[0] - 1, *(end - 1 for end in ends)])
        m.d.sync += running.eq(1)
        with m.If(~running):
            m.d.sync += address.eq(first)
        with m.Else():
            m.d.sync += address.eq(address + 1)
            m.d.comb += [self._write.en.eq(1), self._write.addr.eq(address)]
            with m.If(address == final):
                m.d.sync += running.eq(0)
                m.next = "SWEEP"

    @staticmethod
    def _select(one_hot: Signal, values: list) -> Value:
        """The value whose bit is set in ``one_hot``, or 0 if no bit is."""
        return reduce(or_, (Mux(bit, value, 0) for bit, value in zip(one_hot, values, strict=True)))
