"""Engine: the interface between the trainer and a learning rule. Every rule has the same signature.

An engine lies between the forward pass and the memories of weights and counters::

    forward ─ sums ─▶ engine ─┬─▶ predictions
       ▲                │ ▲   ├─▶ freed slots, events
       └── control ─────┘ │   └─▶ weights, counters
                 command ─┘

It reads the inputs and activations of the samples on the chip, decides which samples trigger an update, and writes the
state. The trainer decides which samples run, and when a command runs.
"""

from __future__ import annotations

from amaranth.hdl import Array, Module, Value, ValueLike
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out

from popflip.golden.config import Rule
from popflip.hw.common.slots import FreeSignature
from popflip.hw.common.status import EventSignature, register_values_layout
from popflip.hw.config import ChipConfig
from popflip.hw.conv import signatures as positions
from popflip.hw.layouts import result_layout
from popflip.hw.memory.signatures import (
    ActivationReadSignature,
    CounterBanksSignature,
    InputReadSignature,
    StateSignature,
)
from popflip.hw.serial.signatures import WalkSignature


class EngineCommand(enum.Enum, shape=1):
    """``INITIALISE``: draw the initial state of all layers. ``END_BATCH``: select and flip, layer by layer (GFT)."""

    INITIALISE = 0
    END_BATCH = 1


class ForwardControlSignature(wiring.Signature):
    """An engine's control of :class:`.forward.Forward`, which has the same members. Directions are the engine's."""

    def __init__(self, chip: ChipConfig):
        rule = (
            {"window": Out(data.ArrayLayout(range(chip.v_max + 1), max(1, chip.depth - 1)))}
            if chip.rule == Rule.GFT
            else {"settled": Out(chip.depth)}
        )
        hold = {} if chip.convolves else {"hold": Out(1)}
        ready = {} if chip.serial else {"weights_ready": Out(1)}
        super().__init__({**rule, **hold, **ready})


class WordSignature(wiring.Signature):
    """A 32-bit register of one component that another component may set.

    Members
    -------
    ``value`` : In(32)
        The register.
    ``load`` : Out(1), ``load_value`` : Out(32)
        Sets ``value`` at the end of the cycle. Only while nothing else changes it.
    """

    def __init__(self):
        super().__init__({"value": In(32), "load": Out(1), "load_value": Out(32)})


class EngineSignature(wiring.Signature):
    """A learning rule; directions are the engine's.

    Members
    -------
    ``values`` : In(:func:`.status.register_values_layout`)
        The run-time registers by name. Stable while samples are on the chip.
    ``sums`` : In(stream of :func:`.forward.result_layout`), ``control`` : Out(ForwardControlSignature)
        The forward pass.
    ``inputs`` : Out(InputReadSignature), ``activations`` : Out(ActivationReadSignature)
        Read the inputs and the hidden activations of the samples on the chip. Networks with positions have the members
        of :func:`popflip.hw.conv.signatures.sample_readers` in their place; serial chips ``walk``.
    ``predictions`` : Out(stream of range(classes))
        The class of each sample that is only classified, in the order of the samples.
    ``freed`` : Out(FreeSignature)
        Slots of finished samples.
    ``started`` : In(1), ``full`` : Out(1)
        ``started``: a training sample starts in this cycle. ``full``: no sample may start until a command has ended the
        batch.
    ``command`` : In(stream of :class:`EngineCommand`)
        Comes only while no sample is on the chip. ``valid`` stays high while the command runs. ``ready`` marks its last
        cycle, at the earliest three cycles after its first. ``state``, ``rng`` and ``crc`` are final after that cycle.
    ``state`` : Out(StateSignature), ``counter_banks`` : Out(CounterBanksSignature)
        ``state`` reads and writes single words; ``counter_banks`` reads and writes all banks of counters at once. The
        engine uses neither in the first cycle of a command, nor while the chip has no sample and runs no command.
    ``rng`` : In(WordSignature), ``crc`` : In(WordSignature)
        State of the random generator, and the flip signature: CRC-32 of all flips so far.
    ``events`` : Out(EventSignature)
        Events to count in this cycle.
    """

    def __init__(self, chip: ChipConfig):
        super().__init__(
            {
                "values": In(register_values_layout(chip)),
                "sums": In(stream.Signature(result_layout(chip))),
                "control": Out(ForwardControlSignature(chip)),
                **sample_readers(chip),
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


def sample_readers(chip: ChipConfig) -> dict:
    """Members of an engine that read the samples on the chip."""
    if chip.serial:
        return {"walk": Out(WalkSignature(chip))}
    if chip.convolves:
        return positions.sample_readers(chip)
    return {"inputs": Out(InputReadSignature(chip)), "activations": Out(ActivationReadSignature(chip))}


def share(m: Module, target: wiring.PureInterface, initiators: list, chosen: ValueLike) -> None:
    """Connect ``initiators[chosen]`` to ``target``.

    All initiators see the answers of ``target``, so only the requests pass a multiplexer.
    """
    for name, member in initiators[0].signature.members.items():
        if member.flow == Out:
            requests = Array(Value.cast(getattr(initiator, name)) for initiator in initiators)
            m.d.comb += Value.cast(getattr(target, name)).eq(requests[chosen])
        else:
            m.d.comb += [getattr(initiator, name).eq(getattr(target, name)) for initiator in initiators]
