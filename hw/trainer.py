"""Trainer: the stages wired together, and the order in which they run. No arithmetic of its own.

::

    samples ─▶ ingest ─▶ forward ─▶ error ─┬─ taught ──▶ learn ─▶ counters        while the batch runs
                 ▲                         └─ slot free ─┐  │
                 └────────── slots ◀─────────────────────┴──┘

    update: for each layer, select ─▶ flip                                        at its end, nothing in flight

Within a batch weights stand still, so forward and learn run side by side, each at its own pace; a queue of teaching
samples lies between them. ``slots`` bounds how many samples are on the chip.

LBE swaps all from error on, layer by layer of each sample::

    … forward ─ sums ─┬─▶ score ─▶ error ─ verdict ─▶ teach ─ rows ─▶ update: flip ─▶ counters, weights
                      └─▶ winner ─── rows ──────────────┘
"""

from __future__ import annotations

from amaranth.hdl import Array, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from popflip.golden.config import Rule
from popflip.hw.common.error import Error, verdict_layout
from popflip.hw.common.forward import Forward, sum_shape
from popflip.hw.common.ingest import Ingest, sample_layout
from popflip.hw.common.slots import Slots
from popflip.hw.common.status import RegisterFile, Status
from popflip.hw.common.update import Update, UpdateCommand
from popflip.hw.config import ChipConfig
from popflip.hw.gft.learn import Learn, LearnStateSignature
from popflip.hw.lbe.score import Classifiers, Score
from popflip.hw.lbe.teach import Teach
from popflip.hw.lbe.winner import Winner
from popflip.hw.lib.stream import Queue, Unroll, delayed
from popflip.hw.memory.activations import Activations
from popflip.hw.memory.counters import Counters
from popflip.hw.memory.samples import Samples
from popflip.hw.memory.weights import Weights
from popflip.hw.trainer_port import TrainerCommand, TrainerSignature


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
        gft = chip.rule == Rule.GFT
        m.submodules.registers = registers = self.registers = RegisterFile(chip)
        m.submodules.status = status = self.status = Status(chip)
        m.submodules.slots = slots = self.slots = Slots(chip)
        m.submodules.ingest = ingest = self.ingest = Ingest(chip)
        m.submodules.forward = forward = self.forward = Forward(chip)
        if chip.compact:
            m.submodules.samples = memory = Samples(chip)
            connect(m, ingest.list, memory.list)
            self.inputs = memory.forward_inputs, memory.learn_inputs
            self.activations = memory.forward_activations, memory.learn_activations
        else:
            m.submodules.activations = memory = Activations(chip)
            self.inputs = ingest.forward, ingest.learn
            self.activations = memory.forward, memory.learn
        m.submodules.error = self.error = Error(chip)
        m.submodules.update = update = self.update = Update(chip)
        m.submodules.weights = weights = Weights(chip)
        m.submodules.counters = counters = Counters(chip)
        values = registers.values
        register_write, register_index, register_value = (
            delayed(m, value, chip.pipelined)
            for value in (port.register.write, port.register.index, port.register.value)
        )

        # Samples: ingest, forward -------------------------------------------------------------------------------------
        in_batch = Signal.like(values.batch) if gft else Signal(31)  # samples of this batch that have been started
        due = Signal()  # a cycle behind; samples start no closer
        whole_batch = (values.batch != 0) & (in_batch == values.batch) if gft else Const(0)
        if gft:
            m.d.sync += due.eq(whole_batch)
        running = Signal()  # samples go through
        connect(m, flipped(port.samples.stream), ingest.i)
        if chip.packs:
            m.d.comb += [ingest.packed.eq(port.samples.packed), ingest.last.eq(port.samples.last)]
        if chip.slots > 2:
            m.submodules.arrived = arrived = Queue(sample_layout(chip), chip.slots)
            connect(m, ingest.o, arrived.i)
            connect(m, arrived.o, forward.i)
        else:  # one sample comes while forward has the other
            connect(m, ingest.o, forward.i)
        connect(m, forward.inputs, self.inputs[0])
        connect(m, forward.activations, self.activations[0])
        connect(m, forward.weights, weights.array)
        connect(m, forward.store, memory.store)
        m.d.comb += [
            ingest.label.eq(port.samples.label),
            ingest.infer.eq(port.samples.infer),
            ingest.slot.eq(slots.slot),
            slots.take.eq(ingest.started),
            # While samples are on the chip only GFT's learning makes row requests.
            forward.weights_ready.eq(1),
        ]
        if chip.bias_apart:
            connect(m, forward.bias, weights.bias)
        if gft:
            learning = self._learn_by_gft(m)
            connect(m, learning.counters, counters.banks)
            m.d.comb += forward.weights_ready.eq(~learning.weights.read)
        else:
            self._learn_by_lbe(m)

        # Sequence: nothing is in flight when a command runs -----------------------------------------------------------
        ending = Signal()  # the batch ends …
        starting = Signal()  # … or initial weights are drawn
        started = Signal()  # in the cycle before
        m.d.sync += started.eq(starting)
        if chip.pipelined:  # a cycle behind, too: whether a byte is taken is known when it is offered
            m.d.sync += ingest.slot_available.eq(slots.available & running & ~whole_batch & ~ending & ~starting)
        else:
            m.d.comb += ingest.slot_available.eq(slots.available & running & ~due)
        operation = Signal(UpdateCommand)
        ended = Signal()  # a batch has
        m.d.sync += ended.eq(0)
        if gft:
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
                        m.d.comb += starting.eq(port.command.payload == TrainerCommand.RESET)
                        if gft:
                            m.d.comb += ending.eq(port.command.payload == TrainerCommand.END_BATCH)
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
        with m.Elif(ingest.started & ~port.samples.infer):
            m.d.sync += in_batch.eq(in_batch + 1)

        m.d.comb += [
            update.rng_load.eq(registers.write_rng),
            update.rng_value.eq(register_value),
            update.crc_load.eq(registers.write_signature | started),
            update.crc_value.eq(Mux(started, 0, register_value)),
        ]

        # Weights and counters belong to one engine at a time, but GFT's learning has its own way to the counters ------
        # What is read goes to all of them, so that only requests have to be chosen.
        # None of them asks in the first cycle in which it may.
        host, owner = flipped(port.state), Signal(range(3))
        m.d.sync += owner.eq(Mux(running, port.idle << 1, 1))
        learns = learning.weights if gft else update.state.weights
        for target, ports, chosen in (
            (weights.row, (learns, update.state.weights, host.weights), owner),
            (counters.port, (update.state.counters, host.counters), running if gft else owner == 2),
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
            status.flips_layer.eq(update.layer),
            status.flips_count.eq(update.flips),
            status.cycles.total.eq(1),
            status.cycles.forward_busy.eq(forward.busy),
            status.cycles.forward_stall.eq(forward.waiting),
            status.crc.eq(update.crc),
            status.rng.eq(update.rng),
            status.index.eq(port.status.index),
            status.read.eq(port.status.read),
            port.status.value.eq(status.value),
            port.status.valid.eq(status.valid),
        ]
        return m

    def _learn_by_gft(self, m: Module) -> LearnStateSignature:
        """Verdicts on last layers; learning while samples go forward, flipping at the end of a batch. Returns what
        learning wants of weights and counters."""
        chip, update, values = self.chip, self.update, self.registers.values
        error, slots, status = self.error, self.slots, self.status
        m.submodules.learn = learn = Learn(chip)
        connect(m, self.forward.o, error.i)
        taught = learn.i
        if chip.slots > 2:  # else there is none that could come behind the one that waits
            m.submodules.taught = queue = Queue(verdict_layout(chip), chip.slots)
            connect(m, queue.o, learn.i)
            taught = queue.i
        connect(m, learn.inputs, self.inputs[1])
        connect(m, learn.activations, self.activations[1])
        if chip.compact:
            m.d.comb += self.forward.hold.eq(learn.inputs.en | learn.activations.en)

        # Verdicts: a prediction to the host, or a sample to learn, or nothing.
        verdict, decided = error.o.payload, error.o.valid & error.o.ready
        predictions = self._predictions(m)
        m.d.comb += [
            *(self.forward.window[layer].eq(values[f"window{layer}"]) for layer in range(chip.depth - 1)),
            error.margin.eq(values.margin),
            predictions.valid.eq(error.o.valid & verdict.sample.infer),
            predictions.payload.eq(verdict.rival),
            taught.valid.eq(error.o.valid & verdict.updates),
            taught.payload.eq(verdict),
            error.o.ready.eq(Mux(verdict.sample.infer, predictions.ready, ~verdict.updates | taught.ready)),
            slots.free.eq(decided & ~verdict.updates),
            slots.free_slot.eq(verdict.sample.slot),
            slots.free_also.eq(learn.done),
            slots.free_also_slot.eq(learn.done_slot),
            status.samples.eq(decided & ~verdict.sample.infer),
            status.errors.eq(decided & verdict.updates),
            status.correct.eq(decided & verdict.correct),
            status.cycles.learn_busy.eq(learn.busy),
            status.cycles.learn_stall.eq(learn.waiting),
            status.cycles.select.eq(update.selecting),
            status.cycles.flip.eq(update.flipping),
            update.k.eq(Array(values[f"k{layer}"] for layer in range(chip.depth))[update.layer]),
            update.flip_p256.eq(values.flip_p256),
            update.shift.eq(values.shift),
        ]
        return learn.state

    def _learn_by_lbe(self, m: Module) -> None:
        """Verdicts on every layer; the winners' rows are taught at once, by update, so nothing else wants weights."""
        chip, update, values = self.chip, self.update, self.registers.values
        error, slots, status = self.error, self.slots, self.status
        m.submodules.sums = sums = Unroll(sum_shape(chip), chip.array_rows, sample_layout(chip))
        m.submodules.classifiers = classifiers = Classifiers(chip)
        m.submodules.score = score = Score(chip)
        m.submodules.winner = winner = Winner(chip)
        m.submodules.teach = teach = Teach(chip)
        connect(m, self.forward.o, sums.i)
        connect(m, score.o, error.i)
        connect(m, teach.o, update.lessons)
        connect(m, update.inputs, self.inputs[1])
        connect(m, update.activations, self.activations[1])

        def of_each(name: str, layer: Value) -> Value:
            return Array(values[f"{name}{number}"] for number in range(chip.depth))[layer]

        # A neuron at a time, to both who look at it.
        summed, decided = Signal(range(chip.depth)), Signal(range(chip.depth))  # the layer that is
        neuron = sums.o.payload
        for layer, ends in ((summed, sums.o.valid & sums.o.ready & neuron.last), (decided, error.decides)):
            with m.If(ends):
                m.d.sync += layer.eq(Mux(layer == chip.depth - 1, 0, layer + 1))
        m.d.comb += [
            classifiers.port.address.eq(score.address),
            score.column.eq(classifiers.port.column),
            score.i.payload.eq(neuron),
            score.i.valid.eq(sums.o.valid & winner.ready),
            sums.o.ready.eq(score.i.ready & winner.ready),
            winner.valid.eq(sums.o.valid & sums.o.ready),
            winner.z.eq(neuron.item),
            winner.last.eq(neuron.last),
            winner.desired.eq(score.desired),
            winner.group.eq(of_each("group", summed)),
            winner.position.eq(teach.position),
            winner.release.eq(teach.release),
            error.margin.eq(of_each("margin", decided)),
            teach.rows.eq(winner.rows),
            teach.winner.eq(winner.winner),
            self.forward.settled.eq(teach.settled),
            update.reinforce_p256.eq(values.reinforce_p256),
            update.classifiers.column.eq(classifiers.port.column),
            classifiers.port.write.eq(update.classifiers.write),
            classifiers.port.write_address.eq(update.classifiers.write_address),
            classifiers.port.write_column.eq(update.classifiers.write_column),
        ]
        with m.If(update.command.valid):
            m.d.comb += classifiers.port.address.eq(update.classifiers.address)

        # Verdicts: the last one of a sample that is only asked waits until its prediction is taken.
        verdict = error.o.payload
        predicts = verdict.sample.infer & teach.last_layer
        predictions = self._predictions(m)
        m.d.comb += [
            predictions.valid.eq(error.o.valid & predicts),
            predictions.payload.eq(verdict.rival),
            teach.i.valid.eq(error.o.valid & (~predicts | predictions.ready)),
            teach.i.payload.eq(verdict),
            error.o.ready.eq(teach.i.ready & (~predicts | predictions.ready)),
            slots.free.eq(teach.done),
            slots.free_slot.eq(verdict.sample.slot),
            status.samples.eq(teach.done & ~verdict.sample.infer),
            status.batches.eq(teach.done & ~verdict.sample.infer),
            status.errors.eq(teach.done & teach.taught),
            status.correct.eq(teach.done & verdict.correct),
            status.cycles.learn_busy.eq(update.teaching),
            status.cycles.learn_stall.eq(teach.waiting & ~update.teaching),
        ]

    def _predictions(self, m: Module):
        """The stream predictions go into."""
        if not self.chip.pipelined:
            return self.port.predictions
        # The array does not wait for the link in the same cycle.
        m.submodules.predicted = predicted = Queue(range(self.chip.classes), 2)
        connect(m, predicted.o, flipped(self.port.predictions))
        return predicted.i
