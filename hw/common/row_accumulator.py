"""Row accumulator: adds the array's products over the words of ``P`` rows.

    v_o = [bias_o] + Σ_g product_og

A folded array (:attr:`.ChipConfig.fold`) computes several words of a row at once, in different rows of the array. A
tree adds their sums.
"""

from __future__ import annotations

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import data

from popflip.hw.config import ChipConfig
from popflip.hw.layouts import sum_shape
from popflip.hw.lib.stream import delayed


class RowAccumulator:
    """A part of :class:`.forward.Forward`. It adds its logic to that component's module ``m``.

    ``v`` : the sums of ``P`` rows.
    """

    def __init__(self, m: Module, chip: ChipConfig):
        self._m, self._chip = m, chip
        self.v = Signal(data.ArrayLayout(sum_shape(chip), chip.array_rows))

    def biases(self, tag_before: data.View, tag: data.View, port) -> list[Value]:
        """Where each row's sum starts: at its bias, if biases are apart and ``tag`` is in the first layer, else at 0.

        ``tag`` is that of the array's output in this cycle, ``tag_before`` in the next: ``port`` reads a cycle ahead.
        """
        if not self._chip.bias_apart:
            return [Const(0)] * self._chip.array_rows
        self._m.d.comb += [
            port.en.eq(tag_before.valid & tag_before.starts_row & (tag_before.layer == 0)),
            port.group.eq(tag_before.group),
        ]
        return [Mux(tag.layer == 0, self._bias(bias), 0) for bias in port.data]

    def _bias(self, weight: Value) -> Value:
        """A bias's weight as a number, which its neuron's sum starts from."""
        return Mux(weight, 1, -1) if self._chip.weight_bits == 1 else weight.as_signed()

    def add(self, tag: data.View, starts: list[Value], products: data.View) -> None:
        """Add a word's ``products``, one a row. The first word of a row adds to ``starts``."""
        m, v = self._m, self.v
        with m.If(tag.valid):
            for row, start in enumerate(starts):
                m.d.sync += v[row].eq(Mux(tag.starts_row, start, v[row]) + products[row])

    def folded(self, stages: int) -> list[Value]:
        """The sums of a folded layer, ``stages`` cycles later: row ``o`` of all parts added up."""
        sums = list(self.v)
        for _ in range(stages):
            half = len(sums) // 2
            pairs = zip(sums[:half], sums[half:], strict=True)
            sums = [delayed(self._m, (low + high)[: len(low)].as_signed(), 1) for low, high in pairs]
        return sums
