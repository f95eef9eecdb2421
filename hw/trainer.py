"""Trainer: the stages wired together, and the order in which they run. No arithmetic of its own.

::

    samples ─▶ ingest ─▶ forward ─▶ error ─┬─ taught ──▶ learn ─▶ counters        while the batch runs
                 ▲                         └─ slot free ─┐  │
                 └────────── slots ◀─────────────────────┴──┘

    update: for each layer, select ─▶ flip                                        at its end, nothing in flight

Within a batch weights stand still, so forward and learn run side by side, each at its own pace; a queue of teaching
samples lies between them. ``slots`` bounds how many samples are on the chip.
"""

from __future__ import annotations

from amaranth.hdl import Array, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from .activations import Activations
from .config import ChipConfig
from .counters import Counters
from .error import Error, verdict_layout
from .forward import Forward
from .ingest import Ingest, sample_layout
from .learn import Learn
from .slots import Slots
from .status import RegisterFile, Status
from .stream import Queue, delayed
from .trainer_port import TrainerCommand, TrainerSignature
from .update import Update, UpdateCommand
from .weights import Weights


class Trainer(wiring.Component):
    """The chip without its link: samples in, predictions and a trained state out.

    Golden: ``popflip.golden.trainer.Trainer``; after every batch weights, counters, random state and signature are
    equal.

    Members
    -------
    ``port`` : In(TrainerSignature)

    A batch ends on command, or by itself after as many samples as register ``batch`` says; samples that come while it
    ends wait.
    """

    def __init__(self, chip: ChipConfig):
        self.chip = chip
        super().__init__({"port": In(TrainerSignature(chip))})

    def elaborate(self, platform) -> Module:
        m = Module()
        chip, port = self.chip, self.port
        m.submodules.registers = registers = RegisterFile(chip)
        m.submodules.status = status = Status(chip)
        m.submodules.slots = slots = Slots(chip)
        m.submodules.ingest = ingest = Ingest(chip)
        m.submodules.arrived = arrived = Queue(sample_layout(chip), chip.slots)
        m.submodules.forward = forward = Forward(chip)
        m.submodules.activations = activations = Activations(chip)
        m.submodules.error = error = Error(chip)
        m.submodules.taught = taught = Queue(verdict_layout(chip), chip.slots)
        m.submodules.learn = learn = Learn(chip)
        m.submodules.update = update = Update(chip)
        m.submodules.weights = weights = Weights(chip)
        m.submodules.counters = counters = Counters(chip)
        values = registers.values
        register_write, register_index, register_value = (
            delayed(m, value, chip.fast) for value in (port.register_write, port.register_index, port.register_value)
        )

        # Samples: ingest, forward, error ------------------------------------------------------------------------------
        in_batch = Signal(31)  # samples of this batch that have been started
        due = Signal()  # a cycle behind; samples start no closer
        m.d.sync += due.eq((values.batch != 0) & (in_batch == values.batch))
        running = Signal()  # no update
        connect(m, flipped(port.samples), ingest.i)
        connect(m, ingest.o, arrived.i)
        connect(m, arrived.o, forward.i)
        connect(m, forward.o, error.i)
        connect(m, forward.inputs, ingest.forward)
        connect(m, forward.activations, activations.forward)
        m.d.comb += [
            ingest.label.eq(port.sample_label),
            ingest.infer.eq(port.sample_infer),
            ingest.slot.eq(slots.slot),
            ingest.slot_available.eq(slots.available & running & ~due),
            slots.take.eq(ingest.started),
            error.margin.eq(values.margin),
            weights.array_read.eq(forward.weights_read),
            weights.array_address.eq(forward.weights_address),
            # As weights.array_ready says, but only learning asks for rows while samples are on the chip.
            forward.weights_ready.eq(~learn.state.weights.read),
            forward.weights_data.eq(weights.array_data),
            activations.write.eq(forward.store),
            activations.slot.eq(forward.store_slot),
            activations.word.eq(forward.store_word),
            activations.part.eq(forward.store_part),
            activations.active.eq(forward.store_active),
            activations.near.eq(forward.store_near),
            *(forward.window[layer].eq(values[f"window{layer}"]) for layer in range(chip.depth - 1)),
        ]

        # Verdicts: a prediction to the host, or a sample to learn, or nothing -----------------------------------------
        verdict, decided = error.o.payload, error.o.valid & error.o.ready
        predictions = port.predictions
        if chip.fast:  # the array does not wait for the link in the same cycle
            m.submodules.predicted = predicted = Queue(range(chip.classes), 2)
            connect(m, predicted.o, flipped(port.predictions))
            predictions = predicted.i
        m.d.comb += [
            predictions.valid.eq(error.o.valid & verdict.sample.infer),
            predictions.payload.eq(verdict.rival),
            taught.i.valid.eq(error.o.valid & verdict.teaches),
            taught.i.payload.eq(verdict),
            error.o.ready.eq(Mux(verdict.sample.infer, predictions.ready, taught.i.ready)),
            slots.free.eq(decided & ~verdict.teaches),
            slots.free_slot.eq(verdict.sample.slot),
        ]

        # Learning -----------------------------------------------------------------------------------------------------
        connect(m, taught.o, learn.i)
        connect(m, learn.inputs, ingest.learn)
        connect(m, learn.activations, activations.learn)
        m.d.comb += [
            slots.free_also.eq(learn.done),
            slots.free_also_slot.eq(learn.done_slot),
        ]

        # Sequence: nothing is in flight when weights change -----------------------------------------------------------
        ending = Signal()  # the batch ends …
        starting = Signal()  # … or initial weights are drawn
        started = Signal()  # in the cycle before
        m.d.sync += started.eq(starting)
        operation = Signal(UpdateCommand)
        ended = Signal()
        m.d.sync += ended.eq(0)
        m.d.comb += status.batches.eq(ended)
        m.d.comb += update.command.payload.eq(operation)
        with m.FSM():
            with m.State("RUN"):
                m.d.comb += [running.eq(1), port.idle.eq(slots.empty & ~due)]
                with m.If(slots.empty):
                    with m.If(due):
                        m.d.comb += ending.eq(1)
                    with m.Elif(port.command.valid):
                        m.d.comb += port.command.ready.eq(1)
                        m.d.comb += ending.eq(port.command.payload == TrainerCommand.END_BATCH)
                        m.d.comb += starting.eq(port.command.payload == TrainerCommand.RESET)
                with m.If(ending):
                    m.d.sync += operation.eq(UpdateCommand.END_BATCH)
                    m.next = "UPDATE"
                with m.If(starting):
                    m.d.sync += operation.eq(UpdateCommand.INITIALISE)
                    m.next = "UPDATE"
            with m.State("UPDATE"):
                m.d.comb += update.command.valid.eq(1)
                with m.If(update.command.ready):
                    m.d.sync += ended.eq(operation == UpdateCommand.END_BATCH)
                    m.next = "RUN"
        with m.If(ending | starting):
            m.d.sync += in_batch.eq(0)
        with m.Elif(ingest.started & ~port.sample_infer):
            m.d.sync += in_batch.eq(in_batch + 1)

        m.d.comb += [
            update.k.eq(Array(values[f"k{layer}"] for layer in range(chip.depth))[update.layer]),
            update.flip_p256.eq(values.flip_p256),
            update.shift.eq(values.shift),
            update.rng_load.eq(registers.write_rng),
            update.rng_value.eq(register_value),
            update.crc_load.eq(registers.write_signature | started),
            update.crc_value.eq(Mux(started, 0, register_value)),
        ]

        # Weights and counters belong to one of three at a time, learning having its own way to the counters -----------
        # What is read goes to all of them, so that only requests have to be chosen.
        connect(m, learn.state.counters, counters.banks)
        host, owner = flipped(port.state), Signal(range(3))
        m.d.sync += owner.eq(Mux(running, port.idle << 1, 1))  # none of them asks in its first cycle
        for target, ports, chosen in (
            (weights.row, (learn.state.weights, update.state.weights, host.weights), owner),
            (counters.port, (update.state.counters, host.counters), running),
        ):
            for name, member in ports[0].signature.members.items():
                if member.flow == Out:
                    m.d.comb += Value.cast(getattr(target, name)).eq(
                        Array(Value.cast(getattr(engine, name)) for engine in ports)[chosen]
                    )
                else:
                    m.d.comb += [getattr(engine, name).eq(getattr(target, name)) for engine in ports]

        # Registers and status -----------------------------------------------------------------------------------------
        m.d.comb += [
            registers.write.eq(register_write),
            registers.index.eq(register_index),
            registers.value.eq(register_value),
            status.clear.eq(starting),
            status.samples.eq(decided & ~verdict.sample.infer),
            status.errors.eq(decided & verdict.teaches),
            status.correct.eq(decided & verdict.correct),
            status.flips_layer.eq(update.layer),
            status.flips_count.eq(update.flips),
            status.cycles.total.eq(1),
            status.cycles.forward_busy.eq(forward.busy),
            status.cycles.forward_stall.eq(forward.waiting),
            status.cycles.learn_busy.eq(learn.busy),
            status.cycles.learn_stall.eq(learn.waiting),
            status.cycles.select.eq(update.selecting),
            status.cycles.flip.eq(update.flipping),
            status.crc.eq(update.crc),
            status.rng.eq(update.rng),
            status.index.eq(port.status_index),
            status.read.eq(port.status_read),
            port.status_value.eq(status.value),
            port.status_valid.eq(status.valid),
        ]
        return m
