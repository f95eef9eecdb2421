"""Samples: inputs and activations of the samples on a compact chip, in one memory with one read port.

::

    slot ─┬─ nonzero words of inputs, from ingest
          └─ activations of hidden neurons, from forward
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, Value, ValueLike
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
    """Takes the place of the memories in :class:`.ingest.Ingest` and :class:`.activations.Activations`. Requires P ≤ N.

    Members
    -------
    ``list`` : In(InputWriteSignature)
        A nonzero word. Waits while ``store`` writes.
    ``store`` : In(ActivationWriteSignature)
    ``forward_inputs``, ``forward_activations``, ``learn_inputs``, ``learn_activations`` : In(a read signature each)
        At most one of them requests in a cycle. Its data follow in the next cycle and stay until the next request by
        any of them.

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
        self._piece = 2 * chip.array_rows  # bits that are written at once: `active` and `in_window` of P neurons
        self._parts = chip.array_synapses // chip.array_rows  # pieces in a word of activations
        pieces = max(self._parts, -(-input_word(chip).size // self._piece))
        self._activations_at = chip.words[0]  # behind the inputs
        self._stride = ceil_log2(self._activations_at + activation_words(chip))
        self._memory = Memory(shape=pieces * self._piece, depth=chip.slots << self._stride, init=[])

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.memory = self._memory
        read, write = self._memory.read_port(), self._memory.write_port(granularity=self._piece)
        self._write(m, write)
        self._read(m, read)
        return m

    def _address(self, m: Module, position: ValueLike, slot: Value) -> Value:
        low = Signal(self._stride)
        m.d.comb += low.eq(position)
        return Cat(low, slot)

    def _write(self, m: Module, write) -> None:
        """Activations first: they never wait."""
        store, words = self.store, self.list
        m.d.comb += [
            words.ready.eq(~store.write),
            write.addr.eq(self._address(m, words.position, words.slot)),
            write.data.eq(words.data),
            write.en.eq(words.write.replicate(len(write.en))),
        ]
        with m.If(store.write):
            m.d.comb += [
                write.addr.eq(self._address(m, self._activations_at + store.word, store.slot)),
                write.data.eq(Cat(store.active, store.in_window).replicate(self._parts)),
                write.en.eq(1 << store.part),
            ]

    def _read(self, m: Module, read) -> None:
        """The reader that requests sets the address; all of them see the data."""
        inputs, activations = input_word(self.chip), self._activations_at
        readers = self.forward_inputs, self.forward_activations, self.learn_inputs, self.learn_activations
        m.d.comb += read.en.eq(Cat(reader.en for reader in readers).any())
        for reader in readers:
            reads_inputs = hasattr(reader, "position")
            with m.If(reader.en):
                position = reader.position if reads_inputs else activations + reader.word
                m.d.comb += read.addr.eq(self._address(m, position, reader.slot))
            if reads_inputs:
                m.d.comb += reader.data.eq(inputs(read.data[: inputs.size]))
                continue
            for plane, bits in enumerate((reader.active, reader.in_window)):
                pieces = (read.data.word_select(2 * part + plane, self.chip.array_rows) for part in range(self._parts))
                m.d.comb += bits.eq(Cat(pieces))
