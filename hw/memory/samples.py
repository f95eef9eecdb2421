"""Samples: all that is kept of the samples on a compact chip, in one memory with one port to read it.

::

    slot ─┬─ the list of its words that hold a one (:mod:`.ingest`)
          └─ its hidden activations (:mod:`.activations`)
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In
from amaranth.utils import ceil_log2

from popflip.hw.config import ChipConfig
from popflip.hw.layouts import activation_words, input_word
from popflip.hw.memory.signatures import (
    ActivationReadSignature,
    ActivationWriteSignature,
    InputReadSignature,
    InputWriteSignature,
)


class Samples(wiring.Component):
    """What :class:`.ingest.Ingest` and :class:`.activations.Activations` keep on other chips, for P ≤ N.

    Members
    -------
    ``list`` : In(InputWriteSignature)
        An entry of a list. Waits while ``store`` writes.
    ``store`` : In(ActivationWriteSignature)
        ``P`` neurons.
    ``forward_inputs``, ``forward_activations``, ``learn_inputs``, ``learn_activations`` : In(a read signature each)
        One of them asks in a cycle. Its data are there in the next one, and stay until anyone asks.

    Latency 1 cycle. A read of the word written in the same cycle is undefined.
    """

    def __init__(self, chip: ChipConfig):
        self.chip = chip
        super().__init__(
            {
                "list": In(InputWriteSignature(chip)),
                "store": In(ActivationWriteSignature(chip)),
                "forward_inputs": In(InputReadSignature(chip)),
                "forward_activations": In(ActivationReadSignature(chip)),
                "learn_inputs": In(InputReadSignature(chip)),
                "learn_activations": In(ActivationReadSignature(chip)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        chip, store = self.chip, self.store
        rows, lanes = chip.array_rows, chip.array_synapses
        parts = lanes // rows
        base = chip.words[0]  # of the activations, behind the longest list
        stride = ceil_log2(base + activation_words(chip))
        pieces = [2 * rows] * parts  # of a word: ``active`` and ``in_window`` of P neurons, side by side
        width = max(sum(pieces), len(self.list.data.as_value()))
        piece = 2 * rows
        width = -(-width // piece) * piece
        m.submodules.memory = memory = Memory(shape=width, depth=chip.slots << stride, init=[])
        read, write = memory.read_port(), memory.write_port(granularity=piece)

        def place(position) -> Signal:
            signal = Signal(stride)
            m.d.comb += signal.eq(position)
            return signal

        m.d.comb += [
            self.list.ready.eq(~store.write),
            write.addr.eq(Cat(place(self.list.position), self.list.slot)),
            write.data.eq(self.list.data),
            write.en.eq(self.list.write.replicate(len(write.en))),
        ]
        with m.If(store.write):
            m.d.comb += [
                write.addr.eq(Cat(place(base + store.word), store.slot)),
                write.data.eq(Cat(store.active, store.in_window).replicate(parts)),
                write.en.eq(1 << store.part),
            ]
        readers = self.forward_inputs, self.forward_activations, self.learn_inputs, self.learn_activations
        m.d.comb += read.en.eq(Cat(reader.en for reader in readers).any())
        for reader in readers:
            inputs = hasattr(reader, "position")
            with m.If(reader.en):
                m.d.comb += read.addr.eq(Cat(place(reader.position if inputs else base + reader.word), reader.slot))
            if inputs:
                m.d.comb += reader.data.eq(input_word(chip)(read.data[: input_word(chip).size]))
                continue
            for plane, bits in enumerate((reader.active, reader.in_window)):
                m.d.comb += bits.eq(Cat(read.data.word_select(2 * part + plane, rows) for part in range(parts)))
        return m
