"""The port between the link's controller and the trainer: one signature, so that each is tested without the other."""

from __future__ import annotations

from amaranth.lib import enum, stream, wiring
from amaranth.lib.wiring import In, Out

from popflip.hw.config import ChipConfig
from popflip.hw.memory.signatures import StateSignature
from popflip.hw.registers import registers, status_words


class TrainerCommand(enum.Enum, shape=1):
    """``RESET``: zero the counts and the signature, then draw the initial state. ``END_BATCH``: select and flip now
    (LBE: no effect).
    """

    RESET = 0
    END_BATCH = 1


class SampleSignature(wiring.Signature):
    """A sample, byte by byte, with its label and its kind.

    Members
    -------
    ``stream`` : Out(stream of 8)
        ``chip.input_bytes`` bytes a sample; bit ``i`` of byte ``q`` is input ``8q + i``, bits past the last one are 0.
    ``label`` : Out(range(classes)), ``infer`` : Out(1)
        The sample's class, and whether the trainer only classifies it. Stable from the first byte offered to the last
        one taken.
    ``packed`` : Out(1), ``last`` : Out(1)
        Only if ``chip.packs``. ``packed``: the bytes are a packed sample (:mod:`popflip.golden.common.packing`); stable
        like ``label``. ``last``: the byte offered is the last one of a packed sample.
    """

    def __init__(self, chip: ChipConfig):
        super().__init__(
            {
                "stream": Out(stream.Signature(8)),
                "label": Out(range(chip.classes)),
                "infer": Out(1),
                **({"packed": Out(1), "last": Out(1)} if chip.packs else {}),
            }
        )


class RegisterWriteSignature(wiring.Signature):
    """``write`` stores ``value`` in register ``index`` of :func:`popflip.hw.registers.registers`."""

    def __init__(self, chip: ChipConfig):
        super().__init__({"write": Out(1), "index": Out(range(len(registers(chip)))), "value": Out(32)})


class StatusReadSignature(wiring.Signature):
    """``read`` requests word ``index`` of :func:`popflip.hw.registers.status_words`.

    ``index`` stays until ``valid``, at the earliest a cycle later; the word is ``value`` then.
    """

    def __init__(self, chip: ChipConfig):
        super().__init__(
            {"index": Out(range(len(status_words(chip)))), "read": Out(1), "value": In(32), "valid": In(1)}
        )


class TrainerSignature(wiring.Signature):
    """The trainer as the link's controller drives it; ``Out`` means to the trainer.

    Members
    -------
    ``samples`` : Out(SampleSignature)
    ``predictions`` : In(stream of range(classes))
        A prediction for each sample with ``infer``, in order.
    ``command`` : Out(stream of :class:`TrainerCommand`)
        Taken once all samples before it are finished. ``RESET`` starts from the current value of register ``rng``.
    ``idle`` : In(1)
        No sample is in flight and no pass is running. Falls in the cycle after a sample's byte or a command is taken.
    ``register`` : Out(RegisterWriteSignature)
        Only while ``idle``.
    ``status`` : Out(StatusReadSignature)
    ``state`` : Out(StateSignature)
        Weights and counters, only while ``idle``.
    """

    def __init__(self, chip: ChipConfig):
        super().__init__(
            {
                "samples": Out(SampleSignature(chip)),
                "predictions": In(stream.Signature(range(chip.classes))),
                "command": Out(stream.Signature(TrainerCommand)),
                "idle": In(1),
                "register": Out(RegisterWriteSignature(chip)),
                "status": Out(StatusReadSignature(chip)),
                "state": Out(StateSignature(chip)),
            }
        )
