"""Forward on a chip with one walk: pool by pool, so that only the sums of ``P`` rows are open (golden:
``conv.forward.forward``).

::

    walk ─ words, weights ─▶ MAC ─▶ Σ words, positions of the pool ─▶ v ─ row by row ─┬▶ units of activations
                                                                                    └▶ last layer: o

For each layer, for each pool, for each group of ``P`` rows: all positions of the pool, and all words of each. Then the
sums leave one a cycle, through one comparison with WINDOW.
"""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from popflip.hw.common.forward import active
from popflip.hw.config import ChipConfig
from popflip.hw.layouts import result_layout, sample_layout, sum_shape, weight_word
from popflip.hw.lib.arithmetic import compare_magnitude
from popflip.hw.lib.lookup import of_layer
from popflip.hw.serial.signatures import UnitWriteSignature, WalkSignature


def product(chip: ChipConfig, lanes: data.View, weights: data.View) -> Value:
    """``Σ_b lane[b] · w[b]`` of one row, in the same cycle.

    Pairs of lanes are logic of four inputs each, and so is a bit of their sum: adders would take a cell a bit and more.
    """
    terms = []
    for enable, positive, weight in zip(lanes.enable, lanes.positive, weights, strict=True):
        nonzero = enable & (weight[0] if chip.weight_bits == 2 else 1)
        negative = nonzero & (positive ^ (~weight[-1] if chip.weight_bits == 2 else weight[0]))
        terms.append((nonzero, negative))
    sums = []
    for (first, minus_first), (second, minus_second) in zip(terms[::2], terms[1::2], strict=True):
        odd, minus = first ^ second, minus_first | minus_second
        both = minus_first & minus_second
        sums.append(Cat(odd, Mux(odd, minus, first & (minus_first == minus_second)), Mux(odd, minus, both)))
    while len(sums) > 1:
        sums = [_sum(low, high) for low, high in zip(sums[::2], sums[1::2], strict=True)]
    return sums[0].as_signed()


def _sum(first: Value, second: Value) -> Value:
    """``first + second``, two's complement, a bit wider than these."""
    bits, carry = [], Const(0)
    for a, b in zip([*first, first[-1]], [*second, second[-1]], strict=True):
        bits.append(a ^ b ^ carry)
        carry = (a & b) | (carry & (a ^ b))
    return Cat(bits)


class SerialForward(wiring.Component):
    """Takes samples through all layers, ``P × N`` synapses a cycle at most.

    Members
    -------
    ``i`` : In(stream sample_layout), ``o`` : Out(stream result_layout)
        ``o`` has the sums of the last layer, row after row.
    ``window`` : In(L−1 × range)
        The largest |v| within the window, for each hidden layer.
    ``walk`` : Out(WalkSignature)
        A sample is taken only if nobody else uses the walk until its verdict.
    ``weights`` : In(P × N weights)
        Of the walk's word.
    ``store`` : Out(UnitWriteSignature)
    ``busy`` : Out(1)
        The array takes a word in this cycle.
    ``waiting`` : Out(1)
        A sample is here, or offered, and the array takes no word.
    """

    def __init__(self, chip: ChipConfig):
        self.chip = chip
        super().__init__(
            {
                "i": In(stream.Signature(sample_layout(chip))),
                "o": Out(stream.Signature(result_layout(chip))),
                "window": In(data.ArrayLayout(range(chip.v_max + 1), max(1, chip.depth - 1))),
                "walk": Out(WalkSignature(chip)),
                "weights": In(data.ArrayLayout(weight_word(chip), chip.array_rows)),
                "store": Out(UnitWriteSignature(chip)),
                "busy": Out(1),
                "waiting": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        chip, walk = self.chip, self.walk
        self._sample = Signal(sample_layout(chip), name="sample")
        self._layer = Signal(range(chip.depth), name="layer")
        self._group = Signal(range(max(chip.groups)), name="group")
        self._row = Signal(range(chip.array_rows), name="row")  # of the group, whose sum leaves next
        self._leaves = Signal(name="leaves")
        self._last_layer = self._layer == chip.depth - 1
        self._last_group = self._group == of_layer(self._layer, [groups - 1 for groups in chip.groups])
        self._v = Signal(data.ArrayLayout(sum_shape(chip), chip.array_rows), name="v")
        self._leaving = Signal(sum_shape(chip), name="leaving")
        m.d.comb += [
            walk.layer.eq(self._layer),
            walk.slot.eq(self._sample.slot),
            walk.group.eq(self._group),
            walk.by_pool.eq(1),
            walk.again.eq(~self._last_group),
            walk.ready.eq(1),
        ]
        self._add(m)
        self._store(m)
        self._give_results(m)
        self._sequence(m)
        return m

    def _add(self, m: Module) -> None:
        """Multiply a word, and add its products to the sums of ``P`` rows a cycle later."""
        lanes, added = self.chip.array_synapses, Signal(name="added")
        m.d.sync += added.eq(self.busy)
        for row, total in enumerate(self._v):
            products = Signal(signed(lanes.bit_length() + 1), name=f"product{row}")
            m.d.sync += products.eq(product(self.chip, self.walk.lanes, self.weights[row]))
            with m.If(added):
                m.d.sync += total.eq(total + products)

    def _store(self, m: Module) -> None:
        """Collect a unit, and write it with its last row."""
        chip, walk, store = self.chip, self.walk, self.store
        lanes = chip.array_synapses
        window = Array(self.window[index] for index in range(max(1, chip.depth - 1)))[self._layer]
        ends_unit = self._row[: exact_log2(lanes)] == lanes - 1
        fires, near = Signal(lanes - 1), Signal(lanes - 1)  # of the rows before
        v = self._leaving
        m.d.comb += [
            v.eq(Array(self._v)[self._row]),
            store.active.eq(Cat(fires, active(chip, v))),
            store.in_window.eq(Cat(near, ~compare_magnitude(v, window)[0])),
            store.write.eq(self._leaves & ends_unit & ~self._last_layer),
            store.unit.eq(walk.pool_unit),
            walk.part.eq(Cat(self._row[exact_log2(lanes) :], self._group)),
        ]
        with m.If(self._leaves):
            m.d.sync += [fires.eq(store.active[1:]), near.eq(store.in_window[1:])]

    def _give_results(self, m: Module) -> None:
        """Offer the sums of the last layer's rows."""
        chip, o = self.chip, self.o
        last = (chip.rows[-1] - 1) % chip.array_rows  # row of the last group
        self._draining = Signal(name="draining")
        real = ~self._last_group | (self._row <= last)
        m.d.comb += [
            o.valid.eq(self._draining & self._last_layer & real),
            o.payload.items[0].eq(self._leaving),
            o.payload.last.eq(self._last_group & (self._row == last)),
            o.payload.tag.eq(self._sample),
            self._leaves.eq(self._draining & (~o.valid | o.ready)),
        ]

    def _sequence(self, m: Module) -> None:
        chip, walk = self.chip, self.walk
        with m.If(self._leaves):
            m.d.sync += self._row.eq(self._row + 1)
        m.d.comb += self.waiting.eq(self.i.valid & ~self.busy)
        with m.FSM() as fsm:
            with m.State("IDLE"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(self.i.valid):
                    m.d.sync += [self._sample.eq(self.i.payload), self._layer.eq(0)]
                    m.next = "LAYER"
            with m.State("LAYER"):
                m.d.comb += walk.begin.eq(1)
                m.next = "POSITION"
            with m.State("POSITION"):
                m.d.comb += walk.start.eq(1)
                m.next = "WORDS"
            with m.State("WORDS"):
                m.d.comb += self.busy.eq(walk.valid)
                with m.If(walk.idle & walk.ends_pool):
                    m.next = "DRAIN"
                with m.Elif(walk.idle):
                    m.d.comb += walk.step.eq(1)
                    m.next = "POSITION"
            with m.State("DRAIN"):
                m.d.comb += self._draining.eq(1)
                with m.If(self._leaves & (self._row == chip.array_rows - 1)):
                    m.next = "NEXT"
            with m.State("NEXT"):
                m.d.comb += walk.step.eq(1)
                m.d.sync += [each.eq(0) for each in self._v]
                m.d.sync += self._group.eq(Mux(self._last_group, 0, self._group + 1))
                m.next = "POSITION"
                with m.If(self._last_group & walk.ends_layer):
                    m.d.sync += self._layer.eq(self._layer + 1)
                    m.next = "LAYER"
                    with m.If(self._last_layer):
                        m.next = "IDLE"
        with m.If(~fsm.ongoing("IDLE")):
            m.d.comb += self.waiting.eq(~self.busy)
