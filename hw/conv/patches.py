"""Patches: what the first layer's synapses see at each position, as nonzero words (golden: ``conv.patches``).

Pixels pass once, row by row, ``s`` side by side: as many as the layer's stride, so that each step completes one column
of positions. A line memory keeps the ``k − 1`` rows above, so the pixels of a step complete ``s`` columns of ``k``
pixels; ``k`` columns are the patch of a position::

    s pixels ─┬─────────────▶ s columns ─▶ columns ─▶ patch ─ nonzero words ─▶
              └▶ line memory ──▲  │
                    ▲─────────────┘ without its oldest row

A patch that is all 0 adds nothing and teaches nothing, so none of its words leaves. Only a pool that has begun sends a
word at its last position in any case, since that is where it ends. The last pool of all always does, as it ends the
list.
"""

from __future__ import annotations

from dataclasses import dataclass
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

    ``last`` : it is the pool's last word. Every pool with a word has one.
    """
    words = -(-layer.synapses // lanes)
    return data.StructLayout({"bits": lanes, "index": range(words), "pool": range(layer.pools), "last": 1})


class _Place(NamedTuple):
    """Of a step. ``known`` : bit ``j`` is 1 if row ``j`` of the line memory, oldest first, is inside the image.
    ``position`` : the step completes the patch of a position of ``pool``, number ``across`` of its row of pools;
    ``last`` : it is the pool's last position. ``starts_row`` : it is the first step of its row.
    """

    step: Signal
    known: Signal
    position: Signal
    pool: Signal
    across: Signal
    last: Signal
    starts_row: Signal


@dataclass(frozen=True)
class Slide:
    """How :class:`Patches` goes over the image of ``layer``: in rows of steps, each of as many pixels as its stride."""

    layer: Layer

    @property
    def steps(self) -> int:
        """Steps of a row of the image."""
        return -(-self.layer.inputs.width // self.layer.stride)

    @property
    def ahead(self) -> int:
        """Steps of a row before that of its first position."""
        return self.layer.padding // self.layer.stride

    @property
    def high(self) -> int:
        """Rows from the image's first pixels to the last ones that are in the image or in a patch."""
        layer = self.layer
        last = (layer.outputs.height * layer.pool - 1) * layer.stride + layer.kernel - layer.padding
        return max(layer.inputs.height, last)

    @property
    def wide(self) -> int:
        """Steps of such a row, and words of the line memory."""
        return max(self.steps, self.layer.outputs.width * self.layer.pool + self.ahead)

    @property
    def cycles(self) -> int:
        """Cycles of a sample: the steps of the image, and those right of it and below it that patches reach."""
        return self.high * self.wide


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
    ``i`` : In(stream of s × C)
        ``H · ⌈W/s⌉`` steps a sample, row by row: bit ``j·C + c`` is channel ``c`` of pixel ``j``. Pixels right of the
        image are 0. All are taken, also those that no patch reaches.
    ``o`` : Out(stream of :func:`patch_word_layout`)
        Positions in the order ``(py, px)``, words of a position ascending.

    Takes a step a cycle, and :attr:`Slide.cycles` cycles a sample in all, while no word waits at ``o`` and no patch has
    more than one nonzero word; each further word takes a cycle. A word leaves :attr:`latency` cycles after the pixels
    that complete its patch.
    """

    latency = 3

    def __init__(self, layer: Layer, lanes: int):
        self.layer, self.lanes = layer, lanes
        self._words = -(-layer.synapses // lanes)
        planes, slide = layer.inputs, Slide(layer)
        self.steps, self.wide, self.cycles = slide.steps, slide.wide, slide.cycles
        self._ahead, self._high = slide.ahead, slide.high
        super().__init__(
            {
                "i": In(stream.Signature(layer.stride * planes.channels)),
                "o": Out(stream.Signature(patch_word_layout(layer, lanes))),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        layer = self.layer
        takes, shifts, loads = Signal(), Signal(), Signal()  # A, B and C hand over
        place, inside = self._walk(m, takes)
        full = Signal()  # B has pixels
        complete = Signal()  # C has the patch of a position
        m.d.comb += [
            takes.eq((~full | shifts) & (~inside | self.i.valid)),
            self.i.ready.eq((~full | shifts) & inside),
            shifts.eq(full & (~complete | loads)),
        ]
        with m.If(takes | shifts):
            m.d.sync += full.eq(takes)
        pixels = Signal(layer.stride * layer.inputs.channels)
        held = _Place(*(Signal.like(value, name=f"held_{name}") for name, value in place._asdict().items()))
        with m.If(takes):
            m.d.sync += pixels.eq(Mux(inside, self.i.payload, 0))
            m.d.sync += [mine.eq(value) for mine, value in zip(held, place, strict=True)]
        patch = self._shift(m, self._columns(m, takes, shifts, place, held, pixels), held, shifts)
        at = held._replace(**{name: Signal.like(getattr(held, name), name=f"patch_{name}") for name in _OF_PATCH})
        with m.If(shifts):
            m.d.sync += [complete.eq(held.position), *(getattr(at, n).eq(getattr(held, n)) for n in _OF_PATCH)]
        with m.Elif(loads):
            m.d.sync += complete.eq(0)
        self._send(m, patch, at, complete, loads)
        return m

    def _walk(self, m: Module, takes: Signal) -> tuple[_Place, Value]:
        """A: walk over the image. Returns the place of the current step, and whether it is inside the image."""
        layer, outputs = self.layer, self.layer.outputs
        row, step = Signal(range(self._high)), Signal(range(self.wide))
        known = Signal(layer.kernel - 1)
        down = _Along(m, "down", layer.padding, layer.stride, layer.pool, outputs.height)
        across = _Along(m, "across", self._ahead, 1, layer.pool, outputs.width)
        band = Signal(range(layer.pools + 1))  # the first pool of these positions
        ends_row, ends = step == self.wide - 1, row == self._high - 1
        with m.If(takes):
            m.d.sync += step.eq(Mux(ends_row, 0, step + 1))
            across.step(ends_row)
            with m.If(ends_row):
                m.d.sync += [
                    row.eq(Mux(ends, 0, row + 1)),
                    known.eq(Mux(ends, 0, Cat(known, 1) >> 1)),
                    band.eq(Mux(ends, 0, band + Mux(down.here & down.ends_pool, outputs.width, 0))),
                ]
                down.step(ends)
        place = _Place(
            step=step,
            known=known,
            position=Signal(name="position"),
            pool=Signal(range(layer.pools), name="pool"),
            across=Signal(range(outputs.width), name="across"),
            last=Signal(name="last"),
            starts_row=Signal(name="starts_row"),
        )
        m.d.comb += [
            place.position.eq(down.here & across.here),
            place.pool.eq(band + across.pool),
            place.across.eq(across.pool),
            place.last.eq(down.ends_pool & across.ends_pool),
            place.starts_row.eq(step == 0),
        ]
        return place, (row < layer.inputs.height) & (step < self.steps)

    def _columns(
        self, m: Module, takes: Signal, shifts: Signal, place: _Place, held: _Place, pixels: Signal
    ) -> list[Value]:
        """B: the pixels and those above them, the highest first, as ``s`` columns."""
        layer, channels = self.layer, self.layer.inputs.channels
        rows = [pixels]
        if layer.kernel > 1:
            m.submodules.lines = lines = Memory(shape=(layer.kernel - 1) * len(pixels), depth=self.wide, init=[])
            write, read = lines.write_port(), lines.read_port()
            above = [
                read.data.word_select(index, len(pixels)) & held.known[index].replicate(len(pixels))
                for index in range(layer.kernel - 1)
            ]
            m.d.comb += [
                read.en.eq(takes),
                read.addr.eq(place.step),
                write.en.eq(shifts),
                write.addr.eq(held.step),
                write.data.eq(Cat(*above[1:], pixels)),
            ]
            rows = [*above, pixels]
        return [Cat(row.word_select(number, channels) for row in rows) for number in range(layer.stride)]

    def _shift(self, m: Module, new: list[Value], held: _Place, shifts: Signal) -> Value:
        """C: the columns of the patch, and those right of it that come with its last one; what lies before the first
        column of a row is 0. Returns the patch in the order of the synapses."""
        layer, kernel, channels = self.layer, self.layer.kernel, self.layer.inputs.channels
        count = kernel + layer.stride - 1 - layer.padding % layer.stride
        columns = [Signal(kernel * channels, name=f"column{index}") for index in range(count)]
        with m.If(shifts):
            for index, mine in enumerate(columns[: -layer.stride]):
                m.d.sync += mine.eq(Mux(held.starts_row, 0, columns[index + layer.stride]))
            m.d.sync += [mine.eq(value) for mine, value in zip(columns[-layer.stride :], new, strict=True)]
        return Cat(columns[kx].word_select(ky, channels) for ky in range(kernel) for kx in range(kernel))

    def _send(self, m: Module, patch: Value, at: _Place, complete: Signal, loads: Signal) -> None:
        """D: hold a patch and send its nonzero words, the lowest first."""
        words = Signal(data.ArrayLayout(self.lanes, self._words))
        pending = Signal(self._words)  # words that have not left
        begun = Signal(self.layer.outputs.width)  # pools of the row that have sent a word, and not their last one
        ends_pool = Signal()
        filled = Cat(patch, Const(0, self._words * self.lanes - len(patch)))
        nonzero = Cat(filled.word_select(index, self.lanes).any() for index in range(self._words))
        must = at.last & (begun.bit_select(at.across, 1) | (at.pool == self.layer.pools - 1))
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
                pending.eq(Mux(must & ~nonzero.any(), 1, nonzero)),
                self.o.valid.eq(must | nonzero.any()),
                word.pool.eq(at.pool),
                ends_pool.eq(at.last),
            ]
            with m.If(at.last):
                m.d.sync += begun.bit_select(at.across, 1).eq(0)
            with m.Elif(nonzero.any()):
                m.d.sync += begun.bit_select(at.across, 1).eq(1)
        with m.Elif(self.o.valid & self.o.ready):
            m.d.sync += [pending.eq(rest), self.o.valid.eq(rest.any())]


_OF_PATCH = ("pool", "across", "last")


class _Along:
    """Positions along one side of the image, as steps pass: the first one is ``ahead`` steps behind the image's edge,
    the others are ``stride`` apart. It adds its logic to the module ``m``.

    ``here`` : the step completes a position. ``pool``, ``ends_pool`` : the position's pool along this side, and whether
    it is the last one there.
    """

    def __init__(self, m: Module, name: str, ahead: int, stride: int, pool: int, pools: int):
        self._m, self._ahead, self._stride = m, ahead, stride
        self._wait = Signal(range(max(ahead, stride - 1) + 1), init=ahead, name=f"{name}_wait")
        self._within = Signal(range(pool), name=f"{name}_within")
        self.pool = Signal(range(pools + 1), name=f"{name}_pool")
        self.here = (self._wait == 0) & (self.pool != pools)
        self.ends_pool = self._within == pool - 1

    def step(self, ends: Value) -> None:
        """Go to the next step, or, with ``ends``, to the first."""
        m = self._m
        with m.If(ends):
            m.d.sync += [self._wait.eq(self._ahead), self._within.eq(0), self.pool.eq(0)]
        with m.Else():
            m.d.sync += self._wait.eq(Mux(self._wait == 0, self._stride - 1, self._wait - 1))
            with m.If(self.here):
                m.d.sync += self._within.eq(Mux(self.ends_pool, 0, self._within + 1))
                m.d.sync += self.pool.eq(self.pool + self.ends_pool)


def _select(one_hot: Signal, values: list) -> Value:
    """The value whose bit is set in ``one_hot``, or 0 if no bit is."""
    return reduce(or_, (Mux(bit, value, 0) for bit, value in zip(one_hot, values, strict=True)))
