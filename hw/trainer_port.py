"""What the link controller sees of the trainer: one signature, so that either can be tested without the other."""

from __future__ import annotations

from amaranth.lib import enum, stream, wiring
from amaranth.lib.wiring import In, Out

from popflip.hw.config import ChipConfig
from popflip.hw.memory.weights import StateSignature
from popflip.hw.registers import registers, status_words


class TrainerCommand(enum.Enum, shape=1):
    """``RESET``: zero the counts and signature, draw the initial state. ``END_BATCH``: select and flip now (LBE:
    nothing).
    """

    RESET = 0
    END_BATCH = 1


class TrainerSignature(wiring.Signature):
    """The trainer as its controller drives it; directions are the controller's (``Out``: to the trainer).

    Members
    -------
    ``samples`` : Out(stream of 8)
        ``chip.input_bytes`` bytes a sample; bit ``i`` of byte ``q`` is input ``8q + i``, bits past the last one are 0.
    ``sample_label`` : Out(range(classes)), ``sample_infer`` : Out(1)
        The sample's class, and whether it is only classified. Stable from the first byte offered to the last taken.
    ``sample_packed`` : Out(1), ``sample_last`` : Out(1)
        Of a chip that packs: whether the bytes are a packed sample's (:mod:`popflip.golden.common.packing`), stable as
        these are, and whether the byte offered is a packed sample's last one.
    ``predictions`` : In(stream of range(classes))
        One for each sample sent with ``sample_infer``, in order.
    ``command`` : Out(stream of :class:`TrainerCommand`)
        Taken once the samples before it are finished. ``RESET`` starts from the ``rng`` register as it is.
    ``idle`` : In(1)
        No sample in flight and no pass running. Falls in the cycle after a sample's byte or a command is taken.
    ``register_write`` : Out(1), ``register_index``, ``register_value`` : Out(32)
        A register of :func:`popflip.hw.registers.registers` by its number; only while ``idle``.
    ``status_index`` : Out(range(words)), ``status_read`` : Out(1), ``status_value`` : In(32), ``status_valid`` : In(1)
        Word of :func:`popflip.hw.registers.status_words` by its number, which stays from ``status_read`` until the
        value is valid, a cycle later at the earliest.
    ``state`` : Out(StateSignature)
        Weights and counters, only while ``idle``.
    """

    def __init__(self, chip: ChipConfig):
        super().__init__(
            {
                "samples": Out(stream.Signature(8)),
                "sample_label": Out(range(chip.classes)),
                "sample_infer": Out(1),
                **({"sample_packed": Out(1), "sample_last": Out(1)} if chip.packs else {}),
                "predictions": In(stream.Signature(range(chip.classes))),
                "command": Out(stream.Signature(TrainerCommand)),
                "idle": In(1),
                "register_write": Out(1),
                "register_index": Out(range(len(registers(chip)))),
                "register_value": Out(32),
                "status_index": Out(range(len(status_words(chip)))),
                "status_read": Out(1),
                "status_value": In(32),
                "status_valid": In(1),
                "state": Out(StateSignature(chip)),
            }
        )
