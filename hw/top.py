"""The chip: a link and the trainer behind it."""

from __future__ import annotations

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .build_hash import build_hash
from .config import ChipConfig
from .link.buffer import BUFFER_BYTES, buffer_bytes
from .link.frames import Identity
from .link.link import Link
from .trainer import Trainer


class Chip(wiring.Component):
    """Learns and answers over a byte stream: everything but pins, clock and the way the bytes come.

    ``clock_hz`` is what IDENTIFY tells the host, 0 in simulation; ``buffer`` the least bytes of the packet buffer.

    Members
    -------
    ``rx`` : In(stream of 8), ``tx`` : Out(stream of 8)
        Frames of :mod:`popflip.hw.link.frames`.
    """

    def __init__(self, chip: ChipConfig, clock_hz: int = 0, buffer: int = BUFFER_BYTES):
        self.identity = Identity.of(chip, buffer_bytes(chip, buffer), clock_hz, build_hash(chip))
        self.link = Link(chip, self.identity)
        self.trainer = Trainer(chip)
        super().__init__({"rx": In(stream.Signature(8)), "tx": Out(stream.Signature(8))})

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.link = self.link
        m.submodules.trainer = self.trainer
        wiring.connect(m, wiring.flipped(self.rx), self.link.rx)
        wiring.connect(m, self.link.trainer, self.trainer.port)
        wiring.connect(m, self.link.tx, wiring.flipped(self.tx))
        return m
