"""Ingest: the bytes of a sample become its nonzero words.

GFT: an input of 0 adds nothing to a first-layer sum and changes no counter. Ingest drops words without a one, so they
cost neither the MAC array nor learning a cycle. It appends the bias, whose input is always 1, as synapse ``K[0]``, so
every sample has a nonzero word. LBE: an input of 0 stands for −1, so ingest keeps all words.

On a chip that takes packed samples, bytes come with their places (:mod:`.unpack`). The zero bytes that a packed sample
leaves out cost no cycle, and the next sample begins while ingest writes the last words of the previous one::

    bytes ─▶ unpack ─▶ word ─ a byte of the next word comes ─▶ memory
                         └─── the bias has come ─────────────▶ memory; sample ─▶ queue
"""

from __future__ import annotations

from typing import NamedTuple

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import ceil_log2

from popflip.hw.common.unpack import Unpack
from popflip.hw.config import ChipConfig
from popflip.hw.layouts import input_word, sample_layout
from popflip.hw.lib.stream import Queue, delayed
from popflip.hw.memory.signatures import InputReadSignature, InputWriteSignature

IN_FLIGHT = 2
"""Most samples in ingest at once, on a chip that takes packed samples."""


class Chunk(NamedTuple):
    """``bits`` : the bytes gathered so far. ``full`` : the chunk is complete. ``final`` : it ends the sample.
    ``retire`` : its last word leaves in this cycle."""

    bits: Signal
    full: Signal
    final: Signal
    retire: Signal


class Ingest(wiring.Component):
    """Gathers bytes into N-synapse words, keeps the nonzero ones, and passes the sample on when it is complete.

    Golden: the inputs of ``popflip.golden.common.forward.forward``, with their bias if the rule has one.

    Members
    -------
    ``i`` : In(stream 8)
        ``⌈K[0]/8⌉`` bytes a sample, or as many as its packed form has. Bit ``i`` of byte ``q`` is input ``8q + i``;
        bits past ``K[0]`` are ignored.
    ``label`` : In(range(classes)), ``infer`` : In(1)
        Stable while the bytes of a sample come.
    ``packed`` : In(1), ``last`` : In(1)
        On a chip that takes packed samples: the sample is packed; the byte is its last one, if it is packed.
    ``slot_available`` : In(1), ``slot`` : In(range(slots)), ``started`` : Out(1)
        A sample begins only if ``slot`` is available. Its first byte takes the slot, in the cycle with ``started``.
    ``o`` : Out(stream sample_layout)
        A complete sample.
    ``forward``, ``learn`` : In(InputReadSignature)
        The readers of the nonzero words.
    ``list`` : Out(InputWriteSignature)
        Compact chips, in place of the readers: writes the words to :class:`.samples.Samples`.

    Takes a byte every :attr:`cycles_per_byte` cycles (N = 4: 2, else 1). A sample leaves :attr:`latency` cycles after
    its last byte: 2, or 3 if the bias has a chunk of its own; N = 4: 3 or 5; 5 on a chip that takes packed samples. The
    next one begins :attr:`gap` cycles after that byte at the earliest.
    """

    def __init__(self, chip: ChipConfig):
        self.chip = chip
        self.cycles_per_byte = max(1, 8 // chip.array_synapses)
        # The inputs fill whole chunks, so that the bias has one of its own.
        self._bias_alone = bool(chip.bias) and chip.inputs % max(8, chip.array_synapses) == 0
        self.latency = 1 + self.cycles_per_byte * (1 + self._bias_alone)
        self.gap = self.latency + 1
        if chip.packs:
            self.latency, self.gap = Unpack.latency + 3, 2
        super().__init__(
            {
                "i": In(stream.Signature(8)),
                "label": In(range(chip.classes)),
                "infer": In(1),
                **({"packed": In(1), "last": In(1)} if chip.packs else {}),
                "slot_available": In(1),
                "slot": In(range(chip.slots)),
                "started": Out(1),
                "o": Out(stream.Signature(sample_layout(chip))),
                **(
                    {"list": Out(InputWriteSignature(chip))}
                    if chip.compact
                    else {"forward": In(InputReadSignature(chip)), "learn": In(InputReadSignature(chip))}
                ),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        entry = self._add_memory(m)
        if self.chip.packs:
            self._gather(m, entry)
        else:
            self._fill(m, entry)
        return m

    def _add_memory(self, m: Module) -> wiring.PureInterface:
        """The memory of nonzero words and its readers. Returns its write side."""
        chip = self.chip
        entry = InputWriteSignature(chip).create()
        if chip.compact:
            connect(m, entry, flipped(self.list))
        else:
            stride = ceil_log2(chip.words[0])  # a power of two, so that an address is a concatenation
            m.submodules.lists = lists = Memory(shape=input_word(chip), depth=chip.slots << stride, init=[])
            write = lists.write_port()
            m.d.comb += [
                entry.ready.eq(1),
                write.en.eq(entry.write),
                write.addr.eq(Cat(entry.position[:stride], entry.slot)),
                write.data.eq(entry.data),
            ]
            for port in (self.forward, self.learn):
                read = lists.read_port()
                m.d.comb += [
                    read.en.eq(port.en),
                    read.addr.eq(Cat(port.position[:stride], port.slot)),
                    port.data.eq(read.data),
                ]
        return entry

    # Chips that take packed samples -----------------------------------------------------------------------------------

    def _gather(self, m: Module, entry: wiring.PureInterface) -> None:
        """Bytes with their places become words. A sample begins only when nothing can make it wait later."""
        m.submodules.unpack = unpack = Unpack(self.chip)
        m.submodules.queue = queue = Queue(sample_layout(self.chip), IN_FLIGHT)
        connect(m, queue.o, flipped(self.o))
        sample = self._begin(m, unpack)
        word, nonzero, ends, whole = self._word(m, unpack)
        self._write_word(m, entry, queue, sample, word, nonzero & (whole | ends), whole)

    def _begin(self, m: Module, unpack: Unpack) -> data.View:
        """Feed :mod:`.unpack`. Returns the sample whose bytes come out of it; its ``words`` are not known yet."""
        layout = sample_layout(self.chip)
        begun = Signal(range(IN_FLIGHT + 1))  # samples that have begun and not left
        may_go = Signal()
        m.d.comb += [
            may_go.eq(~unpack.first | (self.slot_available & (begun != IN_FLIGHT))),
            unpack.i.payload.eq(self.i.payload),
            unpack.i.valid.eq(self.i.valid & may_go),
            self.i.ready.eq(unpack.i.ready & may_go),
            unpack.packed.eq(self.packed),
            unpack.last.eq(self.last),
            self.started.eq(unpack.i.valid & unpack.i.ready & unpack.first),
        ]
        m.d.sync += begun.eq(begun + self.started - (self.o.valid & self.o.ready))
        sample = Signal(layout)
        with m.If(self.started):
            m.d.sync += [sample.slot.eq(self.slot), sample.label.eq(self.label), sample.infer.eq(self.infer)]
        return data.View(layout, delayed(m, sample.as_value(), Unpack.latency))

    def _word(self, m: Module, unpack: Unpack) -> tuple[data.View, Signal, Value, Signal]:
        """Collect the bytes of a word. Returns the word, whether it has a one, whether the next byte belongs to another
        word, and whether the word is complete and the sample's last."""
        lanes = self.chip.array_synapses
        place = unpack.o.payload
        part_bits = ceil_log2(lanes // 8)
        part, index = place.index[:part_bits], place.index[part_bits:]
        word = Signal(input_word(self.chip))
        nonzero = Signal()
        growing = Signal()  # more of the word may come
        whole = Signal()  # the word is the sample's last, and complete
        same = Signal()
        m.d.comb += [same.eq(growing & (word.index == index)), unpack.o.ready.eq(1)]
        m.d.sync += whole.eq(0)
        with m.If(unpack.o.valid):
            for number in range(lanes // 8):
                m.d.sync += word.bits.word_select(number, 8).eq(
                    Mux(same, word.bits.word_select(number, 8), 0) | Mux(part == number, place.byte, 0)
                )
            m.d.sync += [
                word.index.eq(index),
                nonzero.eq((same & nonzero) | place.byte.any()),
                growing.eq(~place.last),
                whole.eq(place.last),
            ]
        return word, nonzero, unpack.o.valid & growing & ~same, whole

    def _write_word(
        self,
        m: Module,
        entry: wiring.PureInterface,
        queue: Queue,
        sample: data.View,
        word: data.View,
        write: Value,
        whole: Signal,
    ) -> None:
        """Write the words of a sample one after another, and pass it on with the last one."""
        chip, lanes = self.chip, self.chip.array_synapses
        position = Signal(range(chip.words[0] + 1))
        last_word = chip.words[0] - 1  # holds the bias, and bits of its byte that lie beyond it
        m.d.comb += [
            entry.write.eq(write),
            entry.slot.eq(sample.slot),
            entry.position.eq(position),
            entry.data.index.eq(word.index),
            entry.data.bits.eq(word.bits & Mux(word.index == last_word, chip.real_lanes(0, last_word), 2**lanes - 1)),
            queue.i.valid.eq(whole),
            queue.i.payload.eq(sample),
            queue.i.payload.words.eq(position + 1),
        ]
        with m.If(whole):
            m.d.sync += position.eq(0)
        with m.Elif(entry.write):
            m.d.sync += position.eq(position + 1)

    # Other chips ------------------------------------------------------------------------------------------------------

    def _fill(self, m: Module, entry: wiring.PureInterface) -> None:
        """Bytes one after another become chunks, and a chunk becomes one or more words."""
        chip = self.chip
        position = Signal(range(chip.words[0] + 1))
        slot = Signal(range(chip.slots))
        chunk, ending = self._take_bytes(m, slot)
        bits, bias_chunk = self._with_bias(m, chunk)
        word = Signal(chip.array_synapses)
        index = Signal(range(chip.words[0] + len(chunk.bits) // chip.array_synapses))
        part = Signal(range(len(chunk.bits) // chip.array_synapses))
        busy = (chunk.full | bias_chunk) & entry.ready
        last_part = part == len(chunk.bits) // chip.array_synapses - 1
        keep = index < chip.words[0] if chip.signed_inputs else word.any()
        m.d.comb += [
            word.eq(bits.word_select(part, chip.array_synapses)),
            chunk.retire.eq(chunk.full & last_part & entry.ready),
            entry.write.eq((chunk.full | bias_chunk) & keep),
            entry.slot.eq(slot),
            entry.position.eq(position),
            entry.data.bits.eq(word),
            entry.data.index.eq(index),
        ]
        whole = self._whole(m, chunk, bias_chunk, last_part, entry.ready)
        with m.If(busy):
            m.d.sync += [
                index.eq(index + 1),
                part.eq(Mux(last_part, 0, part + 1)),
                position.eq(position + keep),
            ]
        with m.If(whole):
            m.d.sync += [self.o.valid.eq(1), self.o.payload.words.eq(position + keep)]
            m.d.sync += [index.eq(0), position.eq(0)]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [self.o.valid.eq(0), ending.eq(0)]

    def _take_bytes(self, m: Module, slot: Signal) -> tuple[Chunk, Signal]:
        """Gather bytes into chunks, each of one or more bytes and one or more words. Returns the chunk, and ``ending``:
        the sample's last byte has come, but the sample has not left."""
        chunk_bits = max(8, self.chip.array_synapses)
        chunk_bytes = chunk_bits // 8
        chunk = Signal(chunk_bits)
        fill = Signal(range(chunk_bytes))  # bytes in the chunk
        byte = Signal(range(self.chip.input_bytes))  # number of the next byte in the sample
        full = Signal()
        final = Signal()
        retire = Signal()
        ending = Signal()
        first = byte == 0
        last = byte == self.chip.input_bytes - 1
        take = self.i.valid & self.i.ready
        m.d.comb += [
            self.i.ready.eq((~full | retire) & ~ending & (~first | self.slot_available)),
            self.started.eq(take & first),
        ]
        with m.If(retire):
            m.d.sync += full.eq(0)
        with m.If(take):
            with m.If(fill == 0):
                m.d.sync += chunk.eq(self.i.payload)
            with m.Else():
                m.d.sync += chunk.word_select(fill, 8).eq(self.i.payload)
            m.d.sync += [
                byte.eq(Mux(last, 0, byte + 1)),
                fill.eq(Mux(last | (fill == chunk_bytes - 1), 0, fill + 1)),
                full.eq(last | (fill == chunk_bytes - 1)),
                final.eq(last),
                ending.eq(last),
            ]
            with m.If(first):
                m.d.sync += [
                    slot.eq(self.slot),
                    self.o.payload.slot.eq(self.slot),
                    self.o.payload.label.eq(self.label),
                    self.o.payload.infer.eq(self.infer),
                ]
        return Chunk(chunk, full, final, retire), ending

    def _with_bias(self, m: Module, chunk: Chunk) -> tuple[Signal, Signal]:
        """Add the bias to a chunk and clear the bits past it. Returns the bits, and whether the chunk holds only the
        bias."""
        bits = Signal(len(chunk.bits))
        bias_chunk = Signal()
        if self._bias_alone:
            m.d.comb += bits.eq(Mux(bias_chunk, 1, chunk.bits))
        else:
            real = self.chip.inputs % len(chunk.bits) or len(chunk.bits)  # inputs in the last chunk
            inputs = chunk.bits & ((1 << real) - 1)
            m.d.comb += bits.eq(Mux(chunk.final, inputs | (self.chip.bias << real), chunk.bits))
        return bits, bias_chunk

    def _whole(self, m: Module, chunk: Chunk, bias_chunk: Signal, last_part: Value, ready: Value) -> Signal:
        """Whether the sample's last word leaves in this cycle. If the bias is alone, its chunk comes last."""
        whole = Signal()
        if not self._bias_alone:
            m.d.comb += whole.eq(chunk.retire & chunk.final)
            return whole
        m.d.comb += whole.eq(bias_chunk & last_part & ready)
        with m.If(chunk.retire & chunk.final):
            m.d.sync += bias_chunk.eq(1)
        with m.If(whole):
            m.d.sync += bias_chunk.eq(0)
        return whole
