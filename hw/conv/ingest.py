"""Ingest with positions: the bytes of a sample become the list of its nonzero patch words.

A sample comes plane after plane, but a pixel needs the bits of all planes at once. So its bits first fill an image, as
many in a cycle as :mod:`.patches` takes side by side. Then its pixels pass there, while the next sample fills the other
image::

    bytes ─▶ s bits ─▶ image 0, 1 ─▶ s pixels ─▶ patches ─▶ list of the sample's slot
                                                   └ last word ─▶ sample
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from popflip.hw.config import ChipConfig
from popflip.hw.conv.patches import Patches
from popflip.hw.conv.signatures import PatchReadSignature
from popflip.hw.layouts import sample_layout
from popflip.hw.lib.stream import Queue

UNDER_WAY = 4
"""Samples between the last bit of their image and the last word of their list: two images, and those in patches."""


class ConvIngest(wiring.Component):
    """Makes the list of a sample's patch words, and passes the sample on when it is complete.

    Members
    -------
    ``i`` : In(stream 8)
        ``⌈K[0]/8⌉`` bytes a sample. Bit ``i`` of byte ``q`` is input ``8q + i``; bits past ``K[0]`` are ignored.
    ``label`` : In(range(classes)), ``infer`` : In(1)
        Stable while the bytes of a sample come.
    ``may_begin`` : In(1), ``started`` : Out(1), ``inside`` : Out(1)
        A sample begins only while ``may_begin`` is high. ``started``: its first byte comes. ``inside``: a sample has
        begun that has no slot yet.
    ``slot_available`` : In(1), ``slot`` : In(range(slots)), ``filled`` : Out(stream of range(slots))
        A sample takes ``slot``, if it is available, when its image is complete: then ``filled`` has its number, which
        must be taken.
    ``o`` : Out(stream sample_layout)
        A complete sample; ``words`` is the length of its list.
    ``forward``, ``learn`` : In(PatchReadSignature)
        The readers of the lists.

    A sample takes a cycle for each byte, and one for each step of :mod:`.patches` inside each plane.
    """

    def __init__(self, chip: ChipConfig):
        self.chip = chip
        self.patches = Patches(chip.plan[0], chip.array_synapses)
        super().__init__(
            {
                "i": In(stream.Signature(8)),
                "label": In(range(chip.classes)),
                "infer": In(1),
                "may_begin": In(1),
                "started": Out(1),
                "inside": Out(1),
                "slot_available": In(1),
                "slot": In(range(chip.slots)),
                "filled": Out(stream.Signature(range(chip.slots))),
                "o": Out(stream.Signature(sample_layout(chip))),
                "forward": In(PatchReadSignature(chip)),
                "learn": In(PatchReadSignature(chip)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        chip, planes = self.chip, self.chip.plan[0].inputs
        m.submodules.patches = self.patches
        m.submodules.samples = self._samples = Queue(sample_layout(chip), UNDER_WAY)
        self._steps = planes.height * self.patches.steps  # of an image
        self._full = Signal(2, name="full")  # images that are complete, and not read yet
        self._filled, self._emptied = Signal(name="filled"), Signal(name="emptied")
        filling, reading = Signal(), Signal()  # the image that is filled, and the one that is read
        m.d.sync += [
            filling.eq(filling ^ self._filled),
            reading.eq(reading ^ self._emptied),
            self._full.eq((self._full | (self._filled << filling)) & ~(self._emptied << reading)),
        ]
        self._bits = ceil_log2(self._steps)
        images = [Memory(shape=chip.plan[0].stride, depth=2 << self._bits, init=[]) for _ in range(planes.channels)]
        for number, image in enumerate(images):
            m.submodules[f"plane{number}"] = image
        self._fill(m, images, filling)
        self._read(m, images, reading)
        self._list(m)
        return m

    def _fill(self, m: Module, images: list[Memory], image: Signal) -> None:
        """Write the bits of a sample into its image, a step a cycle. A byte is taken when too few bits are left."""
        chip, queue, stride = self.chip, self._samples, self.chip.plan[0].stride
        width = chip.plan[0].inputs.width
        bits, left = Signal(8 + stride - 1), Signal(range(8 + stride))  # bits that are not written
        inside = self.inside
        step, plane = Signal(range(self._steps)), Signal(range(len(images)))
        column = Signal(range(self.patches.steps))  # step within the row
        sample, label, infer = Signal(sample_layout(chip)), Signal.like(self.label), Signal()
        begins, take, writes = Signal(), Signal(), Signal()
        ends_row, ends_plane = column == self.patches.steps - 1, step == self._steps - 1
        ends_image = ends_plane & (plane == len(images) - 1)
        count = Mux(ends_row, (width - 1) % stride + 1, stride)  # pixels of the step
        m.d.comb += [
            begins.eq(~inside & self.may_begin & ~self._full.bit_select(image, 1) & queue.i.ready),
            writes.eq(inside & (left >= count) & (~ends_image | self.slot_available)),
            self.i.ready.eq((left < count) & (inside | begins)),
            take.eq(self.i.valid & self.i.ready),
            self.started.eq(take & ~inside),
            self._filled.eq(writes & ends_image),
            sample.slot.eq(self.slot),
            sample.label.eq(label),
            sample.infer.eq(infer),
            queue.i.valid.eq(self._filled),
            queue.i.payload.eq(sample),
            self.filled.valid.eq(self._filled),
            self.filled.payload.eq(self.slot),
        ]
        with m.If(take):
            m.d.sync += [bits.eq(bits | (self.i.payload << left)), left.eq(left + 8), inside.eq(1)]
            with m.If(~inside):
                m.d.sync += [label.eq(self.label), infer.eq(self.infer)]
        with m.If(writes):
            m.d.sync += [
                bits.eq(Mux(self._filled, 0, bits >> count)),
                left.eq(Mux(self._filled, 0, left - count)),
                step.eq(Mux(ends_plane, 0, step + 1)),
                column.eq(Mux(ends_row, 0, column + 1)),
                inside.eq(~self._filled),
            ]
            with m.If(ends_plane):
                m.d.sync += plane.eq(Mux(self._filled, 0, plane + 1))
        real = Mux(ends_row, (1 << (width - 1) % stride + 1) - 1, (1 << stride) - 1)
        for number, memory in enumerate(images):
            write = memory.write_port()
            m.d.comb += [
                write.en.eq(writes & (plane == number)),
                write.addr.eq(Cat(step[: self._bits], image)),
                write.data.eq(bits & real),
            ]

    def _read(self, m: Module, images: list[Memory], image: Signal) -> None:
        """Send the pixels of a complete image to patches."""
        pixels, count = self.patches.i, len(images)
        step = Signal(range(self._steps), name="read_step")
        moves, reads = Signal(), Signal()
        m.d.comb += [
            moves.eq(~pixels.valid | pixels.ready),
            reads.eq(moves & self._full.bit_select(image, 1)),
            self._emptied.eq(reads & (step == self._steps - 1)),
        ]
        with m.If(moves):
            m.d.sync += pixels.valid.eq(reads)
        with m.If(reads):
            m.d.sync += step.eq(Mux(self._emptied, 0, step + 1))
        for number, memory in enumerate(images):
            read = memory.read_port()
            m.d.comb += [
                read.en.eq(reads),
                read.addr.eq(Cat(step[: self._bits], image)),
                *(pixels.payload[pixel * count + number].eq(bit) for pixel, bit in enumerate(read.data)),
            ]

    def _list(self, m: Module) -> None:
        """Write the words of a sample, and pass it on with the last one."""
        chip, words, samples = self.chip, self.patches.o, self._samples.o
        position = Signal(range(chip.list_words))
        stride = ceil_log2(chip.list_words)  # so that an address is a concatenation
        lists = Memory(shape=words.payload.shape(), depth=chip.slots << stride, init=[])
        m.submodules.lists = lists
        write = lists.write_port()
        takes, last = words.valid & words.ready, Signal()
        m.d.comb += [
            words.ready.eq(~self.o.valid | self.o.ready),
            last.eq(words.payload.last & (words.payload.pool == chip.plan[0].pools - 1)),
            write.en.eq(takes),
            write.addr.eq(Cat(position[:stride], samples.payload.slot)),
            write.data.eq(words.payload),
            samples.ready.eq(takes & last),
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(takes):
            m.d.sync += position.eq(Mux(last, 0, position + 1))
            with m.If(last):
                m.d.sync += [
                    self.o.valid.eq(1),
                    self.o.payload.eq(samples.payload),
                    self.o.payload.words.eq(position + 1),
                ]
        for port in (self.forward, self.learn):
            read = lists.read_port()
            m.d.comb += [
                read.en.eq(port.en),
                read.addr.eq(Cat(port.position[:stride], port.slot)),
                port.data.eq(read.data),
            ]
