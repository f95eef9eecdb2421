"""LBE's engine: every sample may update the weights at once (arXiv 2412.00119).

::

    sums ─▶ unroll ─┬─▶ score ─▶ error ─ verdict ─▶ schedule ─ rows ─▶ update ─▶ counters, weights
                    └─▶ winner ─ list of rows ─────────┘
"""

from __future__ import annotations

from amaranth.hdl import Array, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import connect, flipped

from popflip.hw.common.engine import EngineSignature
from popflip.hw.common.error import Error
from popflip.hw.config import ChipConfig
from popflip.hw.layouts import sample_layout, sum_shape
from popflip.hw.lbe.schedule import Schedule
from popflip.hw.lbe.score import Classifiers, Score
from popflip.hw.lbe.update import Update
from popflip.hw.lbe.winner import Winner
from popflip.hw.lib.stream import Unroll


class LbeEngine(wiring.Component):
    """LBE as an engine. Its members are those of :class:`popflip.hw.common.engine.EngineSignature`.

    A batch is one sample, so ``full`` stays low.
    """

    ends_batches = False
    """Whether the engine takes END_BATCH."""

    def __init__(self, chip: ChipConfig):
        self.chip = chip
        super().__init__(EngineSignature(chip))

    def elaborate(self, platform) -> Module:
        m = Module()
        chip = self.chip
        m.submodules.unroll = self._unroll = Unroll(sum_shape(chip), chip.array_rows, sample_layout(chip))
        m.submodules.classifiers = self._classifiers = Classifiers(chip)
        m.submodules.score = self._score = Score(chip)
        m.submodules.winner = self._winner = Winner(chip)
        m.submodules.error = self._error = Error(chip)
        m.submodules.schedule = self._schedule = Schedule(chip)
        m.submodules.update = self._update = Update(chip)
        self._compare(m)
        self._decide(m)
        self._connect_update(m)
        self._connect_classifiers(m)
        return m

    def _of_layer(self, name: str, layer: Value) -> Value:
        """The register ``name`` of ``layer``."""
        return Array(self.values[f"{name}{number}"] for number in range(self.chip.depth))[layer]

    def _layer_after(self, m: Module, ends: Value) -> Signal:
        """A count of layers, which goes up after each cycle with ``ends``."""
        last, layer = self.chip.depth - 1, Signal(range(self.chip.depth), name="layer")
        with m.If(ends):
            m.d.sync += layer.eq(Mux(layer == last, 0, layer + 1))
        return layer

    def _compare(self, m: Module) -> None:
        """One neuron at a time: score and winner take it in the same cycle."""
        unroll, score, winner, schedule = self._unroll, self._score, self._winner, self._schedule
        connect(m, flipped(self.sums), unroll.i)
        neuron = unroll.o.payload
        taken = unroll.o.valid & unroll.o.ready
        layer = self._layer_after(m, taken & neuron.last)
        m.d.comb += [
            score.i.payload.eq(neuron),
            score.i.valid.eq(unroll.o.valid & winner.ready),
            unroll.o.ready.eq(score.i.ready & winner.ready),
            winner.valid.eq(taken),
            winner.z.eq(neuron.item),
            winner.last.eq(neuron.last),
            winner.desired.eq(score.desired),
            winner.group.eq(self._of_layer("group", layer)),
            winner.near.eq(self._of_layer("near", layer)),
            winner.position.eq(schedule.position),
            winner.release.eq(schedule.release),
            schedule.rows.eq(winner.rows),
            schedule.winner.eq(winner.winner),
        ]

    def _decide(self, m: Module) -> None:
        """Verdicts, one on each layer. The last verdict on a sample that is only classified waits until its prediction
        is taken."""
        error, schedule, events = self._error, self._schedule, self.events
        connect(m, self._score.o, error.i)
        verdict = error.o.payload
        predicts = verdict.sample.infer & schedule.last_layer
        trained = schedule.done & ~verdict.sample.infer
        m.d.comb += [
            error.margin.eq(self._of_layer("margin", self._layer_after(m, error.decides))),
            self.predictions.valid.eq(error.o.valid & predicts),
            self.predictions.payload.eq(verdict.rival),
            schedule.i.valid.eq(error.o.valid & (~predicts | self.predictions.ready)),
            schedule.i.payload.eq(verdict),
            error.o.ready.eq(schedule.i.ready & (~predicts | self.predictions.ready)),
            self.control.settled.eq(schedule.settled),
            self.control.weights_ready.eq(1),  # updates do not read weights
            self.freed.free.eq(schedule.done),
            self.freed.slot.eq(verdict.sample.slot),
            events.samples.eq(trained),
            events.batches.eq(trained),
            events.errors.eq(schedule.done & schedule.updated),
            events.correct.eq(schedule.done & verdict.correct),
        ]

    def _connect_update(self, m: Module) -> None:
        """Connect the rows to update, the command, and the state, which only update uses."""
        update, events = self._update, self.events
        connect(m, self._schedule.o, update.rows)
        connect(m, update.inputs, flipped(self.inputs))
        connect(m, update.activations, flipped(self.activations))
        connect(m, flipped(self.command), update.command)
        connect(m, flipped(self.rng), update.rng)
        connect(m, flipped(self.crc), update.crc)
        connect(m, update.state, flipped(self.state))
        m.d.comb += [
            update.p256.eq(self.values.reinforce_p256),
            events.flips.eq(update.flips),
            events.flips_layer.eq(update.layer),
            events.learn_busy.eq(update.updating),
            events.learn_stall.eq(self._schedule.waiting & ~update.updating),
        ]

    def _connect_classifiers(self, m: Module) -> None:
        """Score reads the classifiers; INITIALISE writes them."""
        port, score, update = self._classifiers.port, self._score, self._update
        m.d.comb += [
            port.address.eq(score.address),
            score.column.eq(port.column),
            update.classifiers.column.eq(port.column),
            port.write.eq(update.classifiers.write),
            port.write_address.eq(update.classifiers.write_address),
            port.write_column.eq(update.classifiers.write_column),
        ]
        with m.If(update.command.valid):
            m.d.comb += port.address.eq(update.classifiers.address)
