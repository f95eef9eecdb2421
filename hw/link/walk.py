"""The chip's own walk through its stored set: places of its order, in pieces of which each may end a batch."""

from __future__ import annotations

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import Out

from popflip.golden.config import Rule
from popflip.hw.common.order import start_layout
from popflip.hw.config import ChipConfig
from popflip.hw.link.commands import SET_COMMANDS, Command
from popflip.hw.link.datapath import Datapath
from popflip.hw.registers import KEY, LAST_SAMPLE

PIECE_BITS = 16
"""Bits of the number of samples in a piece."""


class OrderSignature(wiring.Signature):
    """:class:`popflip.hw.common.order.Order` from the controller's side, without the numbers that it makes."""

    def __init__(self, chip: ChipConfig):
        super().__init__(
            {"start": Out(stream.Signature(start_layout(chip.store_samples))), "load": Out(1), "word": Out(32)}
        )


class Walk:
    """Registers of TRAIN_SET and INFER_SET, and writes to the registers that describe the set.

    ``piece``: samples of each piece. ``left``: those of the current one that have not been fed. ``final``: place of the
    request's last sample, in the order. ``outside``: the request leaves the set, known a cycle after ``final``.
    ``trains``: the command is TRAIN_SET. ``first_k``, ``last_k``: registers that an item of it sets.
    """

    def __init__(self, m: Module, datapath: Datapath):
        self.m, self.datapath = m, datapath
        self.order, chip = datapath.order, datapath.chip
        self.piece, self.left = Signal(PIECE_BITS), Signal(PIECE_BITS)
        self.final = Signal(len(datapath.address) + PIECE_BITS)
        self.outside = Signal()
        self.trains: Value = datapath.command == Command.TRAIN_SET
        numbers = datapath.rom.indices
        self.ends_batches = chip.rule == Rule.GFT
        """Whether TRAIN_SET has items: the numbers of synapses to select at the end of a batch."""
        self.first_k = numbers["k0"] if self.ends_batches else 0
        self.last_k = self.first_k + chip.depth - 1
        highest = Signal(range(chip.store_samples))
        start, register = self.order.start.payload, datapath.trainer.register
        m.d.comb += [
            start.highest.eq(highest),
            start.first.eq(datapath.address),
            start.last.eq(self.final),
            self.order.word.eq(register.value),
            self.order.load.eq(register.write & (register.index == numbers[KEY])),
        ]
        with m.If(register.write & (register.index == numbers[LAST_SAMPLE])):
            m.d.sync += highest.eq(register.value)
        wrong = datapath.address_overflow | (self.final > highest) | (self.piece == 0)
        m.d.sync += self.outside.eq(datapath.is_one_of(*SET_COMMANDS) & wrong)

    def prepare(self, samples: Value, first: Value) -> None:
        """Begin a request for pieces of ``samples`` from place ``first`` on."""
        self.m.d.sync += [self.piece.eq(samples), self.final.eq(first + samples - 1)]

    def item(self) -> None:
        """Another item: another piece, unless it is the first one."""
        with self.m.If(self.datapath.count != 0):
            self.m.d.sync += self.final.eq(self.final + self.piece)
