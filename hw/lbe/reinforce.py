"""Reinforce: a winner's synapses move towards what would have put it right (golden ``reinforce.reinforce``).

k ← sat(k ± 1), + where a_i = ρ_t[o];   where r = 1:  k ← sat(k + 1) if k ≥ 0 else sat(k − 1)   (arXiv 2412.00119)
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from popflip.hw.config import ChipConfig
from popflip.hw.lbe.winner import winner_layout
from popflip.hw.lib.arithmetic import clip
from popflip.hw.memory.weights import counter_word, weight_word


def lesson_layout(chip: ChipConfig) -> data.StructLayout:
    """A row to be taught: its ``layer``, the ``slot`` its inputs are in, and the ``winner``."""
    return data.StructLayout({"layer": range(chip.depth), "slot": range(chip.slots), "winner": winner_layout(chip)})


class Reinforce(wiring.Component):
    """A word of a winner's row.

    Both steps are one addition of −2 … 2: saturating once comes to the same as saturating after each.

    Members
    -------
    ``counters`` : In(N counters), ``inputs`` : In(N), ``exists`` : In(N)
        The word, its inputs, and which lanes are synapses; all others become 0.
    ``desired`` : In(1), ``mask`` : In(N)
        What the row's activation should have been, and the random mask ``r``.
    ``o`` : Out(N counters), ``weights`` : Out(N weights), ``flipped`` : Out(N)
        The counters after, their signs, and which of these changed.

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
