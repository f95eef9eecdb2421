"""Trainer: sends samples to the engine, and runs commands when no sample is left. It has no arithmetic of its own.

::

    samples ─▶ ingest ─▶ forward ─▶ engine ─▶ weights, counters
                 ▲                    │ └───▶ predictions
                 └────── slots ◀──────┘

The engine is the learning rule. ``slots`` bounds how many samples are on the chip.
"""

from __future__ import annotations

from amaranth.hdl import Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, connect, flipped

from popflip.golden.config import Rule
from popflip.hw.common.engine import EngineCommand, share
from popflip.hw.common.forward import Forward
from popflip.hw.common.ingest import Ingest
from popflip.hw.common.slots import Slots
from popflip.hw.common.status import RegisterFile, Status
from popflip.hw.config import ChipConfig
from popflip.hw.conv.activations import ConvActivations
from popflip.hw.conv.blank import Blank
from popflip.hw.conv.forward import ConvForward
from popflip.hw.conv.ingest import ConvIngest
from popflip.hw.conv.signatures import copies_weights
from popflip.hw.conv.weight_rows import WeightRows
from popflip.hw.gft.engine import GftEngine
from popflip.hw.layouts import sample_layout
from popflip.hw.lbe.engine import LbeEngine
from popflip.hw.lib.stream import Queue, delayed
from popflip.hw.memory.activations import Activations
from popflip.hw.memory.counters import Counters
from popflip.hw.memory.samples import Samples
from popflip.hw.memory.weights import Weights
from popflip.hw.serial.forward import SerialForward
from popflip.hw.serial.ingest import SerialIngest
from popflip.hw.serial.samples import SerialSamples
from popflip.hw.serial.walk import Walk
from popflip.hw.trainer_port import TrainerCommand, TrainerSignature

ENGINES = {Rule.GFT: GftEngine, Rule.LBE: LbeEngine}


class Trainer(wiring.Component):
    """The chip without its link: samples in, predictions and a trained state out.

    Golden: ``popflip.golden.trainer.Trainer``; after every batch weights, counters, random state and signature are
    equal.

    Members
    -------
    ``port`` : In(TrainerSignature)

    A batch ends on command, or by itself once the engine says that it is full; samples that come while it ends wait.
    """

    def __init__(self, chip: ChipConfig):
        self.chip = chip
        super().__init__({"port": In(TrainerSignature(chip))})

    def elaborate(self, platform) -> Module:
        m = Module()
        chip = self.chip
        m.submodules.registers = self.registers = RegisterFile(chip)
        m.submodules.status = self.status = Status(chip)
        m.submodules.slots = self.slots = Slots(chip)
        ingest, forward = _path(chip)
        m.submodules.ingest = self.ingest = ingest(chip)
        m.submodules.forward = self.forward = forward(chip)
        self._lists_patches = chip.convolves and not chip.serial
        m.submodules.engine = self.engine = ENGINES[chip.rule](chip)
        m.submodules.weights = self.weights = Weights(chip)
        m.submodules.counters = self.counters = Counters(chip)
        self.running = Signal(name="running")  # samples go through
        self.starting = Signal(name="starting")  # the next cycle is the first one of a reset
        self._connect_samples(m)
        self._connect_sample_memory(m)
        self._connect_engine(m)
        self._sequence(m)
        self._connect_state(m)
        self._connect_registers(m)
        self._connect_status(m)
        return m

    def _connect_samples(self, m: Module) -> None:
        """Samples from the port through ingest to forward, each into a free slot."""
        chip, ingest, slots, samples = self.chip, self.ingest, self.slots, self.port.samples
        connect(m, flipped(samples.stream), ingest.i)
        m.d.comb += [
            ingest.label.eq(samples.label),
            ingest.infer.eq(samples.infer),
            ingest.slot.eq(slots.slot),
            slots.take.eq(ingest.filled.valid if self._lists_patches else ingest.started),
        ]
        if chip.packs:
            m.d.comb += [ingest.packed.eq(samples.packed), ingest.last.eq(samples.last)]
        forward = self.forward.i
        if self._lists_patches:
            m.submodules.blank = self.blank = Blank(chip)
            connect(m, ingest.filled, self.blank.slots)
            connect(m, self.blank.o, forward)
            forward = self.blank.i
        if chip.slots > 2:
            m.submodules.arrived = arrived = Queue(sample_layout(chip), chip.slots)
            connect(m, ingest.o, arrived.i)
            connect(m, arrived.o, forward)
        elif chip.serial:
            self._take_turns(m)
        else:  # one sample comes while forward has the other
            connect(m, ingest.o, forward)

    def _take_turns(self, m: Module) -> None:
        """A sample goes forward when the one before is finished: they share the memory of activations."""
        ingest, forward, freed = self.ingest.o, self.forward.i, self.engine.freed
        occupied = Signal(name="occupied")
        m.d.comb += [
            forward.valid.eq(ingest.valid & ~occupied),
            forward.payload.eq(ingest.payload),
            ingest.ready.eq(forward.ready & ~occupied),
        ]
        with m.If(freed.free | freed.free_also):
            m.d.sync += occupied.eq(0)
        with m.If(forward.valid & forward.ready):
            m.d.sync += occupied.eq(1)

    def _connect_sample_memory(self, m: Module) -> None:
        """Inputs and activations of the samples on the chip, read by forward and by the engine."""
        ingest, forward, engine = self.ingest, self.forward, self.engine
        if self.chip.serial:
            self._connect_walk(m)
            return
        if self.chip.convolves:
            self._connect_patches(m)
            return
        if self.chip.compact:
            m.submodules.samples = memory = Samples(self.chip)
            connect(m, ingest.list, memory.list)
            inputs = memory.forward_inputs, memory.learn_inputs
            activations = memory.forward_activations, memory.learn_activations
        else:
            m.submodules.activations = memory = Activations(self.chip)
            inputs = ingest.forward, ingest.learn
            activations = memory.forward, memory.learn
        connect(m, forward.store, memory.store)
        for reader, its_inputs, its_activations in zip((forward, engine), inputs, activations, strict=True):
            connect(m, reader.inputs, its_inputs)
            connect(m, reader.activations, its_activations)

    def _connect_patches(self, m: Module) -> None:
        """Lists of patch words, activations of the samples on the chip, and learning's copy of the weights."""
        forward, engine = self.forward, self.engine
        m.submodules.activations = memory = ConvActivations(self.chip)
        connect(m, forward.store, memory.store)
        connect(m, self.blank.store, memory.blank)
        connect(m, forward.patches, self.ingest.forward)
        connect(m, engine.patches, self.ingest.learn)
        connect(m, forward.activations, memory.forward)
        connect(m, engine.activations, memory.learn)
        connect(m, engine.windows, memory.windows)
        if copies_weights(self.chip):
            m.submodules.weight_rows = rows = WeightRows(self.chip)
            connect(m, engine.weight_rows, rows.read)
            written = self.weights.row
            m.d.comb += [
                rows.written.write.eq(written.write),
                rows.written.bank.eq(written.write_bank),
                rows.written.address.eq(written.write_address),
                rows.written.data.eq(written.write_data),
            ]

    def _connect_walk(self, m: Module) -> None:
        """The walk, which forward and learning use in turn, and the memories that it reads."""
        forward, engine = self.forward, self.engine
        m.submodules.walk = self.walk = walk = Walk(self.chip)
        m.submodules.samples = memory = SerialSamples(self.chip)
        share(m, walk.user, [forward.walk, engine.walk], engine.walk.claim)
        connect(m, walk.image, memory.image)
        connect(m, walk.units, memory.units)
        connect(m, forward.store, memory.store)
        connect(m, self.ingest.fill, memory.fill)
        m.d.comb += forward.weights.eq(self.weights.array.data)

    def _connect_engine(self, m: Module) -> None:
        """Connect the engine: sums, its control of forward, predictions, and the slots that it frees."""
        chip, forward, engine = self.chip, self.forward, self.engine
        connect(m, forward.o, engine.sums)
        connect(m, engine.freed, self.slots.freed)
        m.d.comb += [
            *(getattr(forward, name).eq(getattr(engine.control, name)) for name in engine.control.signature.members),
            engine.values.eq(self.registers.values),
            engine.started.eq(self.ingest.started & ~self.port.samples.infer),
        ]
        if chip.pipelined:  # the array does not wait for the link in the same cycle
            m.submodules.predicted = predicted = Queue(range(chip.classes), 2)
            connect(m, engine.predictions, predicted.i)
            connect(m, predicted.o, flipped(self.port.predictions))
        else:
            connect(m, engine.predictions, flipped(self.port.predictions))

    def _sequence(self, m: Module) -> None:
        """Let samples start; run a command when no sample is on the chip."""
        port, slots, engine, starting = self.port, self.slots, self.engine, self.starting
        due = Signal()  # the batch was full a cycle ago
        ending = Signal()
        m.d.sync += due.eq(engine.full)
        empty, available = slots.empty, slots.available
        if self._lists_patches:
            empty, available = slots.empty & ~self.ingest.inside, Const(1)
            m.d.comb += self.ingest.slot_available.eq(slots.available)
        may_begin = self.ingest.may_begin if self._lists_patches else self.ingest.slot_available
        if self.chip.pipelined:  # a cycle behind: whether a byte is taken is known when it is offered
            m.d.sync += may_begin.eq(available & self.running & ~engine.full & ~ending & ~starting)
        else:
            m.d.comb += may_begin.eq(available & self.running & ~due)
        operation = Signal(EngineCommand)
        m.d.comb += engine.command.payload.eq(operation)
        with m.FSM():
            with m.State("RUN"):
                m.d.comb += [self.running.eq(1), port.idle.eq(empty & ~due)]
                with m.If(empty):
                    with m.If(due):
                        m.d.comb += ending.eq(1)
                    with m.Elif(port.command.valid):
                        m.d.comb += port.command.ready.eq(1)
                        m.d.comb += starting.eq(port.command.payload == TrainerCommand.RESET)
                        if engine.ends_batches:
                            m.d.comb += ending.eq(port.command.payload == TrainerCommand.END_BATCH)
                with m.If(ending):
                    m.d.sync += operation.eq(EngineCommand.END_BATCH)
                    m.next = "COMMAND"
                with m.If(starting):
                    m.d.sync += operation.eq(EngineCommand.INITIALISE)
                    m.next = "COMMAND"
            with m.State("COMMAND"):
                m.d.comb += engine.command.valid.eq(1)
                with m.If(engine.command.ready):
                    m.next = "RUN"

    def _connect_state(self, m: Module) -> None:
        """Connect weights and counters to the host while it may use them, else to the engine.

        Neither reads nor writes in its first cycle.
        """
        host, engine = flipped(self.port.state), self.engine
        of_host = Signal()
        m.d.sync += of_host.eq(self.running & self.port.idle)
        share(m, self.weights.row, [engine.state.weights, host.weights], of_host)
        share(m, self.counters.port, [engine.state.counters, host.counters], of_host)
        connect(m, engine.counter_banks, self.counters.banks)
        connect(m, self.walk.weights if self.chip.serial else self.forward.weights, self.weights.array)
        if self.chip.bias_apart:
            connect(m, self.forward.bias, self.weights.bias)

    def _connect_registers(self, m: Module) -> None:
        """Connect register writes. The engine holds random state and signature; a reset zeroes the signature."""
        registers, engine, port = self.registers, self.engine, self.port.register
        write, index, value = (delayed(m, each, self.chip.pipelined) for each in (port.write, port.index, port.value))
        started = Signal()
        m.d.sync += started.eq(self.starting)
        m.d.comb += [
            registers.write.eq(write),
            registers.index.eq(index),
            registers.value.eq(value),
            engine.rng.load.eq(registers.write_rng),
            engine.rng.load_value.eq(value),
            engine.crc.load.eq(registers.write_signature | started),
            engine.crc.load_value.eq(Mux(started, 0, value)),
        ]

    def _connect_status(self, m: Module) -> None:
        status, engine, port = self.status, self.engine, self.port.status
        connect(m, engine.events, status.events)
        m.d.comb += [
            status.clear.eq(self.starting),
            status.forward_busy.eq(self.forward.busy),
            status.forward_stall.eq(self.forward.waiting),
            status.crc.eq(engine.crc.value),
            status.rng.eq(engine.rng.value),
            status.index.eq(port.index),
            status.read.eq(port.read),
            port.value.eq(status.value),
            port.valid.eq(status.valid),
        ]


def _path(chip: ChipConfig) -> tuple[type[wiring.Component], type[wiring.Component]]:
    """The components of ingest and of forward."""
    if chip.serial:
        return SerialIngest, SerialForward
    return (ConvIngest, ConvForward) if chip.convolves else (Ingest, Forward)
