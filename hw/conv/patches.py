"""Patches: what the first layer's synapses see at each position, as nonzero words (golden: ``conv.patches``).

Pixels pass once, row by row. A line memory keeps the ``k − 1`` rows above, so each pixel completes a column of ``k``
pixels; ``k`` columns are the patch of a position::

    pixel ─┬─────────────▶ column ─▶ k columns ─▶ patch ─ nonzero words ─▶
           └▶ line memory ──▲  │
                 ▲─────────────┘ without its oldest row

A patch that is all 0 adds nothing and teaches nothing, so none of its words leaves. Only the last position of each pool
sends a word in any case, since the pool's neurons need an activation.
"""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import NamedTuple

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from popflip.golden.layers import Layer


def patch_word_layout(layer: Layer, lanes: int) -> data.StructLayout:
    """A word of a patch: lane ``b`` of ``bits`` is synapse ``index·lanes + b`` at a position of pool number ``pool``.

    ``last`` : it is the pool's last word. Every pool has one.
    """
    words = -(-layer.synapses // lanes)
    return data.StructLayout({"bits": lanes, "index": range(words), "pool": range(layer.pools), "last": 1})


class _Place(NamedTuple):
    """Of a pixel. ``known`` : bit ``j`` is 1 if row ``j`` of the line memory, oldest first, is inside the image.
    ``position`` : the pixel completes the patch of a position of ``pool``; ``last`` : it is the pool's last position.
    ``starts_row`` : it is the first of its row.
    """

    column: Signal
    known: Signal
    position: Signal
    pool: Signal
    last: Signal
    starts_row: Signal


class Patches(wiring.Component):
    """Turns the pixels of an image into the nonzero words of the patches at the positions of ``layer``.

    Parameters
    ----------
    layer : Layer
        A convolutional layer without bias.
    lanes : int
        Synapses in a word.

    Members
    -------
    ``i`` : In(stream of C)
        ``H·W`` pixels a sample, row by row; bit ``c`` is channel ``c``. All are taken, also those that no patch
        reaches.
    ``o`` : Out(stream of :func:`patch_word_layout`)
        Positions in the order ``(py, px)``, words of a position ascending.

    Takes a pixel a cycle, and :attr:`cycles` cycles a sample in all, while no word waits at ``o`` and no patch has more
    nonzero words than ``stride``; each further word takes a cycle. A word leaves :attr:`latency` cycles after the pixel
    that completes its patch.
    """

    latency = 3

    def __init__(self, layer: Layer, lanes: int):
        self.layer, self.lanes = layer, lanes
        self._words = -(-layer.synapses // lanes)
        planes, outputs = layer.inputs, layer.outputs
        high, wide = (
            (size * layer.pool - 1) * layer.stride + layer.kernel - layer.padding
            for size in (outputs.height, outputs.width)
        )
        # Rows and columns from the image's first pixel to the last one that is in the image or in a patch.
        self._high, self.wide = max(planes.height, high), max(planes.width, wide)
        super().__init__(
            {
                "i": In(stream.Signature(planes.channels)),
                "o": Out(stream.Signature(patch_word_layout(layer, lanes))),
            }
        )

    @property
    def cycles(self) -> int:
        """Cycles of a sample: the pixels of the image, and those right of it and below it that patches reach."""
        return self._high * self.wide

    def elaborate(self, platform) -> Module:
        m = Module()
        layer = self.layer
        takes, shifts, loads = Signal(), Signal(), Signal()  # A, B and C hand over
        place, inside = self._walk(m, takes)
        full = Signal()  # B has a pixel
        complete = Signal()  # C has the patch of a position
        m.d.comb += [
            takes.eq((~full | shifts) & (~inside | self.i.valid)),
            self.i.ready.eq((~full | shifts) & inside),
            shifts.eq(full & (~complete | loads)),
        ]
        with m.If(takes | shifts):
            m.d.sync += full.eq(takes)
        pixel = Signal(layer.inputs.channels)
        held = _Place(*(Signal.like(value, name=f"held_{name}") for name, value in place._asdict().items()))
        with m.If(takes):
            m.d.sync += pixel.eq(Mux(inside, self.i.payload, 0))
            m.d.sync += [mine.eq(value) for mine, value in zip(held, place, strict=True)]
        patch = self._shift(m, self._column(m, takes, shifts, place, held, pixel), held, shifts)
        pool, last = Signal.like(held.pool, name="patch_pool"), Signal(name="patch_last")
        with m.If(shifts):
            m.d.sync += [complete.eq(held.position), pool.eq(held.pool), last.eq(held.last)]
        with m.Elif(loads):
            m.d.sync += complete.eq(0)
        self._send(m, patch, pool, last, complete, loads)
        return m

    def _walk(self, m: Module, takes: Signal) -> tuple[_Place, Value]:
        """A: walk over the pixels. Returns the place of the current one, and whether it is inside the image."""
        layer, outputs = self.layer, self.layer.outputs
        row, column = Signal(range(self._high)), Signal(range(self.wide))
        known = Signal(layer.kernel - 1)
        down = _Along(m, "down", layer, outputs.height)
        across = _Along(m, "across", layer, outputs.width)
        band = Signal(range(layer.pools + 1))  # the first pool of these positions
        ends_row, ends = column == self.wide - 1, row == self._high - 1
        with m.If(takes):
            m.d.sync += column.eq(Mux(ends_row, 0, column + 1))
            across.step(ends_row)
            with m.If(ends_row):
                m.d.sync += [
                    row.eq(Mux(ends, 0, row + 1)),
                    known.eq(Mux(ends, 0, Cat(known, 1) >> 1)),
                    band.eq(Mux(ends, 0, band + Mux(down.here & down.ends_pool, outputs.width, 0))),
                ]
                down.step(ends)
        place = _Place(
            column=column,
            known=known,
            position=Signal(name="position"),
            pool=Signal(range(layer.pools), name="pool"),
            last=Signal(name="last"),
            starts_row=Signal(name="starts_row"),
        )
        m.d.comb += [
            place.position.eq(down.here & across.here),
            place.pool.eq(band + across.pool),
            place.last.eq(down.ends_pool & across.ends_pool),
            place.starts_row.eq(column == 0),
        ]
        return place, (row < layer.inputs.height) & (column < layer.inputs.width)

    def _column(
        self, m: Module, takes: Signal, shifts: Signal, place: _Place, held: _Place, pixel: Signal
    ) -> list[Value]:
        """B: the pixel and those above it, the highest first."""
        layer, channels = self.layer, self.layer.inputs.channels
        if layer.kernel == 1:
            return [pixel]
        m.submodules.lines = lines = Memory(shape=(layer.kernel - 1) * channels, depth=self.wide, init=[])
        write, read = lines.write_port(), lines.read_port()
        above = [
            read.data.word_select(index, channels) & held.known[index].replicate(channels)
            for index in range(layer.kernel - 1)
        ]
        m.d.comb += [
            read.en.eq(takes),
            read.addr.eq(place.column),
            write.en.eq(shifts),
            write.addr.eq(held.column),
            write.data.eq(Cat(*above[1:], pixel)),
        ]
        return [*above, pixel]

    def _shift(self, m: Module, column: list[Value], held: _Place, shifts: Signal) -> Value:
        """C: the last ``k`` columns; those before the first of a row are 0. Returns the patch in the order of the
        synapses."""
        kernel, channels = self.layer.kernel, self.layer.inputs.channels
        columns = [Signal(kernel * channels, name=f"column{index}") for index in range(kernel)]
        with m.If(shifts):
            for index, mine in enumerate(columns[:-1]):
                m.d.sync += mine.eq(Mux(held.starts_row, 0, columns[index + 1]))
            m.d.sync += columns[-1].eq(Cat(column))
        return Cat(columns[kx].word_select(ky, channels) for ky in range(kernel) for kx in range(kernel))

    def _send(self, m: Module, patch: Value, pool: Signal, last: Signal, complete: Signal, loads: Signal) -> None:
        """D: hold a patch and send its nonzero words, the lowest first."""
        words = Signal(data.ArrayLayout(self.lanes, self._words))
        pending = Signal(self._words)  # words that have not left
        ends_pool = Signal()
        filled = Cat(patch, Const(0, self._words * self.lanes - len(patch)))
        nonzero = Cat(filled.word_select(index, self.lanes).any() for index in range(self._words))
        lowest = Signal(self._words)
        rest = pending & ~lowest
        word = self.o.payload
        m.d.comb += [
            lowest.eq(pending & -pending),
            loads.eq(complete & (~self.o.valid | (self.o.ready & ~rest.any()))),
            word.bits.eq(_select(lowest, list(words))),
            word.index.eq(_select(lowest, [Const(index) for index in range(self._words)])),
            word.last.eq(ends_pool & ~rest.any()),
        ]
        with m.If(loads):
            m.d.sync += [
                words.eq(filled),
                pending.eq(Mux(last & ~nonzero.any(), 1, nonzero)),
                self.o.valid.eq(last | nonzero.any()),
                word.pool.eq(pool),
                ends_pool.eq(last),
            ]
        with m.Elif(self.o.valid & self.o.ready):
            m.d.sync += [pending.eq(rest), self.o.valid.eq(rest.any())]


class _Along:
    """Positions along one side of the image, as pixels pass. It adds its logic to the module ``m``.

    ``here`` : the pixel completes a position. ``pool``, ``ends_pool`` : the position's pool along this side, and
    whether it is the last one there.
    """

    def __init__(self, m: Module, name: str, layer: Layer, pools: int):
        self._m, self._layer = m, layer
        self._wait = Signal(range(max(layer.padding, layer.stride - 1) + 1), init=layer.padding, name=f"{name}_wait")
        self._within = Signal(range(layer.pool), name=f"{name}_within")
        self.pool = Signal(range(pools + 1), name=f"{name}_pool")
        self.here = (self._wait == 0) & (self.pool != pools)
        self.ends_pool = self._within == layer.pool - 1

    def step(self, ends: Value) -> None:
        """Go to the next pixel, or, with ``ends``, to the first."""
        m, layer = self._m, self._layer
        with m.If(ends):
            m.d.sync += [self._wait.eq(layer.padding), self._within.eq(0), self.pool.eq(0)]
        with m.Else():
            m.d.sync += self._wait.eq(Mux(self._wait == 0, layer.stride - 1, self._wait - 1))
            with m.If(self.here):
                m.d.sync += self._within.eq(Mux(self.ends_pool, 0, self._within + 1))
                m.d.sync += self.pool.eq(self.pool + self.ends_pool)


def _select(one_hot: Signal, values: list) -> Value:
    """The value whose bit is set in ``one_hot``, or 0 if no bit is."""
    return reduce(or_, (Mux(bit, value, 0) for bit, value in zip(one_hot, values, strict=True)))
