"""Reinforce: a winner's synapses move towards its desired activation (golden ``reinforce.reinforce``).

First ``k ← sat(k + 1)`` where ``a_i = ρ_t[o]``, else ``sat(k − 1)``. Then, where ``r = 1``, ``k ← sat(k + 1)`` if
``k ≥ 0``, else ``sat(k − 1)`` (arXiv 2412.00119).
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from popflip.hw.common.scan import word_layout
from popflip.hw.common.write_back import WriteBack
from popflip.hw.config import ChipConfig
from popflip.hw.layouts import counter_word, weight_word
from popflip.hw.lbe.winner import winner_layout
from popflip.hw.lib.arithmetic import clip
from popflip.hw.lib.lookup import of_layer, times


def row_update_layout(chip: ChipConfig) -> data.StructLayout:
    """A row to update: its ``layer``, the ``slot`` of the sample with its inputs, and the ``winner``."""
    return data.StructLayout({"layer": range(chip.depth), "slot": range(chip.slots), "winner": winner_layout(chip)})


class Reinforce(wiring.Component):
    """Updates a word of a winner's row.

    One addition of −2 … 2 makes both steps, because saturating once gives the same result as saturating after each.

    Members
    -------
    ``counters`` : In(N counters), ``inputs`` : In(N), ``exists`` : In(N)
        The word, its inputs, and which lanes are synapses. All other lanes become 0.
    ``desired`` : In(1), ``mask`` : In(N)
        The row's desired activation, and the random mask ``r``.
    ``o`` : Out(N counters), ``weights`` : Out(N weights), ``flipped`` : Out(N)
        The new counters, their signs, and which signs changed.

    Latency 0.
    """

    def __init__(self, chip: ChipConfig):
        self.chip = chip
        lanes = chip.array_synapses
        super().__init__(
            {
                "counters": In(counter_word(chip)),
                "inputs": In(lanes),
                "exists": In(lanes),
                "desired": In(1),
                "mask": In(lanes),
                "o": Out(counter_word(chip)),
                "weights": Out(weight_word(chip)),
                "flipped": Out(lanes),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        low, high = -self.chip.mmax - 1, self.chip.mmax
        flipped, weights = [], []
        for lane in range(self.chip.array_synapses):
            counter, exists = self.counters[lane], self.exists[lane]
            agrees = self.inputs[lane] == self.desired
            onwards = Mux(agrees, counter >= -1, counter > 0)  # k ≥ 0 once the first step is made
            step = Signal(signed(3), name=f"step{lane}")
            moved = Signal(signed(self.chip.counter_bits + 1), name=f"moved{lane}")
            after = Signal(signed(self.chip.counter_bits), name=f"after{lane}")
            m.d.comb += [
                step.eq(Mux(agrees, 1, -1) + Mux(self.mask[lane], Mux(onwards, 1, -1), 0)),
                moved.eq(counter + step),
                after.eq(clip(moved, low, high)),
                self.o[lane].eq(Mux(exists, after, 0)),
            ]
            weights.append(exists & ~after[-1])
            flipped.append(exists & (after[-1] != counter[-1]))
        m.d.comb += [self.weights.as_value().eq(Cat(weights)), self.flipped.eq(Cat(flipped))]
        return m


class ReinforceRow(WriteBack):
    """One pass over a winner's row (golden ``reinforce.reinforce``).

    Members, besides those of :class:`.write_back.WriteBack`
    --------------------------------------------------------
    ``start`` : In(stream of :func:`row_update_layout`)
        A row.
    ``i`` : In(stream of :func:`.scan.word_layout`)
        Its words.
    ``write`` : Out(WriteSignature)
        ``counters`` are 0 in all cycles without a write.
    """

    def __init__(self, chip: ChipConfig):
        super().__init__(chip, start=row_update_layout(chip), word=word_layout(chip))

    def _layer(self) -> Value:
        return self.start.payload.layer

    def _first_word(self) -> Value:
        row = self.start.payload.winner.row
        return super()._first_word() + of_layer(self._layer(), [times(row, words) for words in self.chip.mask_words])

    def _change(self, m: Module, flipped: Signal, mask: Value, take: Value) -> None:
        chip, lanes, word = self.chip, self.chip.array_synapses, self.i.payload
        m.submodules.reinforce = reinforce = Reinforce(chip)
        ends = of_layer(self._layer(), [chip.real_lanes(index, words - 1) for index, words in enumerate(chip.words)])
        m.d.comb += [
            reinforce.counters.eq(word.counters),
            reinforce.inputs.eq(word.inputs),
            reinforce.exists.eq(Mux(word.position.last_of_row, ends, (1 << lanes) - 1)),
            reinforce.desired.eq(self.start.payload.winner.desired),
            reinforce.mask.eq(mask),
            flipped.eq(reinforce.flipped),
            self.write.weights.eq(reinforce.weights),
        ]
        with m.If(take):
            m.d.comb += self.write.counters.eq(reinforce.o)
