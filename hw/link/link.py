"""The chip's end of the link: executes the requests in a byte stream on the trainer."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from popflip.hw.common.order import Order
from popflip.hw.config import ChipConfig
from popflip.hw.lib.stream import Queue
from popflip.hw.link.buffer import PacketBuffer, longest_payload
from popflip.hw.link.controller import Controller
from popflip.hw.link.identity import Identity
from popflip.hw.link.receiver import FrameReceiver
from popflip.hw.link.sdram_store import SIMULATED_HZ, SdramStore
from popflip.hw.link.sender import ANSWER_HEADER, FrameSender
from popflip.hw.link.store import BlockBytes, Memories, Store
from popflip.hw.link.tables import NONCE_BITS
from popflip.hw.trainer_port import TrainerSignature


class Link(wiring.Component):
    """Frame receiver, packet buffer, controller, frame sender, and the sample store if the chip has one. ::

        rx ─▶ receiver ─▶ buffer ─▶ controller ─▶ sender ─▶ tx
                store ◀─ order ◀──┘    └──▶ trainer
                  └── samples ─▶ controller

    The receiver takes the next frames while a request executes, and the next request may execute while the sender sends
    an answer. ``identity`` is the answer to IDENTIFY and sets the size of the packet buffer; ``memory`` makes the
    store's memory, unless that is an SDRAM. ``capture`` : see :class:`popflip.hw.memory.sdram.Sdram`.

    Members
    -------
    ``rx`` : In(stream of 8), ``tx`` : Out(stream of 8)
        Frames of :mod:`popflip.hw.link.codec`.
    ``nonce`` : In(16)
        Differs from one session's begin to the next, and from one power-up to the next.
    ``trainer`` : Out(TrainerSignature)
    ``sdram`` : Out(SdramPinsSignature)
        Only if the chip has an SDRAM.
    """

    def __init__(self, chip: ChipConfig, identity: Identity, memory: Memories = BlockBytes, capture: int = 0):
        self.chip, self.identity = chip, identity
        self.store: Any = None
        if chip.sdram:
            self.store = SdramStore(chip, identity.clock_hz or SIMULATED_HZ, capture)
        elif chip.store_samples:
            self.store = Store(chip, memory)
        super().__init__(
            {
                "rx": In(stream.Signature(8)),
                "tx": Out(stream.Signature(8)),
                "nonce": In(NONCE_BITS),
                "trainer": Out(TrainerSignature(chip)),
                **({"sdram": Out(self.store.pins.signature)} if chip.sdram else {}),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        depth = self.identity.buffer_bytes
        m.submodules.receiver = receiver = FrameReceiver(longest_payload(depth))
        m.submodules.buffer = buffer = PacketBuffer(depth)
        m.submodules.controller = controller = Controller(self.chip, self.identity)
        m.submodules.sender = sender = FrameSender()
        m.d.comb += [
            controller.nonce.eq(self.nonce),
            controller.quiet.eq(sender.header.ready & ~sender.header.valid),
            receiver.session.eq(controller.session),
            receiver.epoch.eq(controller.epoch),
            sender.session.eq(controller.session),
        ]
        if self.store is not None:
            m.submodules.store = self.store
            wiring.connect(m, controller.store, self.store.port)
            if self.chip.sdram:
                wiring.connect(m, self.store.pins, wiring.flipped(self.sdram))
            if self.chip.walks:
                self._connect_order(m, controller)
        wiring.connect(m, wiring.flipped(self.rx), receiver.rx)
        wiring.connect(m, receiver.buffer, buffer.writer)
        wiring.connect(m, controller.reader, buffer.reader)
        if self.chip.pipelined:  # cuts the combinational paths between controller and sender
            m.submodules.header = header = Queue(ANSWER_HEADER, 2)
            wiring.connect(m, controller.header, header.i)
            wiring.connect(m, header.o, sender.header)
            m.submodules.payload = payload = Queue(8, 2)
            wiring.connect(m, controller.payload, payload.i)
            wiring.connect(m, payload.o, sender.payload)
        else:
            wiring.connect(m, controller.header, sender.header)
            wiring.connect(m, controller.payload, sender.payload)
        wiring.connect(m, controller.trainer, wiring.flipped(self.trainer))
        wiring.connect(m, sender.tx, wiring.flipped(self.tx))
        return m

    def _connect_order(self, m: Module, controller: Controller) -> None:
        """Numbers come from the order while it makes some, else from the controller."""
        numbers = self.store.port.numbers
        m.submodules.order = order = Order(self.chip.store_samples)
        wiring.connect(m, controller.order.start, order.start)
        m.d.comb += [
            order.load.eq(controller.order.load),
            order.word.eq(controller.order.word),
            order.o.ready.eq(numbers.ready),
        ]
        with m.If(order.o.valid):
            m.d.comb += [numbers.valid.eq(1), numbers.payload.eq(order.o.payload.number)]
