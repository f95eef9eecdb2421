"""Hidden activations: one bit a neuron for the layer above, one that says whether the neuron may still be taught."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In
from amaranth.utils import ceil_log2

from popflip.golden.config import Rule
from popflip.hw.config import ChipConfig
from popflip.hw.layouts import activation_words
from popflip.hw.memory.signatures import ActivationReadSignature, ActivationWriteSignature


class Activations(wiring.Component):
    """Memory of the hidden activations of the samples on the chip, written ``P`` neurons and read ``N`` at a time.

    Members
    -------
    ``store`` : In(ActivationWriteSignature)
    ``forward``, ``learn`` : In(ActivationReadSignature)
        The two readers; the MAC array has no use for ``in_window``, and reads :attr:`.ChipConfig.fold` words.

    Latency 1 cycle. A read of the word written in the same cycle returns the old value.
    """

    def __init__(self, chip: ChipConfig):
        self.chip = chip
        super().__init__(
            {
                "store": In(ActivationWriteSignature(chip)),
                "forward": In(ActivationReadSignature(chip, chip.fold)),
                "learn": In(ActivationReadSignature(chip)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        chip = self.chip
        rows, store = chip.array_rows, self.store
        # The MAC array has its own copy without ``in_window``; for learning both lie side by side, P bits each in turn.
        learned = (store.active, store.in_window) if chip.rule == Rule.GFT else (store.active,)
        planes = {"forward": ((store.active,), chip.fold), "learn": (learned, 1)}
        for name, (written, words) in planes.items():
            reader = getattr(self, name)
            lanes = words * chip.array_synapses
            width = max(rows, lanes)
            # Where P > lanes a word of memory is several words of lanes, and the reader picks one.
            shift = ceil_log2(width // chip.array_synapses)
            within = ceil_log2(words)
            stride = ceil_log2(max(1, activation_words(chip)) >> shift)
            parts = width // rows
            whole_words = ceil_log2(max(1, rows // chip.array_synapses))  # written at once
            part = Cat(store.part, store.word[whole_words:shift]) if chip.fold > 1 else store.part
            memory = Memory(shape=width * len(written), depth=chip.slots << stride, init=[])
            m.submodules[name] = memory
            write = memory.write_port(granularity=rows * len(written) if parts > 1 else None)
            read = memory.read_port()
            select = Signal(range(max(1, width // lanes)))
            with m.If(reader.en):
                m.d.sync += select.eq(reader.word[within:])
            m.d.comb += [
                write.addr.eq(Cat(store.word[shift:], store.slot)),
                write.data.eq(Cat(*written).replicate(parts)),
                write.en.eq(store.write << part if parts > 1 else store.write),
                read.en.eq(reader.en),
                read.addr.eq(Cat(reader.word[shift:], reader.slot)),
            ]
            for plane, bits in enumerate((reader.active, reader.in_window)[: len(written)]):
                whole = Cat(read.data.word_select(part * len(written) + plane, rows) for part in range(parts))
                m.d.comb += bits.eq(Array(whole.word_select(index, lanes) for index in range(width // lanes))[select])
        return m
