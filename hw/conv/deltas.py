"""Deltas: the ``δ`` of a pool's neurons, loaded ahead of the words that need them.

    δ = clip(e, ±DCLIP) where |v| ≤ WINDOW, else 0

While learning visits the words of a pool, the ``δ`` of the next one are loaded, a unit a cycle.
"""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from popflip.hw.config import ChipConfig
from popflip.hw.conv.errors import ErrorReadSignature
from popflip.hw.conv.fields import Fields
from popflip.hw.conv.gather import most_pools
from popflip.hw.conv.signatures import WindowReadSignature
from popflip.hw.layouts import delta_shape
from popflip.hw.lib.arithmetic import clip
from popflip.hw.lib.lookup import of_layer, times


def blocks(chip: ChipConfig) -> int:
    """Most blocks of ``Pc`` rows of a layer."""
    return max(chip.counter_map.bank_rows)


def fetches(chip: ChipConfig) -> bool:
    """Whether the first layer's words fetch their ``δ`` one by one: each row has one word, and its blocks are parts of
    a unit. Then learning goes through all positions for each block."""
    return chip.words[0] == 1 and chip.learn_rows <= Fields(chip).unit


class Deltas(wiring.Component):
    """Reads errors and windows, and keeps the ``δ`` of a pool until they are taken.

    Members
    -------
    ``errors`` : Out(ErrorReadSignature), ``windows`` : Out(WindowReadSignature)
    ``slot`` : In, ``layer`` : In
        Of the sample and the layer whose ``δ`` are read; stable while any are.
    ``load`` : In(1), ``pool`` : In(range(pools))
        Begin to load the ``δ`` of ``pool``, in a cycle with ``free``.
    ``set`` : In(1), ``label``, ``rival`` : In(range(classes))
        Set the ``δ`` of the last layer, in a cycle with ``free``: +1 and −1.
    ``free`` : Out(1), ``full`` : Out(1), ``take`` : In(1)
        ``full``: all ``δ`` are here, until a cycle with ``take``. ``free``: there are none, and none are loaded.
    ``deltas`` : Out(δ × rows), ``nonzero`` : Out(blocks)
        Rows that the layer does not have have 0. Bit ``b`` of ``nonzero``: block ``b`` of ``Pc`` rows has a ``δ ≠ 0``.
    ``fetch`` : In(1), ``fetch_pool``, ``fetch_block``, ``fetched`` : Out(Pc × δ)
        Only if :func:`fetches`: the ``δ`` of a block of the first layer, a cycle later. Not while any are loaded.
    """

    def __init__(self, chip: ChipConfig):
        self.chip, self.fields = chip, Fields(chip)
        self._units = -(-max(chip.rows) // self.fields.unit)  # of a pool's neurons
        self._fetches = fetches(chip)
        delta, count = delta_shape(chip), blocks(chip)
        fetch = {
            "fetch": In(1),
            "fetch_pool": In(range(chip.plan[0].pools)),
            "fetch_block": In(range(chip.counter_map.bank_rows[0])),
            "fetched": Out(data.ArrayLayout(delta, chip.learn_rows)),
        }
        super().__init__(
            {
                "errors": Out(ErrorReadSignature(chip)),
                "windows": Out(WindowReadSignature(chip)),
                "slot": In(range(chip.slots)),
                "layer": In(range(chip.depth)),
                "load": In(1),
                "pool": In(range(most_pools(chip))),
                "set": In(1),
                "label": In(range(chip.classes)),
                "rival": In(range(chip.classes)),
                "free": Out(1, init=1),
                "full": Out(1),
                "take": In(1),
                "deltas": Out(data.ArrayLayout(delta, count * chip.learn_rows)),
                "nonzero": Out(count),
                **(fetch if self._fetches else {}),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        chip = self.chip
        m.d.comb += self.windows.slot.eq(self.slot)
        self._load(m)
        if self._fetches:
            self._fetch(m)
        with m.If(self.set):
            for row, delta in enumerate(self.deltas):
                m.d.sync += delta.eq(Mux(self.label == row, 1, Mux(self.rival == row, -1, 0)))
            m.d.sync += [self.free.eq(0), self.full.eq(1)]
        with m.If(self.take):
            m.d.sync += [self.free.eq(1), self.full.eq(0)]
        rows = chip.learn_rows
        for block in range(len(self.nonzero)):
            here = Cat(self.deltas[block * rows + bank] for bank in range(rows))
            m.d.comb += self.nonzero[block].eq(here.any())
        return m

    def _read(self, m: Module, group: Value, part: Value) -> None:
        """Read the unit at ``group`` and ``part``."""
        m.d.comb += [
            self.errors.en.eq(1),
            self.errors.group.eq(group),
            self.errors.part.eq(part),
            self.windows.en.eq(1),
            self.windows.group.eq(group),
        ]

    def _arrived(self, part: Value) -> list[Value]:
        """The ``δ`` of the unit that was read, part ``part`` of its group."""
        in_window = self.windows.in_window.word_select(part, self.fields.unit)
        limit = self.chip.dclip
        return [Mux(in_window[lane], clip(e, -limit, limit), 0) for lane, e in enumerate(self.errors.data)]

    def _load(self, m: Module) -> None:
        """Load the units of a pool."""
        chip, fields = self.chip, self.fields
        bits = exact_log2(fields.parts)
        number, arrived = Signal(range(self._units)), Signal(range(self._units))
        loading, arrives, ends = Signal(), Signal(), Signal()
        pool = Signal.like(self.pool, name="loaded_pool")
        hidden = range(chip.depth - 1)
        groups = [fields.base[index] + times(pool, fields.pixel_groups[index]) for index in hidden]
        lasts = [-(-chip.rows[index] // fields.unit) - 1 for index in hidden]
        last = number == of_layer(self.layer, [*lasts, 0])
        m.d.sync += [arrives.eq(loading), arrived.eq(number), ends.eq(loading & last)]
        with m.If(self.load):
            m.d.sync += [loading.eq(1), pool.eq(self.pool), number.eq(0), self.free.eq(0)]
            m.d.sync += [delta.eq(0) for delta in self.deltas]  # another layer may have had more units
        with m.If(loading):
            self._read(m, of_layer(self.layer, [*groups, 0]) + (number >> bits), number[:bits])
            m.d.sync += [number.eq(number + 1), loading.eq(~last)]
        with m.If(ends):
            m.d.sync += self.full.eq(1)
        values = self._arrived(arrived[:bits])
        with m.If(arrives):
            for row, delta in enumerate(self.deltas):
                unit, lane = divmod(row, fields.unit)
                exists = of_layer(self.layer, [int(row < count) for count in chip.rows])
                with m.If(arrived == unit):
                    m.d.sync += delta.eq(Mux(exists, values[lane], 0))

    def _fetch(self, m: Module) -> None:
        """Fetch a block of the first layer."""
        chip, fields = self.chip, self.fields
        bits, each = exact_log2(fields.parts), exact_log2(fields.unit // chip.learn_rows)
        unit = self.fetch_block >> each
        block = Signal.like(self.fetch_block, name="fetched_block")
        with m.If(self.fetch):
            self._read(m, times(self.fetch_pool, fields.pixel_groups[0]) + (unit >> bits), unit[:bits])
            m.d.sync += block.eq(self.fetch_block)
        values = self._arrived((block >> each)[:bits])
        for bank, delta in enumerate(self.fetched):
            choices = Array(value.as_signed() for value in values[bank :: chip.learn_rows])
            row = (block << exact_log2(chip.learn_rows)) + bank
            m.d.comb += delta.eq(Mux(row < chip.rows[0], choices[block[:each]], 0))
