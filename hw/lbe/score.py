"""Score: counts the neurons of a layer that agree with each class's local classifier (golden ``score.score``).

    y_c = K − 2·popcount(ρ_c XOR a')        (arXiv 2412.00119, P_l; K neurons in the layer)

Each cycle adds a neuron's column of ρ, one bit a class, to one counter a class, while sums of the layer still come. No
pass over the classifiers is needed. The counters hold agreement, ``(y_c + K) / 2``, which orders the classes alike.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from popflip.hw.common.error import values_layout
from popflip.hw.common.forward import active
from popflip.hw.config import ChipConfig
from popflip.hw.layouts import sample_layout, sum_shape
from popflip.hw.lib.stream import item_layout


def neurons(chip: ChipConfig) -> int:
    """Neurons of all layers: the number of columns of the local classifiers."""
    return sum(chip.rows)


class ClassifierSignature(wiring.Signature):
    """The fixed random bits ρ of all layers: for each neuron a column with one bit a class.

    Members
    -------
    ``address`` : Out(range(neurons)), ``column`` : In(C)
        The column of a neuron, a cycle after its address.
    ``write`` : Out(1), ``write_address``, ``write_column`` : Out
        Lands at the end of its cycle.
    """

    def __init__(self, chip: ChipConfig):
        address = range(neurons(chip))
        super().__init__(
            {
                "address": Out(address),
                "column": In(chip.classes),
                "write": Out(1),
                "write_address": Out(address),
                "write_column": Out(chip.classes),
            }
        )


class Classifiers(wiring.Component):
    """The memory of the local classifiers.

    Members
    -------
    ``port`` : In(ClassifierSignature)
    """

    def __init__(self, chip: ChipConfig):
        self.memory = Memory(shape=chip.classes, depth=neurons(chip), init=[])
        super().__init__({"port": In(ClassifierSignature(chip))})

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.memory = self.memory
        write, read = self.memory.write_port(), self.memory.read_port()
        m.d.comb += [
            read.addr.eq(self.port.address),
            self.port.column.eq(read.data),
            write.en.eq(self.port.write),
            write.addr.eq(self.port.write_address),
            write.data.eq(self.port.write_column),
        ]
        return m


class Score(wiring.Component):
    """Counts, class by class, the neurons of a layer that agree.

    Members
    -------
    ``i`` : In(stream of :func:`.stream.item_layout`)
        A neuron's sum ``z``: the neurons of a layer, then of the layer above, then of the next sample.
    ``address`` : Out(range(neurons)), ``column`` : In(C)
        Reads :class:`Classifiers`.
    ``desired`` : Out(1)
        Desired activation of the neuron offered at ``i``, for the sample's class: bit 1 is +1.
    ``o`` : Out(stream of :func:`.error.values_layout`)
        A layer's scores.

    Takes a neuron a cycle. A layer's scores leave :attr:`latency` cycles after its last neuron came. The next layer
    starts after that.
    """

    latency = 1

    def __init__(self, chip: ChipConfig):
        self.chip = chip
        super().__init__(
            {
                "i": In(stream.Signature(item_layout(sum_shape(chip), sample_layout(chip)))),
                "address": Out(range(neurons(chip))),
                "column": In(chip.classes),
                "desired": Out(1),
                "o": Out(stream.Signature(values_layout(chip))),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        chip = self.chip
        neuron = self.i.payload
        take = self.i.valid & self.i.ready

        current = Signal.like(self.address)  # the neuron that comes next
        m.d.comb += [
            self.i.ready.eq(~self.o.valid),
            self.address.eq(current),
            self.desired.eq(self.column.bit_select(neuron.tag.label, 1)),
        ]
        with m.If(take):
            m.d.comb += self.address.eq(Mux(current == neurons(chip) - 1, 0, current + 1))
            m.d.sync += current.eq(self.address)

        agrees = Cat(~(self.column[number] ^ active(chip, neuron.item)) for number in range(chip.classes))
        with m.If(take):
            for number in range(chip.classes):
                count = self.o.payload.items[number]
                m.d.sync += count.eq(Mux(neuron.first, 0, count) + agrees[number])
            m.d.sync += [self.o.payload.tag.eq(neuron.tag), self.o.valid.eq(neuron.last)]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        m.d.comb += [self.o.payload.final.eq(chip.classes - 1), self.o.payload.last.eq(1)]
        return m
