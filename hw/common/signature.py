"""Flip signature: a checksum of all flips. It compares a chip with the golden model without reading a weight."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, ValueLike
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from popflip.golden.config import WORD
from popflip.hw.common.scan import scans_rows
from popflip.hw.config import ChipConfig
from popflip.hw.lib.popcount import add_tree

POLYNOMIAL = 0xEDB88320  # zlib's: least significant bit first
INDEX_BITS = 32


def record_layout(chip: ChipConfig) -> data.StructLayout:
    """``index``: number of a 32-synapse word, by layer, then row, then word. ``mask``: its synapses that flipped."""
    words = sum(rows * words for rows, words in zip(chip.rows, chip.mask_words, strict=True))
    return data.StructLayout({"index": range(words), "mask": WORD})


def crc_step(m: Module, remainder: ValueLike, bits: ValueLike):
    """The CRC's remainder after ``bits``, which enter lowest bit first.

    The feedback is a signal because several bits use it: an expression would be built again at each use.
    """
    state = list(remainder)
    for index in range(len(bits)):
        feedback = Signal(name=f"feedback{index}")
        m.d.comb += feedback.eq(state[0] ^ bits[index])
        state = [*state[1:], 0]
        state = [value ^ feedback if POLYNOMIAL >> index & 1 else value for index, value in enumerate(state)]
    return Cat(state)


def bits_a_cycle(chip: ChipConfig) -> int:
    """Bits of a record added in a cycle, by default. LBE adds four times as many: most of its words have flips."""
    return (8 if chip.pipelined else 4) * (4 if scans_rows(chip) else 1)


class FlipSignature(wiring.Component):
    """``crc ← crc32(record, crc)`` for each record: index, then mask, 32 bits each, little-endian (golden
    ``signature.FlipSignature``). ``amaranth.lib.crc`` cannot continue from a loaded CRC.

    Parameters
    ----------
    bits : int
        Bits taken in a cycle, a power of two up to 32; by default :func:`bits_a_cycle`.

    Members
    -------
    ``i`` : In(stream of :func:`record_layout`)
        Taken in the last of ``64 / bits`` cycles, which add it to the CRC.
    ``crc`` : Out(32)
        CRC-32 of the records so far; changes while one is being added.
    ``load`` : In(1), ``load_crc`` : In(32)
        Sets ``crc`` at the end of the cycle; not while there are records.
    ``flips`` : Out(range(bits + 1))
        Ones among the mask bits that the previous cycle added: weights that flipped.
    """

    def __init__(self, chip: ChipConfig, *, bits: int | None = None):
        self.bits = bits_a_cycle(chip) if bits is None else bits
        super().__init__(
            {
                "i": In(stream.Signature(record_layout(chip))),
                "crc": Out(32),
                "load": In(1),
                "load_crc": In(32),
                "flips": Out(range(self.bits + 1)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        record = Signal(INDEX_BITS + WORD)
        step = Signal(range(len(record) // self.bits))
        bits = Signal(self.bits)
        remainder = Signal(32, init=~0)
        m.d.comb += [
            bits.eq(record.word_select(step, self.bits)),
            record[:INDEX_BITS].eq(self.i.payload.index),
            record[INDEX_BITS:].eq(self.i.payload.mask),
            self.crc.eq(~remainder),
            self.i.ready.eq(step.all()),
        ]
        m.d.sync += self.flips.eq(0)
        with m.If(self.load):
            m.d.sync += remainder.eq(~self.load_crc)
        with m.Elif(self.i.valid):
            m.d.sync += [step.eq(step + 1), remainder.eq(crc_step(m, remainder, bits))]
            with m.If(step[-1]):
                m.d.sync += self.flips.eq(add_tree(list(bits)))
        return m
