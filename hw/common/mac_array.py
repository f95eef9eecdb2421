"""MAC array: ``P`` rows × ``N`` synapses a cycle, one or two popcounts a row.

    v[p] = Σ_b lane[b] · w[p][b] = popcount(plus[p]) − popcount(minus[p])

Inputs and weights are −1, 0 or +1, so a product is one of two bits, ``plus`` and ``minus``.
"""

from __future__ import annotations

from amaranth.hdl import Module, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from popflip.hw.config import ChipConfig
from popflip.hw.layouts import lane_layout, weight_word
from popflip.hw.lib import popcount
from popflip.hw.lib.popcount import Popcount
from popflip.hw.lib.stream import delayed


class MacArray(wiring.Component):
    """``v[p] = Σ_b lane[b] · w[p][b]`` for ``P`` rows.

    Members
    -------
    ``lanes`` : In(F × lane_layout), ``weights`` : In(P × N weights)
        The first ``P/F`` rows take the first of ``lanes``, and so on.
    ``o`` : Out(P × signed)

    Latency :attr:`latency` cycles; a result every cycle. With memory stages, the array registers products before it
    counts them, because each lane reaches rows all over the chip.
    """

    def __init__(self, chip: ChipConfig):
        self.chip = chip
        self.spread = min(chip.memory_stages, 1)  # cycles for lanes to reach all rows
        self.latency = self.spread + popcount.latency(chip.array_synapses) + 1
        self.product_shape = signed(chip.array_synapses.bit_length() + 1)
        super().__init__(
            {
                "lanes": In(data.ArrayLayout(lane_layout(chip), chip.fold)),
                "weights": In(data.ArrayLayout(weight_word(chip), chip.array_rows)),
                "o": Out(data.ArrayLayout(self.product_shape, chip.array_rows)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        chip = self.chip
        lanes = chip.array_synapses
        parts = list(self.lanes)

        if chip.weight_bits == 1:
            # Every enabled lane is +1 or −1, in every row alike: v = 2·popcount(plus) − popcount(enable).
            counts = []
            for number, part in enumerate(parts):
                m.submodules[f"enabled{number}"] = enabled = Popcount(lanes)
                m.d.comb += enabled.i.eq(delayed(m, part.enable, self.spread))
                counts.append(enabled.o)
        for row in range(chip.array_rows):
            number = row * len(parts) // chip.array_rows
            enable, positive = parts[number].enable, parts[number].positive
            word = self.weights[row].as_value()
            m.submodules[f"plus{row}"] = plus = Popcount(lanes)
            if chip.weight_bits == 1:
                m.d.comb += plus.i.eq(delayed(m, enable & ~(word ^ positive), self.spread))
                m.d.sync += self.o[row].eq((plus.o << 1) - counts[number])
            else:
                nonzero, negative = word[0::2], word[1::2]
                m.submodules[f"minus{row}"] = minus = Popcount(lanes)
                m.d.comb += [
                    plus.i.eq(delayed(m, enable & nonzero & (negative ^ positive), self.spread)),
                    minus.i.eq(delayed(m, enable & nonzero & ~(negative ^ positive), self.spread)),
                ]
                m.d.sync += self.o[row].eq(plus.o - minus.o)
        return m
