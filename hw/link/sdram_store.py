"""The sample store in an SDRAM: a burst of words for each sample, read ahead while the chip learns the ones before.

::

    numbers ─▶ burst of a sample's words ─▶ Sdram ─▶ words ─▶ bytes ─▶ samples
    written ─▶ words, a request each ──────────┘

A burst is as long as the longest item written so far, since a sample's size is known only once it is read. The words
behind a sample's last byte are skipped.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import ceil_log2

from popflip.golden.errors import ConfigError
from popflip.hw.config import ChipConfig
from popflip.hw.link.store import Place, StoreSignature, stride
from popflip.hw.memory.sdram import Sdram
from popflip.hw.memory.sdram_part import PARTS, SdramPinsSignature

SIMULATED_HZ = 50e6
"""Clock of a simulated chip with SDRAM whose clock is not known."""


class SdramStore(wiring.Component):
    """A store of ``chip.store_samples`` samples in the SDRAM ``chip.sdram``, with a clock of ``hz``.

    Raises :class:`ConfigError` if the SDRAM is too small, or cannot have that clock.

    Members
    -------
    ``port`` : In(StoreSignature)
        A byte of a sample leaves each cycle; between two samples, the words behind the first one are skipped, a word a
        cycle. Items are written as fast as the SDRAM opens their rows.
    ``pins`` : Out(SdramPinsSignature)
    """

    def __init__(self, chip: ChipConfig, hz: float, capture: int = 0):
        self.chip, self.part, self.hz = chip, PARTS[chip.sdram], hz
        size, room = chip.store_samples * stride(chip), self.part.words * self.part.data_bits // 8
        if size > room:
            most = room // stride(chip)
            raise ConfigError(
                f"store: {chip.store_samples} samples, but the {self.part.name} holds {most}; store fewer"
            )
        self.lanes = self.part.data_bits // 8
        self.words = stride(chip) // self.lanes
        self.sdram = Sdram(self.part, self.part.cycles(hz), longest=self.words, capture=capture)
        super().__init__({"port": In(StoreSignature(chip)), "pins": Out(SdramPinsSignature(self.part))})

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.sdram = self.sdram
        connect(m, self.sdram.pins, flipped(self.pins))
        least = self.chip.stored_bytes
        if self.chip.packs:
            least = self.chip.size_bytes + self.chip.label_bytes + 1
        self._more = Signal(range(self.words), init=-(-least // self.lanes) - 1)  # words of a burst, less 1
        self._index = Signal(range(stride(self.chip)))  # of the byte that is written next
        self._write(m)
        self._read(m)
        return m

    def _write(self, m: Module) -> None:
        """Bytes to words. A word and its request go when the word is full or the item ends."""
        port, sdram, lanes = self.port, self.sdram, self.lanes
        written, index, word = port.written, self._index, Signal(self.part.data_bits)
        sends_word, sends_request = Signal(), Signal()
        place = Signal(range(self.words * self.chip.store_samples))  # of the word; the item may be over when it goes
        full = (index[: ceil_log2(lanes)] == lanes - 1) | written.payload.last
        m.d.comb += [
            written.ready.eq(~sends_word & ~sends_request),
            sdram.write.valid.eq(sends_word),
            sdram.write.payload.data.eq(word),
            sdram.requests.valid.eq(sends_request | port.numbers.valid),
            sdram.requests.payload.write.eq(sends_request),
            sdram.requests.payload.address.eq(
                Mux(sends_request, place, Cat(Const(0, ceil_log2(self.words)), port.numbers.payload))
            ),
            sdram.requests.payload.more.eq(Mux(sends_request, 0, self._more)),
            port.numbers.ready.eq(sdram.requests.ready & ~sends_request),
        ]
        with m.If(sdram.write.ready):
            m.d.sync += sends_word.eq(0)
        with m.If(sdram.requests.ready):
            m.d.sync += sends_request.eq(0)
        with m.If(written.valid & written.ready):
            m.d.sync += [
                word.word_select(index[: ceil_log2(lanes)], 8).eq(written.payload.byte),
                place.eq(Cat(index[ceil_log2(lanes) :], port.position)),
                index.eq(Mux(written.payload.last, 0, index + 1)),
            ]
            with m.If(full):
                m.d.sync += [sends_word.eq(1), sends_request.eq(1)]
            with m.If(index[ceil_log2(lanes) :] > self._more):
                m.d.sync += self._more.eq(index[ceil_log2(lanes) :])

    def _read(self, m: Module) -> None:
        """Words to bytes."""
        samples, words, lanes = self.port.samples, self.sdram.read, self.lanes
        skips = Signal()  # the words behind a sample
        taken = Signal()
        shown = words.valid & ~skips
        byte, end = Signal(8), Signal()
        place = Place(m, self.chip, byte, end)
        lane = place.index[: ceil_log2(lanes)]
        m.d.comb += [
            byte.eq(words.payload.data.word_select(lane, 8)),
            end.eq(words.payload.last & (lane == lanes - 1)),
            samples.valid.eq(shown & ~place.is_size),
            samples.payload.byte.eq(byte),
            samples.payload.last.eq(place.last),
            taken.eq(shown & (samples.ready | place.is_size)),
            words.ready.eq(skips | (taken & (place.last | (lane == lanes - 1)))),
        ]
        with m.If(taken):
            place.step()
            with m.If(place.last & ~words.payload.last):
                m.d.sync += skips.eq(1)
        with m.If(skips & words.valid & words.payload.last):
            m.d.sync += skips.eq(0)
