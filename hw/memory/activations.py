"""Activations of the hidden neurons: one bit each for the layer above, and whether the neuron is within its window."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In
from amaranth.utils import ceil_log2

from popflip.hw.config import ChipConfig
from popflip.hw.layouts import activation_words
from popflip.hw.lib.lookup import of_layer
from popflip.hw.memory.signatures import ActivationReadSignature, ActivationWriteSignature


def hidden_lanes(chip: ChipConfig, layer, last_word, active) -> Value:
    """Lanes (:func:`.layouts.lane_layout`) of a word ``active`` of ±1: the bias is +1, pads are 0.

    ``last_word``: the word is the last one of ``layer``. The result has as many lanes as ``active`` has bits.
    """
    lanes = len(active)
    full = (1 << lanes) - 1
    real = [synapses % lanes or lanes for synapses in chip.synapses]  # lanes of a layer's last word
    enable = of_layer(layer, [(1 << count) - 1 for count in real])
    bias = of_layer(layer, [chip.bias << count - 1 for count in real])
    return Cat(Mux(last_word, enable, full), Mux(last_word, active | bias, active))


class Activations(wiring.Component):
    """Memory of the activations of the samples on the chip: ``P`` neurons are written and ``N`` are read at a time.

    Members
    -------
    ``store`` : In(ActivationWriteSignature)
    ``forward``, ``learn`` : In(ActivationReadSignature)
        The readers. Forward reads :attr:`.ChipConfig.fold` words at once, and ``in_window`` is for learning alone.

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
        store = self.store
        # Each reader has a copy of its own; forward's holds no `in_window`.
        self._copy(m, "forward", (store.active,), self.chip.fold)
        self._copy(m, "learn", (store.active, store.in_window) if self.chip.windowed else (store.active,), 1)
        return m

    def _copy(self, m: Module, name: str, planes: tuple[Value, ...], words: int) -> None:
        """Add the memory of reader ``name``, which reads ``words`` words at once. Each write stores ``P`` bits of each
        of ``planes`` side by side."""
        chip, store, reader = self.chip, self.store, getattr(self, name)
        rows, lanes = chip.array_rows, words * chip.array_synapses
        width = max(rows, lanes)  # neurons in a word of this memory
        shift = ceil_log2(width // chip.array_synapses)
        within = ceil_log2(words)
        stride = ceil_log2(max(1, activation_words(chip)) >> shift)
        parts = width // rows
        whole_words = ceil_log2(max(1, rows // chip.array_synapses))  # written at once
        part = Cat(store.part, store.word[whole_words:shift]) if chip.fold > 1 else store.part
        memory = Memory(shape=width * len(planes), depth=chip.slots << stride, init=[])
        m.submodules[name] = memory
        write = memory.write_port(granularity=rows * len(planes) if parts > 1 else None)
        read = memory.read_port()
        select = Signal(range(max(1, width // lanes)))  # the part of this memory's word that is read
        with m.If(reader.en):
            m.d.sync += select.eq(reader.word[within:])
        m.d.comb += [
            write.addr.eq(Cat(store.word[shift:], store.slot)),
            write.data.eq(Cat(*planes).replicate(parts)),
            write.en.eq(store.write << part if parts > 1 else store.write),
            read.en.eq(reader.en),
            read.addr.eq(Cat(reader.word[shift:], reader.slot)),
        ]
        for plane, bits in enumerate((reader.active, reader.in_window)[: len(planes)]):
            whole = Cat(read.data.word_select(part * len(planes) + plane, rows) for part in range(parts))
            m.d.comb += bits.eq(Array(whole.word_select(index, lanes) for index in range(width // lanes))[select])
