"""Engine: a learning rule as the trainer sees it, one signature for every rule.

An engine lies between the forward pass and the memories of weights and counters::

    forward ─ sums ─▶ engine ─┬─▶ predictions
       ▲                │ ▲   ├─▶ freed slots, events
       └── control ─────┘ │   └─▶ weights, counters
                 command ─┘

It reads the inputs and activations of the samples on the chip, decides which samples trigger an update, and writes the
state. The trainer owns the order of things: which samples run, and when a command runs.
"""

from __future__ import annotations

from amaranth.hdl import Array, Module, Value, ValueLike
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out

from popflip.golden.config import Rule
from popflip.hw.common.slots import FreeSignature
from popflip.hw.common.status import EventSignature, register_values_layout
from popflip.hw.config import ChipConfig
from popflip.hw.layouts import result_layout
from popflip.hw.memory.signatures import (
    ActivationReadSignature,
    CounterBanksSignature,
    InputReadSignature,
    StateSignature,
)


class EngineCommand(enum.Enum, shape=1):
    """``INITIALISE``: draw the initial state of all layers. ``END_BATCH``: select and flip, layer by layer (GFT)."""

    INITIALISE = 0
    END_BATCH = 1


class ForwardControlSignature(wiring.Signature):
    """How an engine steers :class:`.forward.Forward`; directions are the engine's, members are those of ``Forward``."""

    def __init__(self, chip: ChipConfig):
        rule = (
            {"window": Out(data.ArrayLayout(range(chip.v_max + 1), max(1, chip.depth - 1)))}
            if chip.rule == Rule.GFT
            else {"settled": Out(chip.depth)}
        )
        super().__init__({**rule, "hold": Out(1), "weights_ready": Out(1)})


class WordSignature(wiring.Signature):
    """A 32-bit register that a component holds and another one may set.

    Members
    -------
    ``value`` : In(32)
        The register.
    ``load`` : Out(1), ``load_value`` : Out(32)
        Sets it at the end of the cycle. Only while nothing changes it.
    """

    def __init__(self):
        super().__init__({"value": In(32), "load": Out(1), "load_value": Out(32)})


class EngineSignature(wiring.Signature):
    """A learning rule; directions are the engine's.

    Members
    -------
    ``values`` : In(StructLayout)
        The run-time registers by name (:class:`.status.RegisterFile`). Stable while samples are on the chip.
    ``sums`` : In(stream of :func:`.forward.result_layout`), ``control`` : Out(ForwardControlSignature)
        The forward pass.
    ``inputs`` : Out(InputReadSignature), ``activations`` : Out(ActivationReadSignature)
        Reads of what the samples on the chip hold.
    ``predictions`` : Out(stream of range(classes))
        One for each sample that is only classified, in order.
    ``freed`` : Out(FreeSignature)
        Slots of samples that are finished.
    ``started`` : In(1), ``full`` : Out(1)
        A training sample starts in this cycle. While ``full`` none may start until a command has ended the batch.
    ``command`` : In(stream of :class:`EngineCommand`)
        Comes when no sample is on the chip. ``valid`` stays high while it runs and ``ready`` is its end, three cycles
        later at the earliest. ``state``, ``rng`` and ``crc`` are final after that cycle.
    ``state`` : Out(StateSignature), ``counter_banks`` : Out(CounterBanksSignature)
        A word of weights or counters, or words of all banks of counters. Unused while no sample is on the chip, no
        command runs, and in the first cycle of a command.
    ``rng`` : In(WordSignature), ``crc`` : In(WordSignature)
        State of the random generator, and the flip signature: CRC-32 of all flips so far.
    ``events`` : Out(EventSignature)
        What to count in this cycle.
    """

    def __init__(self, chip: ChipConfig):
        super().__init__(
            {
                "values": In(register_values_layout(chip)),
                "sums": In(stream.Signature(result_layout(chip))),
                "control": Out(ForwardControlSignature(chip)),
                "inputs": Out(InputReadSignature(chip)),
                "activations": Out(ActivationReadSignature(chip)),
                "predictions": Out(stream.Signature(range(chip.classes))),
                "freed": Out(FreeSignature(chip)),
                "started": In(1),
                "full": Out(1),
                "command": In(stream.Signature(EngineCommand)),
                "state": Out(StateSignature(chip)),
                "counter_banks": Out(CounterBanksSignature(chip)),
                "rng": In(WordSignature()),
                "crc": In(WordSignature()),
                "events": Out(EventSignature(chip)),
            }
        )


def share(m: Module, target: wiring.PureInterface, initiators: list, chosen: ValueLike) -> None:
    """Connect ``target`` to the one of ``initiators`` whose number is ``chosen``.

    All of them see what ``target`` answers, so only requests pass a multiplexer.
    """
    for name, member in initiators[0].signature.members.items():
        if member.flow == Out:
            requests = Array(Value.cast(getattr(initiator, name)) for initiator in initiators)
            m.d.comb += Value.cast(getattr(target, name)).eq(requests[chosen])
        else:
            m.d.comb += [getattr(initiator, name).eq(getattr(target, name)) for initiator in initiators]
