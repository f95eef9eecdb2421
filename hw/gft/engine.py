"""GFT's engine: learns while samples go forward, selects and flips at the end of a batch (arXiv 2410.09734).

::

    sums ─▶ error ─┬─ updates ──▶ learn ─▶ counters         while the batch runs
                   ├─▶ predictions  │
                   └─▶ freed slots ◀┘

    end of batch: for each layer, select ─▶ flip            no sample is on the chip

Weights do not change within a batch, so forward and learn run side by side, each at its own pace. Between them lies a
queue of the samples that trigger an update.
"""

from __future__ import annotations

from amaranth.hdl import Array, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import connect, flipped

from popflip.hw.common.engine import EngineCommand, EngineSignature, sample_readers, share
from popflip.hw.common.error import Error
from popflip.hw.config import ChipConfig
from popflip.hw.conv.learn import ConvLearn
from popflip.hw.conv.signatures import copies_weights
from popflip.hw.conv.weight_rows import read_through
from popflip.hw.gft.end_of_batch import EndOfBatch
from popflip.hw.gft.learn import Learn
from popflip.hw.layouts import verdict_layout
from popflip.hw.lib.stream import Queue
from popflip.hw.serial.learn import SerialLearn


class GftEngine(wiring.Component):
    """GFT as an engine. Its members are those of :class:`popflip.hw.common.engine.EngineSignature`."""

    ends_batches = True
    """Whether the engine takes END_BATCH."""

    def __init__(self, chip: ChipConfig):
        self.chip = chip
        super().__init__(EngineSignature(chip))

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.error = self._error = Error(self.chip)
        m.submodules.learn = self.learn = _learner(self.chip)(self.chip)
        m.submodules.end_of_batch = self._end = EndOfBatch(self.chip)
        self._connect_forward(m)
        self._decide(m)
        self._connect_end_of_batch(m)
        self._count_batch(m)
        self._connect_state(m)
        return m

    def _connect_forward(self, m: Module) -> None:
        """Connect sums to the error unit, learning to the samples' memories, and the control of the forward pass."""
        chip, learn, control = self.chip, self.learn, self.control
        connect(m, flipped(self.sums), self._error.i)
        for name in sample_readers(chip):
            connect(m, getattr(learn, name), flipped(getattr(self, name)))
        m.d.comb += [
            *(control.window[layer].eq(self.values[f"window{layer}"]) for layer in range(chip.depth - 1)),
            *([] if chip.serial else [control.weights_ready.eq(~self._reads_weights(learn))]),
        ]
        if chip.compact and not chip.serial:
            m.d.comb += control.hold.eq(learn.inputs.en | learn.activations.en)

    def _reads_weights(self, learn: Learn | ConvLearn | SerialLearn) -> Value:
        """Whether learning takes the banks of weights from the array in this cycle."""
        if not self.chip.convolves:
            return learn.state.weights.read
        return Const(0) if copies_weights(self.chip) else learn.weight_rows.en

    def _decide(self, m: Module) -> None:
        """Route verdicts: a prediction leaves, a sample that updates goes to learn, and any other is only counted."""
        chip, error, learn, events = self.chip, self._error, self.learn, self.events
        updates = learn.i
        if chip.slots > 2:  # with two slots, no second sample can wait behind the first
            m.submodules.updates = queue = Queue(verdict_layout(chip), chip.slots)
            connect(m, queue.o, learn.i)
            updates = queue.i
        verdict, decided = error.o.payload, error.o.valid & error.o.ready
        m.d.comb += [
            error.margin.eq(self.values.margin),
            self.predictions.valid.eq(error.o.valid & verdict.sample.infer),
            self.predictions.payload.eq(verdict.rival),
            updates.valid.eq(error.o.valid & verdict.updates),
            updates.payload.eq(verdict),
            error.o.ready.eq(Mux(verdict.sample.infer, self.predictions.ready, ~verdict.updates | updates.ready)),
            self.freed.free.eq(decided & ~verdict.updates),
            self.freed.slot.eq(verdict.sample.slot),
            self.freed.free_also.eq(learn.done),
            self.freed.slot_also.eq(learn.done_slot),
            events.samples.eq(decided & ~verdict.sample.infer),
            events.errors.eq(decided & verdict.updates),
            events.correct.eq(decided & verdict.correct),
            events.learn_busy.eq(learn.busy),
            events.learn_stall.eq(learn.waiting),
        ]

    def _connect_end_of_batch(self, m: Module) -> None:
        chip, end, values, events = self.chip, self._end, self.values, self.events
        connect(m, flipped(self.command), end.command)
        connect(m, flipped(self.rng), end.rng)
        connect(m, flipped(self.crc), end.crc)
        m.d.comb += [
            end.k.eq(Array(values[f"k{layer}"] for layer in range(chip.depth))[end.layer]),
            end.p256.eq(values.flip_p256),
            end.shift.eq(values.shift),
            events.flips.eq(end.flips),
            events.flips_layer.eq(end.layer),
            events.select.eq(end.selecting),
            events.flip.eq(end.flipping),
        ]
        command = self.command
        ended = command.valid & command.ready & (command.payload == EngineCommand.END_BATCH)
        m.d.sync += events.batches.eq(ended)

    def _count_batch(self, m: Module) -> None:
        """A batch is full after as many samples as register ``batch`` says; 0: never."""
        in_batch = Signal.like(self.values.batch)  # training samples that have started
        m.d.comb += self.full.eq((self.values.batch != 0) & (in_batch == self.values.batch))
        with m.If(self.command.valid):
            m.d.sync += in_batch.eq(0)
        with m.Elif(self.started):
            m.d.sync += in_batch.eq(in_batch + 1)

    def _connect_state(self, m: Module) -> None:
        """Connect the weights to learning, or in a command to the end of batch. Neither reads in its first cycle."""
        learn, end = self.learn.state, self._end.state
        if self.chip.convolves and copies_weights(self.chip):
            connect(m, end.weights, flipped(self.state.weights))
        else:
            weights = read_through(m, self.learn.weight_rows, self.chip) if self.chip.convolves else learn.weights
            ending = Signal()
            m.d.sync += ending.eq(self.command.valid)
            share(m, self.state.weights, [weights, end.weights], ending)
        connect(m, end.counters, flipped(self.state.counters))
        connect(m, learn.counters, flipped(self.counter_banks))


def _learner(chip: ChipConfig) -> type[Learn | ConvLearn | SerialLearn]:
    """Which component learns."""
    if chip.serial:
        return SerialLearn
    return ConvLearn if chip.convolves else Learn
