"""Errors: the sums ``Σ δ·w`` of each hidden activation, over all words that were gathered from it.

::

    sums of a word ─▶ queue ─▶ unit by unit: read ─▶ add ─▶ write

The activations below the last layer, a dense one, are each in one word, so their errors are written. Those below are
sums over positions; they are cleared in cycles in which nothing else is written.
"""

from __future__ import annotations

from typing import NamedTuple

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from popflip.golden.layers import Layer
from popflip.hw.config import ChipConfig
from popflip.hw.conv.fields import Fields
from popflip.hw.conv.gather import unit_layout
from popflip.hw.lib.stream import RegisteredQueue

WORDS_UNDER_WAY = 8
"""Most words whose errors are on their way to the memory of errors."""


def input_reads(layer: Layer) -> int:
    """Most positions at which a row of ``layer`` reads the same input."""
    across = -(-layer.kernel // layer.stride)
    return min(layer.positions, across**2)


def error_limit(chip: ChipConfig) -> int:
    """Largest possible |e|: every row agrees at every position. The last layer has two rows with an error."""
    hidden = [layer.rows * chip.dclip * input_reads(layer) for layer in chip.plan[1:-1]]
    return max([2, *hidden])


def error_shape(chip: ChipConfig):
    """Shape of an error."""
    return signed(error_limit(chip).bit_length() + 1)


def sums_layout(chip: ChipConfig) -> data.StructLayout:
    """The errors of a word's lanes, and the ``units`` that they belong to. ``only`` : no other word has these units."""
    return data.StructLayout(
        {
            "sums": data.ArrayLayout(error_shape(chip), chip.array_synapses),
            "units": data.ArrayLayout(unit_layout(chip), Fields(chip).units),
            "only": 1,
        }
    )


class ErrorReadSignature(wiring.Signature):
    """Reads the errors of a unit: request in one cycle, data in the next, held until the next request."""

    def __init__(self, chip: ChipConfig):
        fields = Fields(chip)
        super().__init__(
            {
                "en": Out(1),
                "group": Out(range(max(2, fields.depth))),
                "part": Out(range(fields.parts)),
                "data": In(data.ArrayLayout(error_shape(chip), fields.unit)),
            }
        )


class _Adding(NamedTuple):
    """A unit whose errors are read: its address, what to add, and whether to add it to 0."""

    valid: Signal
    address: Signal
    sums: data.View
    only: Signal


class Errors(wiring.Component):
    """The memory of errors of one sample.

    Members
    -------
    ``i`` : In(stream of :func:`sums_layout`)
        Takes :data:`WORDS_UNDER_WAY` words at once, and then one in ``N/U`` cycles.
    ``added`` : Out(1)
        A word has left the queue.
    ``busy`` : Out(1)
        A word is in the queue, or not yet written.
    ``read`` : In(ErrorReadSignature)
        Not while words are added to the same activations.
    ``clear`` : In(1), ``cleared`` : Out(1)
        ``clear`` sets all errors to 0 that come as sums of several words, until ``cleared`` is high again.
    """

    def __init__(self, chip: ChipConfig):
        self.chip, self.fields = chip, Fields(chip)
        super().__init__(
            {
                "i": In(stream.Signature(sums_layout(chip))),
                "added": Out(1),
                "busy": Out(1),
                "read": In(ErrorReadSignature(chip)),
                "clear": In(1),
                "cleared": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        fields, read = self.fields, self.read
        memory = Memory(shape=read.data.shape(), depth=fields.depth * fields.parts, init=[])
        m.submodules.memory = memory
        write = memory.write_port()
        to_add, to_read = memory.read_port(transparent_for=(write,)), memory.read_port()
        m.d.comb += [
            to_read.en.eq(read.en),
            to_read.addr.eq(self._address(read.group, read.part)),
            read.data.eq(to_read.data),
        ]
        adding = self._unroll(m, to_add)
        self._clear(m, write, adding.valid)
        with m.If(adding.valid):
            m.d.comb += [write.en.eq(1), write.addr.eq(adding.address)]
            for lane, total in enumerate(write.data):
                m.d.comb += total.eq(Mux(adding.only, 0, to_add.data[lane]) + adding.sums[lane])
        return m

    def _address(self, group: Value, part: Value) -> Value:
        """Address of a unit."""
        return Cat(part[: exact_log2(self.fields.parts)], group)

    def _unroll(self, m: Module, to_add: wiring.PureInterface) -> _Adding:
        """Take a word apart, and read its units, one a cycle. Returns the unit that was read."""
        chip, fields = self.chip, self.fields
        m.submodules.queue = queue = RegisteredQueue(sums_layout(chip), WORDS_UNDER_WAY)
        wiring.connect(m, wiring.flipped(self.i), queue.i)
        word = queue.o.payload
        number = Signal(range(fields.units), name="unit_number")
        last = number == fields.units - 1
        unit = Signal(unit_layout(chip), name="unit")
        adding = _Adding(Signal(), Signal.like(to_add.addr), Signal(to_add.data.shape()), Signal())
        sums = word.sums.as_value().word_select(number, len(adding.sums.as_value()))
        m.d.comb += [
            unit.as_value().eq(word.units.as_value().word_select(number, len(unit.as_value()))),
            to_add.en.eq(1),
            to_add.addr.eq(self._address(unit.group, unit.part)),
            queue.o.ready.eq(last),
            self.added.eq(queue.o.valid & last),
            self.busy.eq(queue.o.valid | adding.valid),
        ]
        m.d.sync += [
            adding.valid.eq(queue.o.valid & unit.reads),
            adding.address.eq(to_add.addr),
            adding.sums.as_value().eq(sums),
            adding.only.eq(word.only),
        ]
        with m.If(queue.o.valid):
            m.d.sync += number.eq(Mux(last, 0, number + 1))
        return adding

    def _clear(self, m: Module, write: wiring.PureInterface, adds: Value) -> None:
        """Clear a unit in a cycle without ``adds``."""
        fields = self.fields
        sums = fields.fields[:-1]
        if not sums:
            m.d.comb += self.cleared.eq(1)
            return
        group, part = Signal(range(max(2, fields.depth)), name="clear_group"), Signal(range(fields.parts))
        running = Signal(name="clearing", init=1)  # a reset may come in the middle of a sample
        last_part: Value = Const(0, max(1, exact_log2(fields.parts)))
        for index, it in enumerate(sums):  # a pixel of one group does not use all of its units
            used = -(-it.planes.channels // fields.unit) if fields.pixel_groups[index] == 1 else fields.parts
            last_part = Mux(group >= fields.base[index], used - 1, last_part)
        moves = running & ~adds
        m.d.comb += [self.cleared.eq(~running), write.en.eq(running), write.addr.eq(self._address(group, part))]
        with m.If(moves):
            m.d.sync += part.eq(part + 1)
            with m.If(part == last_part):
                m.d.sync += [part.eq(0), group.eq(group + 1)]
                with m.If(group == fields.base[len(sums)] - 1):
                    m.d.sync += running.eq(0)
        with m.If(self.clear):
            m.d.sync += [running.eq(1), group.eq(0), part.eq(0)]
