"""Ingest: a sample's bytes become a list of words.

GFT: an input that is zero adds nothing to a first-layer sum and teaches no counter, so words without a one are left out
here, once, and cost neither the MAC array nor the learning engine a cycle. The bias, whose input is always one, is
appended as synapse ``K[0]``, so no list is empty. LBE: an input that is zero stands for −1, so all words are listed.

On a chip that packs, bytes come with their places (:mod:`.unpack`), so that bytes between them are not even waited for,
and the next sample comes while the last words of the one before are written. ::

    bytes ─▶ unpack ─▶ chunk ─ another one's byte comes ─▶ list
                         └──── the bias has come ────────▶ list, sample ─▶ queue
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import ceil_log2

from popflip.golden.config import Rule
from popflip.hw.common.unpack import Unpack
from popflip.hw.config import ChipConfig
from popflip.hw.layouts import input_word, sample_layout
from popflip.hw.lib.stream import Queue, delayed
from popflip.hw.memory.signatures import InputReadSignature, InputWriteSignature

UNDER_WAY = 2  # samples that have begun and are not passed on yet, where the next one does not wait


class Ingest(wiring.Component):
    """Packs bytes into N-synapse words, keeps those that count, and passes the sample on once it is whole.

    Golden: the inputs of ``popflip.golden.common.forward.forward``, with their bias if there is one; what is left
    out changes no sum.

    Members
    -------
    ``i`` : In(stream 8)
        ``⌈K[0]/8⌉`` bytes a sample, bit ``i`` of byte ``q`` is input ``8q + i``; bits past ``K[0]`` are ignored. Or as
        many as it has packed.
    ``label`` : In(range(classes)), ``infer`` : In(1)
        Stable while a sample's bytes flow.
    ``packed`` : In(1), ``last`` : In(1)
        On a chip that packs: whether the sample is packed; with a byte of such a sample, whether it is the last one.
    ``slot_available`` : In(1), ``slot`` : In(range(slots)), ``started`` : Out(1)
        A free slot, which a sample needs to start; it is taken with the sample's first byte, in the cycle ``started``
        is high.
    ``o`` : Out(stream sample_layout)
        A whole sample.
    ``forward``, ``learn`` : In(InputReadSignature)
        The two readers of the lists.
    ``list`` : Out(InputWriteSignature)
        On a compact chip, instead of these: lists lie elsewhere.

    A byte every :attr:`cycles_per_byte` cycles (N = 4: 2, else 1); a sample is passed on :attr:`latency` cycles after
    its last byte (2, or 3 where the bias has a chunk of bytes of its own; N = 4: 3 or 5; a chip that packs: 5).
    The next one begins :attr:`gap` cycles after that byte at the earliest.
    """

    def __init__(self, chip: ChipConfig):
        self.chip = chip
        self.cycles_per_byte = max(1, 8 // chip.array_synapses)
        bias_alone = chip.bias and chip.inputs % max(8, chip.array_synapses) == 0
        self.latency = 1 + self.cycles_per_byte * (1 + bias_alone)
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
        entry = self._lists(m)
        if self.chip.packs:
            self._gather(m, entry)
        else:
            self._fill(m, entry)
        return m

    def _lists(self, m: Module) -> wiring.PureInterface:
        """The lists and their readers; returns where they are written."""
        chip = self.chip
        entry = InputWriteSignature(chip).create()
        if chip.compact:
            connect(m, entry, flipped(self.list))
        else:
            stride = ceil_log2(chip.words[0])  # a power of two apart, so that an address is a concatenation
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

    def _gather(self, m: Module, entry: wiring.PureInterface) -> None:
        """Bytes with their places become words. What is under way moves in every cycle: where it might have to wait,
        the next sample does not begin.
        """
        chip = self.chip
        lanes = chip.array_synapses
        m.submodules.unpack = unpack = Unpack(chip)
        m.submodules.queue = queue = Queue(sample_layout(chip), UNDER_WAY)
        connect(m, queue.o, flipped(self.o))

        # Into the first register --------------------------------------------------------------------------------------
        begun = Signal(range(UNDER_WAY + 1))  # samples that are not passed on yet
        may_go = Signal()
        m.d.comb += [
            may_go.eq(~unpack.first | (self.slot_available & (begun != UNDER_WAY))),
            unpack.i.payload.eq(self.i.payload),
            unpack.i.valid.eq(self.i.valid & may_go),
            self.i.ready.eq(unpack.i.ready & may_go),
            unpack.packed.eq(self.packed),
            unpack.last.eq(self.last),
            self.started.eq(unpack.i.valid & unpack.i.ready & unpack.first),
        ]
        m.d.sync += begun.eq(begun + self.started - (self.o.valid & self.o.ready))
        sample = Signal(sample_layout(chip))  # its `words` are not known yet
        with m.If(self.started):
            m.d.sync += [sample.slot.eq(self.slot), sample.label.eq(self.label), sample.infer.eq(self.infer)]
        sample = data.View(sample_layout(chip), delayed(m, sample.as_value(), Unpack.latency))  # of `word`

        # Bytes to words -----------------------------------------------------------------------------------------------
        place = unpack.o.payload
        part, index = place.index[: ceil_log2(lanes // 8)], place.index[ceil_log2(lanes // 8) :]
        word = Signal(input_word(chip))
        some = Signal()  # of its bits is 1
        growing, whole = Signal(), Signal()  # more of the word may come, or that was its sample's last one
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
                some.eq((same & some) | place.byte.any()),
                growing.eq(~place.last),
                whole.eq(place.last),
            ]

        # Words to the list --------------------------------------------------------------------------------------------
        position = Signal(range(chip.words[0] + 1))
        last_word = chip.words[0] - 1  # holds the bias, and bits of its byte that lie beyond it
        m.d.comb += [
            entry.write.eq(some & (whole | (unpack.o.valid & growing & ~same))),
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

    def _fill(self, m: Module, entry: wiring.PureInterface) -> None:
        """Bytes one after the other become words."""
        chip = self.chip
        lanes = chip.array_synapses
        chunk_bits = max(8, lanes)  # bytes are gathered into chunks, a chunk leaves as one or more words
        chunk_bytes, chunk_words = chunk_bits // 8, chunk_bits // lanes
        lanes_of_last = chip.inputs % chunk_bits or chunk_bits  # of the last chunk
        bias_alone = chip.bias and lanes_of_last == chunk_bits  # in a chunk of its own
        position = Signal(range(chip.words[0] + 1))
        slot = Signal(range(chip.slots))

        # Bytes to chunks ----------------------------------------------------------------------------------------------
        chunk = Signal(chunk_bits)
        fill = Signal(range(chunk_bytes))  # bytes in the chunk being gathered
        byte = Signal(range(chip.input_bytes))  # of the sample
        full = Signal()  # `chunk` is complete
        final = Signal()  # … and the sample's last one that came over `i`
        retire = Signal()  # the last word of `chunk` leaves in this cycle
        ending = Signal()  # between the sample's last byte and its hand-over

        first = byte == 0
        last = byte == chip.input_bytes - 1
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

        # Chunks to words ----------------------------------------------------------------------------------------------
        bits = Signal(chunk_bits)  # the chunk with its bias and without what lies beyond it
        bias_chunk = Signal()  # the chunk that holds nothing but the bias
        if bias_alone:
            m.d.comb += bits.eq(Mux(bias_chunk, 1, chunk))
        else:
            inputs = chunk & ((1 << lanes_of_last) - 1)
            m.d.comb += bits.eq(Mux(final, inputs | (chip.bias << lanes_of_last), chunk))

        word = Signal(lanes)
        index = Signal(range(chip.words[0] + chunk_words))
        part = Signal(range(chunk_words))
        busy = (full | bias_chunk) & entry.ready
        last_part = part == chunk_words - 1
        keep = word.any() if chip.rule == Rule.GFT else index < chip.words[0]
        m.d.comb += [
            word.eq(bits.word_select(part, lanes)),
            retire.eq(full & last_part & entry.ready),
            entry.write.eq((full | bias_chunk) & keep),
            entry.slot.eq(slot),
            entry.position.eq(position),
            entry.data.bits.eq(word),
            entry.data.index.eq(index),
        ]
        whole = Signal()
        if bias_alone:
            m.d.comb += whole.eq(bias_chunk & last_part & entry.ready)
            with m.If(retire & final):
                m.d.sync += bias_chunk.eq(1)
            with m.If(whole):
                m.d.sync += bias_chunk.eq(0)
        else:
            m.d.comb += whole.eq(retire & final)
        with m.If(busy):
            m.d.sync += [
                index.eq(index + 1),
                part.eq(Mux(last_part, 0, part + 1)),
                position.eq(position + keep),
            ]

        # Hand-over ----------------------------------------------------------------------------------------------------
        with m.If(whole):
            m.d.sync += [self.o.valid.eq(1), self.o.payload.words.eq(position + keep)]
            m.d.sync += [index.eq(0), position.eq(0)]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [self.o.valid.eq(0), ending.eq(0)]
