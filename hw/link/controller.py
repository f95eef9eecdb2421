"""The controller: checks a complete request in the packet buffer, executes it, and answers it.

It passes over a request twice. The first pass changes nothing: it counts the items and checks lengths, labels,
registers and addresses. The second pass applies the items. Samples go from the packet buffer to the trainer, a byte a
cycle; everything else passes through one shift register, ``word``, a byte a cycle in or out. ::

    checker                                             executor                                   responder
    IDLE → HEADER → CHECK → PROLOGUE → PREPARE → ITEM ⟲ → ACCEPT ┬→ (POSITION →) LABEL → FEED ⟲ ──────┬→ ANSWER → IDLE
                      │        │                   │        │    ├→ COLLECT → WRITE ⟲ → (COMMAND) ────┘
                      └────────┴────────┬──────────┴────────┘    └→ ANSWER ┬→ FETCH → LOAD → EMIT ⟲ → IDLE
                                        ▼                                  └→ FEED ⟲ → DRAIN → IDLE
                                     REFUSE → ANSWER → FETCH …

The diagram leaves out states that wait for a register or take another byte of the same item.

Packed samples vary in length. Each begins with its size: the first pass uses it to reach the next sample, and in the
second pass state SIZE takes it before LABEL.

STORE copies samples from the buffer to the sample store, byte by byte. TRAIN_STORED sends positions: POSITION takes one
from the buffer, and the sample's label and inputs then come from the store. TRAIN_SET and INFER_SET start the order
(WALK), whose numbers go to the store without the controller. Behind each piece of TRAIN_SET, SCHEDULE waits for its
samples, COLLECT and WRITE set the registers ``k``, and COMMAND ends the batch.

Pipelined chips do not DRAIN. They continue with the next request while predictions are pending, so that the MAC array
does not wait for the first pass.
"""

from __future__ import annotations

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from popflip.hw.config import ChipConfig
from popflip.hw.link.buffer import BufferReadSignature
from popflip.hw.link.checker import Checker
from popflip.hw.link.datapath import Datapath
from popflip.hw.link.executor import Executor
from popflip.hw.link.identity import Identity
from popflip.hw.link.responder import Responder
from popflip.hw.link.samples import SampleBytes
from popflip.hw.link.sender import ANSWER_HEADER
from popflip.hw.link.store import StoreSignature
from popflip.hw.link.tables import NONCE_BITS
from popflip.hw.link.walk import OrderSignature, Walk
from popflip.hw.trainer_port import TrainerSignature


def train_latency(chip: ChipConfig, samples: int) -> int:
    """Cycles from the last byte of a TRAIN request to the first byte offered to the trainer: all labels are checked."""
    return 13 + chip.label_bytes * (samples + 1)


def packed_latency(chip: ChipConfig, samples: int) -> int:
    """:func:`train_latency` of a TRAIN_PACKED request: all sizes and labels are checked."""
    return 13 + chip.label_bytes + chip.size_bytes + (chip.label_bytes + chip.size_bytes + 1) * samples


def replay_latency(chip: ChipConfig, samples: int) -> int:
    """:func:`train_latency` of a TRAIN_STORED request: all positions are checked."""
    size = chip.size_bytes if chip.packs else 0
    return train_latency(chip, 0) + 2 + chip.number_bytes + chip.number_bytes * samples + size


class Controller(wiring.Component):
    """Takes entries from the packet buffer, drives the trainer, and gives answers to the frame sender.

    Members
    -------
    ``reader`` : Out(BufferReadSignature(depth))
    ``header`` : Out(stream of :data:`ANSWER_HEADER`), ``payload`` : Out(stream of 8)
        To :class:`.sender.FrameSender`.
    ``session`` : Out(32), ``epoch`` : Out(1), ``nonce`` : In(16)
        Number of the session, 0 for none; a bit that changes whenever a session begins. The number's upper half is that
        of the host's number, xor ``nonce`` when the session begins.
    ``quiet`` : In(1)
        No answer is left to send. A session begins only then.
    ``trainer`` : Out(TrainerSignature)
    ``store`` : Out(StoreSignature)
        Only if the chip has a store.
    ``order`` : Out(OrderSignature)
        Only if the chip walks through its set.

    Cycles per training sample: ``label_bytes + input_bytes``; a packed sample as many as its item has bytes. From the
    store ``number_bytes + 2`` more, and the bytes of a size. Latency of the first one: :func:`train_latency`,
    :func:`replay_latency`, :func:`packed_latency`.
    """

    def __init__(self, chip: ChipConfig, identity: Identity):
        self.chip, self.identity = chip, identity
        super().__init__(
            {
                "reader": Out(BufferReadSignature(identity.buffer_bytes)),
                "header": Out(stream.Signature(ANSWER_HEADER)),
                "payload": Out(stream.Signature(8)),
                "session": Out(32),
                "epoch": Out(1),
                "nonce": In(NONCE_BITS),
                "quiet": In(1),
                "trainer": Out(TrainerSignature(chip)),
                **({"store": Out(StoreSignature(chip))} if chip.store_samples else {}),
                **({"order": Out(OrderSignature(chip))} if chip.walks else {}),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        datapath = Datapath(m, self.chip, self.identity, self)
        m.d.comb += [self.session.eq(datapath.session), self.epoch.eq(datapath.epoch)]
        samples = SampleBytes(m, datapath)
        walk = Walk(m, datapath) if self.chip.walks else None
        executor = Executor(m, datapath, samples, walk)
        responder = Responder(m, datapath, samples)
        checker = Checker(m, datapath, samples, executor, walk)
        with m.FSM():
            checker.add_states()
            executor.add_states()
            responder.add_states()
        responder.connect_predictions()
        return m
