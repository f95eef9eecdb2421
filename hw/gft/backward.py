"""Backward: from a layer's errors to those of the layer below.

    e_i = Σ_o δ_o · w_oi,   δ_i = clip(e_i, ±DCLIP) if |v_i| ≤ WINDOW else 0
    (arXiv 2410.09734, eq 12; golden: popflip.golden.gft.backward.backward)

Rows with δ ≠ 0 arrive one after another, a word of ``N`` synapses at a time. After the last row of a word, its neurons
with an error leave, one a cycle. They are the rows to update in the layer below.
"""

from __future__ import annotations

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from popflip.hw.config import ChipConfig
from popflip.hw.layouts import bank_row_layout, delta_shape, row_layout, weight_word
from popflip.hw.lib.arithmetic import clip


def error_limit(chip: ChipConfig) -> int:
    """Largest possible |e|: every updated row of a layer above the first agrees."""
    above = [rows * chip.dclip for rows in chip.rows[1:-1]]
    return max([2, *above])


class Backward(wiring.Component):
    """Adds up rows of weights into errors, and hands out the neurons whose error is not 0.

    Members
    -------
    ``valid`` : In(1), ``delta`` : In(signed), ``weights`` : In(N weights)
        A row's word, up to one a cycle.
    ``starts_word``, ``ends_word`` : In(1)
        First and last row of a word. The last row may come only while ``free`` (or ``gone``, see below) is high.
    ``word`` : In(range(words)), ``in_window`` : In(N)
        With ``ends_word``: the word's number, and which of its lanes are neurons within the window.
    ``o`` : Out(stream row_layout)
        Neurons with δ ≠ 0, ascending.
    ``free`` : Out(1)
        The errors of all earlier words have left.
    ``first_layer`` : In(1), ``banks`` : Out(Pc), ``bank_rows`` : Out(Pc × bank_row_layout), ``gone`` : Out(1)
        Only if Pc > 1. Neurons of words that come with ``first_layer`` are rows of the first layer. They leave at these
        ports in place of ``o``, one in each bank a cycle, within ``N/Pc`` cycles. ``gone``: all others have left.

    A word's first neuron leaves :attr:`latency` cycles after its last row.
    """

    latency = 2

    def __init__(self, chip: ChipConfig):
        self.chip = chip
        super().__init__(
            {
                "valid": In(1),
                "delta": In(delta_shape(chip)),
                "weights": In(weight_word(chip)),
                "starts_word": In(1),
                "ends_word": In(1),
                "word": In(range(max(chip.words))),
                "in_window": In(chip.array_synapses),
                "o": Out(stream.Signature(row_layout(chip))),
                "free": Out(1),
                **(
                    {
                        "first_layer": In(1),
                        "banks": Out(chip.learn_rows),
                        "bank_rows": Out(data.ArrayLayout(bank_row_layout(chip), chip.learn_rows)),
                        "gone": Out(1),
                    }
                    if chip.learn_rows > 1
                    else {}
                ),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        chip, lanes = self.chip, self.chip.array_synapses
        e, whole, word, in_window = self._sum(m)

        pending = Signal(lanes)  # lanes with an error that have not left
        waits = Signal() if chip.pipelined else pending.any()  # pending lanes are left; pipelined chips register it
        pending_word = Signal.like(word)
        delta = Signal(data.ArrayLayout(delta_shape(chip), lanes))
        with m.If(whole):
            leaving = Cat(e[lane] != 0 for lane in range(lanes)) & in_window
            m.d.sync += [pending_word.eq(word), pending.eq(leaving)]
            if chip.pipelined:
                m.d.sync += waits.eq(leaving.any())
            for lane in range(lanes):
                m.d.sync += delta[lane].eq(clip(e[lane], -chip.dclip, chip.dclip))

        leaves = Signal(lanes, name="first")  # lanes that leave next: the lowest, or the lowest of each bank
        m.d.comb += leaves.eq(pending & -pending)
        banked: Value = Const(0)
        if chip.learn_rows > 1:
            banked = self._leave_in_banks(m, whole, waits, pending, pending_word, delta, leaves)
        m.d.comb += [
            self.o.valid.eq(waits & ~banked),
            self.o.payload.row.eq((pending_word << ceil_log2(lanes)) | _select(leaves, range(lanes))),
            self.o.payload.delta.eq(_select(leaves, (value.as_unsigned() for value in delta))),
            self.free.eq(~whole & ~waits),
        ]
        with m.If(((self.o.valid & self.o.ready) | banked) & ~whole):
            m.d.sync += pending.eq(pending & ~leaves)
            if chip.pipelined:
                m.d.sync += waits.eq((pending & ~leaves).any())
        return m

    def _sum(self, m: Module) -> tuple[data.View, Signal, Signal, Signal]:
        """``e += δ·w`` in each lane. Returns the errors, whether those of a word are complete, its number, and which of
        its lanes are within the window."""
        chip, lanes = self.chip, self.chip.array_synapses
        e = Signal(data.ArrayLayout(signed(error_limit(chip).bit_length() + 1), lanes))
        whole = Signal()
        word = Signal.like(self.word)
        in_window = Signal(lanes)
        m.d.sync += whole.eq(self.valid & self.ends_word)
        with m.If(self.valid):
            m.d.sync += [word.eq(self.word), in_window.eq(self.in_window)]
            for lane in range(lanes):
                weight = self.weights[lane]
                if chip.weight_bits == 1:
                    product = Mux(weight, self.delta, -self.delta)
                else:
                    product = Mux(weight[0], Mux(weight[1], -self.delta, self.delta), 0)
                m.d.sync += e[lane].eq(Mux(self.starts_word, 0, e[lane]) + product)
        return e, whole, word, in_window

    def _leave_in_banks(
        self, m: Module, whole: Signal, waits: Value, pending: Signal, word: Signal, delta: data.View, leaves: Signal
    ) -> Signal:
        """Pc > 1: rows of the first layer leave in all banks at once. Returns whether the pending lanes are such."""
        banks = self.chip.learn_rows
        bank_lanes = self.chip.array_synapses // banks
        arriving = Signal()
        banked = Signal()
        with m.If(self.valid):
            m.d.sync += arriving.eq(self.first_layer)
        with m.If(whole):
            m.d.sync += banked.eq(arriving)
        m.d.comb += self.gone.eq((~whole | arriving) & (~waits | banked))
        for bank in range(banks):
            here = pending[bank::banks]
            lowest = Signal(bank_lanes, name=f"lowest{bank}")
            deltas = (value.as_unsigned() for value in list(delta)[bank::banks])
            m.d.comb += [
                lowest.eq(here & -here),
                self.banks[bank].eq(here.any() & banked),
                self.bank_rows[bank].row.eq((word << ceil_log2(bank_lanes)) | _select(lowest, range(bank_lanes))),
                self.bank_rows[bank].delta.eq(_select(lowest, deltas)),
            ]
            with m.If(banked):
                m.d.comb += leaves[bank::banks].eq(lowest)
        return banked


def _select(one_hot: Signal, values):
    """The element of ``values`` whose bit is set in ``one_hot``, or 0 if no bit is. An OR of ANDs is shallower than a
    chain of multiplexers."""
    return reduce(or_, (Mux(bit, value, 0) for bit, value in zip(one_hot, values, strict=True)))
