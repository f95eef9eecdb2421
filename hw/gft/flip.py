"""Flip: selected synapses move by their counter's sign, at random; all other counters decay (arXiv 2410.09734, §4)."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib.wiring import In

from popflip.golden.config import Precision
from popflip.hw.common.write_back import WriteBack
from popflip.hw.config import ChipConfig
from popflip.hw.gft.select import selected_layout


def moved(chip: ChipConfig, weight: Value, counter: Value) -> Value:
    """Weight of a candidate after its flip: ``sgn(m)`` (binary: the other value) or ``w + sgn(m)`` (ternary)."""
    if chip.precision == Precision.BINARY:
        return ~weight
    return Cat(~weight[0], ~weight[0] & counter[-1])


def decayed(counter: Value, shift: Value) -> Value:
    """``m − (m >> shift)``, the shift rounding down; 0 for 0. ``shift`` is less than the counter's bits."""
    return counter - (counter >> shift)


class Flip(WriteBack):
    """One pass over a layer's words (golden ``flip.flip``).

    Selected and ``r = 1`` in the random mask: ``w ← sgn(m)`` (binary) or ``w ← w + sgn(m)`` (ternary), ``m ← 0``.
    Else ``m ← m − (m >> shift)``.

    Members, besides those of :class:`.write_back.WriteBack`
    --------------------------------------------------------
    ``start`` : In(stream of range(L))
        A layer.
    ``shift`` : In(range(counter_bits + 1))
        Stable during a pass. 0 clears counters.
    ``i`` : In(stream of :func:`.select.selected_layout`)
    ``write`` : Out(WriteSignature)
        ``counters`` are 0 while no pass runs; on pipelined chips, in all cycles without a write.

    On a pipelined chip ``write`` comes out of a register, because it fans out to all memories.
    """

    def __init__(self, chip: ChipConfig):
        super().__init__(
            chip,
            start=range(chip.depth),
            word=selected_layout(chip),
            latency=int(chip.pipelined),
            shift=In(range(chip.counter_bits + 1)),
        )

    def _layer(self) -> Value:
        return self.start.payload

    def _change(self, m: Module, flipped: Signal, mask: Value, take: Value) -> None:
        chip, lanes, word = self.chip, self.chip.array_synapses, self.i.payload
        shift = Signal(range(chip.counter_bits))
        cleared = Signal(lanes)
        written = take if self.latency else self.start.valid
        m.d[self._written] += shift.eq(Mux(self.shift == chip.counter_bits, chip.counter_bits - 1, self.shift))
        m.d.comb += [
            flipped.eq(word.selected & mask),
            cleared.eq(flipped | ~written.replicate(lanes)),
        ]
        weights, counters = [], []
        for lane in range(lanes):
            weight, counter = word.weights[lane], word.counters[lane]
            weights.append(Mux(flipped[lane], moved(chip, weight, counter), weight))
            counters.append(decayed(counter, shift)[: len(counter)] & ~cleared[lane].replicate(len(counter)))
        m.d[self._written] += [
            self.write.weights.as_value().eq(Cat(weights)),
            self.write.counters.as_value().eq(Cat(counters)),
        ]
