"""Walk: goes over the positions of a layer, and at each of them over the words of a row's patch.

It is one component, which forward and learning use in turn, because samples come slowly and cells are few. A step takes
a cycle; it reads a unit of activations, which is a word, or in the first layer a bit of the image::

    position ─┬▶ T0 tap ─ request ─▶ T1 word or bit ─▶ words
              └▶ pool
"""

from __future__ import annotations

from typing import NamedTuple

from amaranth.hdl import Array, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from popflip.golden.layers import MAX_POOL
from popflip.hw.config import ChipConfig
from popflip.hw.lib.lookup import of_layer
from popflip.hw.memory.signatures import ArrayReadSignature
from popflip.hw.serial.places import Places
from popflip.hw.serial.signatures import (
    BitReadSignature,
    UnitReadSignature,
    WalkSignature,
    part_range,
    pool_bits,
)


class _Tap(NamedTuple):
    """T0: pixel ``(ky, kx)`` and part ``part`` of the field, or the bias alone; ``word``, and lane ``lane`` of it."""

    running: Signal
    ky: Signal
    kx: Signal
    part: Signal
    word: Signal
    lane: Signal
    bias: Signal


class Walk(wiring.Component):
    """Words of patches, by address.

    Members
    -------
    ``user`` : In(WalkSignature)
    ``image`` : Out(BitReadSignature), ``units`` : Out(UnitReadSignature)
    ``weights`` : Out(ArrayReadSignature)
        The weights of each word, requested so that they come with it.

    A word takes a cycle, in the first layer ``N``; one more to start a position.
    """

    def __init__(self, chip: ChipConfig):
        self.chip, self.places = chip, Places(chip)
        super().__init__(
            {
                "user": In(WalkSignature(chip)),
                "image": Out(BitReadSignature(chip)),
                "units": Out(UnitReadSignature(chip)),
                "weights": Out(ArrayReadSignature(chip)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        fields = self.places.fields
        self._first_layer = self.user.layer == 0
        size = max(max(it.planes.height, it.planes.width) + it.padding + it.height for it in fields)
        self._top, self._left = Signal(signed(ceil_log2(size) + 1)), Signal(signed(ceil_log2(size) + 1))
        self._position(m)
        self._taps(m)
        return m

    def _of(self, number) -> Value:
        """``number`` of the field of the user's layer."""
        return of_layer(self.user.layer, [number(it) for it in self.places.fields])

    # Positions --------------------------------------------------------------------------------------------------------

    def _position(self, m: Module) -> None:
        """Step through positions. ``row``, ``column`` : of the pool."""
        user, places = self.user, self.places
        row, column = Signal(pool_bits(self.chip)), Signal(pool_bits(self.chip))
        down, across = Signal(range(MAX_POOL)), Signal(range(MAX_POOL))
        last = self._of(lambda it: it.pool - 1)
        ends_across, ends_down = across == last, down == last
        ends_row = ends_across & (column == self._of(lambda it: it.outputs.width - 1))
        ends_rows = ends_down & (row == self._of(lambda it: it.outputs.height - 1))
        inner = user.by_pool & ends_across & ~ends_down  # the next position is in the pool's next row
        repeats = user.by_pool & ends_across & ends_down & user.again
        new_row = ends_row & ~inner & ~repeats
        stride = self._of(lambda it: it.stride)
        back = self._of(lambda it: (it.pool - 1) * it.stride)
        edge = of_layer(user.layer, [Const(-it.padding, signed(len(self._top))) for it in places.fields])
        returns = user.by_pool & ends_across & ends_down & ~new_row  # to the first row of pools that lie side by side
        m.d.comb += [
            user.ends_pool.eq(ends_across & ends_down),
            user.ends_layer.eq(ends_row & ends_rows),
            user.pool_unit.eq(places.unit_address(user.layer, user.part, column, row, 1)),
        ]
        with m.If(user.step):
            m.d.sync += [
                across.eq(Mux(ends_across, 0, across + 1)),
                self._left.eq(Mux(new_row, edge, Mux(inner | repeats, self._left - back, self._left + stride))),
                self._top.eq(Mux(inner | new_row, self._top + stride, Mux(returns, self._top - back, self._top))),
            ]
            with m.If(ends_across & ~inner & ~repeats):
                m.d.sync += column.eq(Mux(new_row, 0, column + 1))
            with m.If(Mux(user.by_pool, ends_across, new_row)):
                m.d.sync += down.eq(Mux(ends_down, 0, down + 1))
            with m.If(new_row & ends_down):
                m.d.sync += row.eq(row + 1)
        with m.If(user.begin):
            m.d.sync += [across.eq(0), down.eq(0), column.eq(0), row.eq(0), self._left.eq(edge), self._top.eq(edge)]

    # Words ------------------------------------------------------------------------------------------------------------

    def _next_tap(self, m: Module, moves: Value) -> tuple[_Tap, Value, Value]:
        """T0: step through the taps of a position. Returns the tap, and whether it ends a word, and the row."""
        user, places, lanes = self.user, self.places, self.chip.array_synapses
        layers = range(self.chip.depth)
        tap = _Tap(
            running=Signal(name="running"),
            ky=Signal(range(max(it.height for it in places.fields)), name="ky"),
            kx=Signal(range(max(it.width for it in places.fields)), name="kx"),
            part=Signal(part_range(self.chip), name="part"),
            word=Signal(range(max(self.chip.words)), name="word"),
            lane=Signal(range(lanes), name="lane"),
            bias=Signal(name="bias"),
        )
        ends_pixel = tap.part == of_layer(user.layer, [places.parts(layer) - 1 for layer in layers])
        ends_line = ends_pixel & (tap.kx == self._of(lambda it: it.width - 1))
        ends_taps = ends_line & (tap.ky == self._of(lambda it: it.height - 1))
        bias_follows = of_layer(user.layer, [int(places.bias_apart(layer)) for layer in layers])
        ends, ends_word = Signal(name="ends"), Signal(name="ends_word")
        m.d.comb += [
            ends.eq(tap.bias | (ends_taps & ~bias_follows)),
            ends_word.eq(~self._first_layer | ends | (tap.lane == lanes - 1)),
        ]
        with m.If(tap.running & moves):
            m.d.sync += [
                tap.part.eq(Mux(ends_pixel, 0, tap.part + 1)),
                tap.lane.eq(Mux(ends, 0, tap.lane + 1)),
                tap.word.eq(Mux(ends, 0, tap.word + ends_word)),
                tap.bias.eq(ends_taps & ~ends),
                tap.running.eq(~ends),
            ]
            with m.If(ends_pixel):
                m.d.sync += tap.kx.eq(Mux(ends_line, 0, tap.kx + 1))
            with m.If(ends_line):
                m.d.sync += tap.ky.eq(Mux(ends_taps, 0, tap.ky + 1))
        with m.If(tap.bias & moves):
            m.d.sync += [tap.part.eq(0), tap.kx.eq(0), tap.ky.eq(0)]
        with m.If(user.start):
            m.d.sync += tap.running.eq(1)
        return tap, ends_word, ends

    def _taps(self, m: Module) -> None:
        """T0 requests a tap, T1 has it."""
        chip, user, places = self.chip, self.user, self.places
        moves, arrived = Signal(name="moves"), Signal(name="arrived")
        m.d.comb += moves.eq(~user.valid | user.ready)
        tap, ends_word, ends = self._next_tap(m, moves)
        y, x = self._top + tap.ky, self._left + tap.kx
        # A negative number is larger than any height or width.
        rows, columns = y[: len(self._top)], x[: len(self._left)]
        inside = (rows < self._of(lambda it: it.planes.height)) & (columns < self._of(lambda it: it.planes.width))
        unit = places.unit_address(user.layer, tap.part, columns, rows, 0)
        requests = Signal(name="requests")
        m.d.comb += [
            requests.eq(tap.running & moves),
            self.image.en.eq(requests & self._first_layer),
            self.image.address.eq(places.image_address(columns, rows, tap.part, user.slot)),
            self.units.en.eq((requests & ~self._first_layer) | user.peek),
            self.units.unit.eq(Mux(user.peek, user.pool_unit, unit)),
            self.weights.read.eq(requests & ends_word),
            self.weights.address.eq(self._group_base() + tap.word),
            user.idle.eq(~tap.running & ~arrived),
            user.in_window.eq(self.units.in_window),
        ]
        here, last, bias, lane, ends_here = Signal(), Signal(), Signal(), Signal.like(tap.lane), Signal()
        with m.If(moves):
            m.d.sync += [
                arrived.eq(tap.running),
                here.eq(inside),
                last.eq(ends),
                bias.eq(tap.bias),
                lane.eq(tap.lane),
                ends_here.eq(ends_word),
                user.weight_address.eq(self.weights.address),
                user.unit.eq(unit),
                user.in_unit.eq(~tap.bias & ~self._first_layer),
            ]
        bits = self._collect(m, arrived, ends_here, lane, here & self.image.bit)
        lanes, full = user.lanes, (1 << chip.array_synapses) - 1
        real = of_layer(user.layer, [chip.real_lanes(layer, count - 1) for layer, count in enumerate(chip.words)])
        biases = [it.bias << (it.synapses - 1) % chip.array_synapses for it in places.fields]
        m.d.comb += [
            user.valid.eq(arrived & ends_here),
            lanes.enable.eq(Mux(here | bias, Mux(last, real, full), 0)),
            lanes.positive.eq(self.units.active | Mux(last, of_layer(user.layer, biases), 0)),
        ]
        with m.If(self._first_layer):
            m.d.comb += [lanes.enable.eq(bits), lanes.positive.eq(bits)]

    def _collect(self, m: Module, arrived: Value, ends: Value, lane: Value, bit: Value) -> Value:
        """The bits of a word of the first layer, the one that has arrived among them."""
        held = Signal(self.chip.array_synapses)
        bits = held | (bit << lane)[: len(held)]
        with m.If(arrived & self._first_layer):
            with m.If(~ends):
                m.d.sync += held.eq(bits)
            with m.Elif(self.user.ready):
                m.d.sync += held.eq(0)
        return bits

    def _group_base(self) -> Value:
        """Address of the first word of the weights of a group of rows."""
        chip = self.chip
        addresses = range(chip.weight_map.depth)
        bases = []
        for layer, count in enumerate(chip.groups):
            bases.append(Array(Const(chip.weight_map.row_address(layer, group), addresses) for group in range(count)))
        return of_layer(self.user.layer, [each[self.user.group[: max(1, ceil_log2(len(each)))]] for each in bases])
