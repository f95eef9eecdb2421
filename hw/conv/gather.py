"""Gather: words of patches above the first layer, out of the memory of activations (golden: ``conv.patches``).

A word is ``N/U`` units (:mod:`.fields`), and each lies at the address of its position's first pixel plus a constant. A
table holds the constants of every word, so addresses take an addition each and no multiplier, whatever the kernel::

    R0 position, word ─▶ R1 table ─▶ R2 addresses, inside? ─▶ R3 activations ─▶ word

Words of rows outside the image are never begun. A word whose units are all beside the image takes a cycle and is
dropped, unless it is its position's last.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from popflip.golden.layers import MAX_POOL
from popflip.hw.config import ChipConfig
from popflip.hw.conv.fields import Field, Fields
from popflip.hw.conv.signatures import GroupReadSignature
from popflip.hw.layouts import lane_layout
from popflip.hw.lib.lookup import of_layer
from popflip.hw.memory_map import first_indices


def most_pools(chip: ChipConfig) -> int:
    """Most pools of a layer."""
    return max(layer.pools for layer in chip.plan)


def place_layout(chip: ChipConfig) -> data.StructLayout:
    """A word of a patch: number ``index`` of its row, at a position of pool number ``pool``.

    ``ends_position`` : it is the position's last word. ``ends_pool`` : the position is the pool's last. ``ends_layer``
    : the position is the layer's last.
    """
    return data.StructLayout(
        {
            "index": range(max(chip.words)),
            "pool": range(most_pools(chip)),
            "ends_position": 1,
            "ends_pool": 1,
            "ends_layer": 1,
        }
    )


def unit_layout(chip: ChipConfig) -> data.StructLayout:
    """Where a unit lies: part ``part`` of a group. ``reads`` : it is inside the image, and no bias or pad."""
    fields = Fields(chip)
    return data.StructLayout({"group": range(max(2, fields.depth)), "part": range(fields.parts), "reads": 1})


def gathered_layout(chip: ChipConfig) -> data.StructLayout:
    """A word of a patch, its ``place``, and the ``units`` that it comes from; lanes outside the image and pads are 0, a
    bias is +1."""
    return data.StructLayout(
        {
            "place": place_layout(chip),
            "lanes": lane_layout(chip),
            "units": data.ArrayLayout(unit_layout(chip), Fields(chip).units),
        }
    )


def request_layout(chip: ChipConfig) -> data.StructLayout:
    """A request for all words of ``layer``, 1 … L−1, of the sample in ``slot``."""
    return data.StructLayout({"layer": range(chip.depth), "slot": range(chip.slots)})


class _Stage(NamedTuple):
    """A word on its way: its place, the first pixel of its position (row, column and group), whether it is the row's
    last word, and its request."""

    valid: Signal
    place: data.View
    top: Signal
    left: Signal
    group: Signal
    last_word: Signal
    request: data.View


class _Walk:
    """Where R0 is: word ``word`` of ``first_word`` … ``last_word``, of the position whose first pixel is in row ``top``
    and column ``left``, at ``group``, that of the row's first position at ``row_group``.

    ``across``, ``down`` : the position within its pool. ``column`` : of the pool. ``band`` : first pool of its row.
    ``row_left`` : rows of positions after this one.
    """

    def __init__(self, chip: ChipConfig, fields: Fields):
        tallest = max(it.planes.height + it.padding for it in fields.fields)
        widest = max(it.planes.width + it.padding for it in fields.fields)
        groups, words = range(max(2, fields.depth)), range(max(chip.words))
        self.running = Signal()
        self.request = Signal(request_layout(chip))
        self.top, self.left = Signal(signed(ceil_log2(tallest) + 2)), Signal(signed(ceil_log2(widest) + 2))
        self.group, self.row_group = Signal(groups), Signal(groups)
        self.word, self.first_word, self.last_word = Signal(words), Signal(words), Signal(words)
        self.across, self.down = Signal(range(MAX_POOL)), Signal(range(MAX_POOL))
        self.column = Signal(range(max(it.outputs.width for it in fields.fields)))
        self.band = Signal(range(most_pools(chip)))
        self.row_left = Signal(range(max(it.outputs.height * it.pool for it in fields.fields)))


class Gather(wiring.Component):
    """Reads the words of a layer's patches, position by position.

    Members
    -------
    ``start`` : In(stream of :func:`request_layout`)
        Taken with the request of the last word of the previous pass.
    ``activations`` : Out(GroupReadSignature)
    ``o`` : Out(stream of :func:`gathered_layout`)
        Positions in the order ``(py, px)``, words of a position ascending.

    A word every cycle; a word that is dropped takes one too. The first leaves :attr:`latency` cycles after its start.
    """

    latency = 4

    def __init__(self, chip: ChipConfig):
        self.chip, self.fields = chip, Fields(chip)
        super().__init__(
            {
                "start": In(stream.Signature(request_layout(chip))),
                "activations": Out(GroupReadSignature(chip)),
                "o": Out(stream.Signature(gathered_layout(chip))),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        moves = Signal()
        m.d.comb += moves.eq(~self.o.valid | self.o.ready)
        walk, word = self._walk(m, moves)
        tapped = self._table(m, moves, walk, word)
        stage = self._next(m, moves, walk, "tapped")
        self._lanes(m, *self._address(m, moves, stage, tapped))
        return m

    # R0 ---------------------------------------------------------------------------------------------------------------

    def _per_field(self, layer: Value, values: list) -> Value:
        """The value of ``layer``, one for each field."""
        return of_layer(layer, [values[0], *values])

    def _of(self, layer: Value, number: Callable[[Field], int]) -> Value:
        """``number`` of the field of ``layer``."""
        return self._per_field(layer, [number(it) for it in self.fields.fields])

    def _before(self, layer: Value) -> Value:
        """The row or column of the first pixel of a layer's first positions."""
        return self._per_field(layer, [Const(-it.padding, signed(6)) for it in self.fields.fields])

    def _walk(self, m: Module, moves: Signal) -> tuple[_Stage, Value]:
        """R0: walk over positions and words. Returns the word, and its number in the table."""
        it = _Walk(self.chip, self.fields)
        layer = it.request.layer
        ends_position = it.word == it.last_word
        ends_across = it.across == self._of(layer, lambda field: field.pool - 1)
        ends_down = it.down == self._of(layer, lambda field: field.pool - 1)
        ends_row = ends_across & (it.column == self._of(layer, lambda field: field.outputs.width - 1))
        ends = ends_position & ends_row & (it.row_left == 0)
        takes = self.start.valid & self.start.ready
        m.d.comb += self.start.ready.eq(~it.running | (moves & ends))
        begins_row = takes | (it.running & moves & ends_position & ends_row & ~ends)
        with m.If(it.running & moves):
            m.d.sync += it.word.eq(it.word + 1)
            with m.If(ends_position):
                self._next_position(m, it, ends_across)
        self._next_row(m, it, takes, begins_row, ends_down)
        with m.If(takes):
            self._begin(m, it)
        with m.Elif(it.running & moves & ends):
            m.d.sync += it.running.eq(0)

        place = Signal(place_layout(self.chip))
        m.d.comb += [
            place.index.eq(it.word),
            place.pool.eq(it.band + it.column),
            place.ends_position.eq(ends_position),
            place.ends_pool.eq(ends_across & ends_down),
            place.ends_layer.eq(ends_row & (it.row_left == 0)),
        ]
        counts = [self.fields.words(index) for index in range(len(self.fields.fields))]
        ends_synapses = Signal()
        m.d.comb += ends_synapses.eq(it.word == self._per_field(layer, [count - 1 for count in counts]))
        stage = _Stage(it.running, place, it.top, it.left, it.group, ends_synapses, it.request)
        return stage, it.word + self._per_field(layer, list(first_indices(counts)))

    def _next_position(self, m: Module, it: _Walk, ends_across: Value) -> None:
        """Go to the next position of the row."""
        layer, fields = it.request.layer, self.fields
        strides = [each.stride * count for each, count in zip(fields.fields, fields.pixel_groups, strict=True)]
        m.d.sync += [
            it.word.eq(it.first_word),
            it.left.eq(it.left + self._of(layer, lambda field: field.stride)),
            it.group.eq(it.group + self._per_field(layer, strides)),
            it.across.eq(Mux(ends_across, 0, it.across + 1)),
            it.column.eq(it.column + ends_across),
        ]

    def _next_row(self, m: Module, it: _Walk, takes: Value, begins_row: Value, ends_down: Value) -> None:
        """With ``begins_row``, go to the first position of the next row, or with ``takes`` of the first row."""
        fields, request = self.fields, self.start.payload
        layer = Signal.like(it.request.layer, name="next_layer")
        top = Signal.like(it.top, name="next_top")
        stride = self._of(it.request.layer, lambda field: field.stride)
        m.d.comb += [
            layer.eq(Mux(takes, request.layer, it.request.layer)),
            top.eq(Mux(takes, self._before(request.layer), it.top + stride)),
        ]
        first_word, last_word = self._word_range(m, layer, top)
        strides = [
            each.stride * each.planes.width * count
            for each, count in zip(fields.fields, fields.pixel_groups, strict=True)
        ]
        below = it.row_group + self._per_field(it.request.layer, strides)
        width = self._of(it.request.layer, lambda field: field.outputs.width)
        with m.If(begins_row):
            m.d.sync += [
                it.top.eq(top),
                it.left.eq(self._before(layer)),
                it.row_group.eq(below),
                it.group.eq(below),
                it.word.eq(first_word),
                it.first_word.eq(first_word),
                it.last_word.eq(last_word),
                it.across.eq(0),
                it.column.eq(0),
                it.down.eq(Mux(ends_down, 0, it.down + 1)),
                it.band.eq(it.band + Mux(ends_down, width, 0)),
                it.row_left.eq(it.row_left - 1),
            ]

    def _begin(self, m: Module, it: _Walk) -> None:
        """Go to the first row of a layer; :meth:`_next_row` does the rest."""
        request = self.start.payload
        origins = [self._origin(index) for index in range(len(self.fields.fields))]
        origin = self._per_field(request.layer, origins)
        m.d.sync += [
            it.running.eq(1),
            it.request.eq(request),
            it.row_group.eq(origin),
            it.group.eq(origin),
            it.down.eq(0),
            it.band.eq(0),
            it.row_left.eq(self._of(request.layer, lambda field: field.outputs.height * field.pool - 1)),
        ]

    def _origin(self, index: int) -> int:
        """Group of the first pixel of a field's first position. It may lie outside the image, ahead of the memory's
        start: addresses wrap, and additions bring those inside back."""
        it, groups = self.fields.fields[index], self.fields.pixel_groups[index]
        first = self.fields.base[index] - it.padding * (it.planes.width + 1) * groups
        return first % (1 << ceil_log2(max(2, self.fields.depth)))

    def _word_range(self, m: Module, layer: Value, top: Value) -> tuple[Value, Value]:
        """First and last word of positions whose first pixel is in row ``top``."""
        firsts, lasts = [], []
        for index, it in enumerate(self.fields.fields):
            above = {0: 0, **{-row: row for row in range(1, it.padding + 1)}}  # by top: rows outside
            ranges = {y: self.fields.word_range(index, low, it.height - 1)[0] for y, low in above.items()}
            firsts.append(_choose(top, ranges, 0))
            tops = [py * it.stride - it.padding for py in range(it.outputs.height * it.pool)]
            ends = {
                y: self.fields.word_range(index, 0, it.planes.height - y - 1)[1]
                for y in tops
                if y + it.height > it.planes.height
            }
            lasts.append(_choose(top, ends, self.fields.words(index) - 1))
        width = ceil_log2(max(2, *self.chip.words))
        first, last = Signal(width, name="next_first"), Signal(width, name="next_last")
        m.d.comb += [first.eq(self._per_field(layer, firsts)), last.eq(self._per_field(layer, lasts))]
        return first, last

    # R1 to R3 ---------------------------------------------------------------------------------------------------------

    def _next(self, m: Module, moves: Signal, stage: _Stage, name: str) -> _Stage:
        """``stage`` a cycle later."""
        after = _Stage(*(Signal.like(value, name=f"{name}_{key}") for key, value in stage._asdict().items()))
        with m.If(moves):
            m.d.sync += [mine.eq(value) for mine, value in zip(after, stage, strict=True)]
        return after

    def _tap_layout(self) -> data.StructLayout:
        """``group`` : from the position's first pixel. ``ky``, ``kx`` : pixel of the field. ``part`` : of the group."""
        fields = self.fields
        return data.StructLayout(
            {
                "group": range(max(2, fields.depth)),
                "ky": range(max(it.height for it in fields.fields)),
                "kx": range(max(it.width for it in fields.fields)),
                "part": range(fields.parts),
                "reads": 1,
            }
        )

    def _table(self, m: Module, moves: Signal, walk: _Stage, word: Value) -> data.View:
        """R1: the units of the word."""
        fields, layout = self.fields, data.ArrayLayout(self._tap_layout(), self.fields.units)
        entries = []
        for index, it in enumerate(fields.fields):
            for number in range(fields.words(index)):
                entries.append([self._entry(index, it, tap) for tap in fields.word_taps(index, number)])
        memory = Memory(shape=layout, depth=len(entries), init=entries)
        m.submodules.table = memory
        read = memory.read_port()
        m.d.comb += [read.en.eq(moves), read.addr.eq(word)]
        return read.data

    def _entry(self, index: int, it: Field, tap) -> dict[str, int]:
        groups, parts = self.fields.pixel_groups[index], self.fields.parts
        group = (tap.ky * it.planes.width + tap.kx) * groups + tap.unit // parts
        return {"group": group, "ky": tap.ky, "kx": tap.kx, "part": tap.unit % parts, "reads": int(tap.reads)}

    def _address(self, m: Module, moves: Signal, stage: _Stage, taps: data.View) -> tuple[_Stage, Value, data.View]:
        """R2: the addresses; request the groups. Returns the word in R3, which of its units are inside the image, and
        where they lie."""
        layout, layer = self.o.payload.units.shape(), stage.request.layer
        height = self._per_field(layer, [it.planes.height for it in self.fields.fields])
        width = self._per_field(layer, [it.planes.width for it in self.fields.fields])
        inside, kept = Signal(self.fields.units, name="inside"), Signal(name="kept")
        units = Signal(layout, name="units")
        insides = []
        for tap in taps:
            y, x = stage.top + tap.ky, stage.left + tap.kx
            insides.append((y >= 0) & (y < height) & (x >= 0) & (x < width))
        with m.If(moves):
            m.d.sync += [inside.eq(Cat(insides)), kept.eq(Cat(insides).any() | stage.place.ends_position)]
            for unit, tap, here in zip(units, taps, insides, strict=True):
                m.d.sync += [unit.group.eq(stage.group + tap.group), unit.part.eq(tap.part)]
                m.d.sync += unit.reads.eq(tap.reads & here)
        after = self._next(m, moves, stage, "addressed")
        m.d.comb += [
            self.activations.en.eq(moves),
            self.activations.slot.eq(after.request.slot),
            *(group.eq(unit.group) for group, unit in zip(self.activations.groups, units, strict=True)),
        ]
        here = self._next(m, moves, after._replace(valid=after.valid & kept), "read")
        inside_here, units_here = Signal.like(inside, name="inside_here"), Signal(layout, name="units_here")
        with m.If(moves):
            m.d.sync += [inside_here.eq(inside), units_here.eq(units)]
        return here, inside_here, units_here

    def _lanes(self, m: Module, stage: _Stage, inside: Value, units: data.View) -> None:
        """R3: the lanes of the word."""
        chip, unit = self.chip, self.fields.unit
        active = Cat(
            Array(group.word_select(index, unit) for index in range(self.fields.parts))[place.part]
            for group, place in zip(self.activations.active, units, strict=True)
        )
        real, bias = [], []
        for it in self.fields.fields:
            count = it.synapses % chip.array_synapses or chip.array_synapses
            real.append((1 << count) - 1)
            bias.append(it.bias << count - 1)
        full = (1 << chip.array_synapses) - 1
        layer, lanes = stage.request.layer, self.o.payload.lanes
        m.d.comb += [
            self.o.valid.eq(stage.valid),
            self.o.payload.place.eq(stage.place),
            self.o.payload.units.eq(units),
            lanes.enable.eq(
                Cat(bit.replicate(unit) for bit in inside) & Mux(stage.last_word, self._per_field(layer, real), full)
            ),
            lanes.positive.eq(active | Mux(stage.last_word, self._per_field(layer, bias), 0)),
        ]


def _choose(value: Value, results: dict[int, int], default: int) -> Value:
    """``results[value]``, or ``default``."""
    chosen: Value = Const(default, ceil_log2(max([1, default, *results.values()]) + 1))
    for key, result in results.items():
        if result != default:
            chosen = Mux(value == key, result, chosen)
    return chosen
