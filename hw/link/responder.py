"""Second pass of a request, out of the chip: the answer's header, words of memory and status, predictions."""

from __future__ import annotations

from amaranth.hdl import Module, Signal

from popflip.hw.link.commands import Command
from popflip.hw.link.datapath import Datapath
from popflip.hw.link.samples import SampleBytes


class Responder:
    """The states that answer a request, and the path of predictions.

    Predictions leave while the executor feeds later samples of the same request; on pipelined chips, also those of
    later requests. ``predictions_pending`` counts the ones still to come; all other answers wait until it is 0.
    """

    def __init__(self, m: Module, datapath: Datapath, samples: SampleBytes):
        self.m, self.datapath, self.samples = m, datapath, samples
        self.chip, self.trainer = datapath.chip, datapath.trainer
        self.header, self.payload = datapath.header, datapath.payload
        self.predictions_pending = Signal(range(2 * self.chip.slots + 4))

    def add_states(self) -> None:
        """The states, in the order in which an answer takes them."""
        self._answer()
        self._fetch()
        self._emit()
        if not self.chip.pipelined:
            self._drain()

    def _answer(self) -> None:
        m, datapath, header = self.m, self.datapath, self.header
        with m.State("ANSWER"):
            ready = datapath.infers | (self.predictions_pending == 0) if self.chip.pipelined else 1
            m.d.comb += header.valid.eq(ready)
            with m.If(header.valid & header.ready):
                m.next = "IDLE"
                with m.If(datapath.reads & (datapath.count != 0)):
                    m.next = "FETCH"
                    with m.If(datapath.command == Command.INFER):
                        m.next = "FEED"
                    if self.chip.packs:
                        with m.If(datapath.command == Command.INFER_PACKED):
                            m.next = "SIZE"
                    if self.chip.walks:
                        with m.If(datapath.command == Command.INFER_SET):
                            m.next = "WALK"

    def _fetch(self) -> None:
        """A word from its memory into ``word``."""
        m, chip, datapath = self.m, self.chip, self.datapath
        with m.State("FETCH"):
            m.d.comb += [
                self.trainer.state.weights.read.eq(datapath.command == Command.READ_WEIGHTS),
                self.trainer.state.counters.read.eq(datapath.command == Command.READ_COUNTERS),
                self.trainer.status.read.eq(1),
                datapath.count_down.eq(1),
            ]
            m.next = "WAIT" if chip.pipelined else "LOAD"

        if chip.pipelined:
            waited = Signal(range(chip.read_latency))
            with m.State("WAIT"):
                m.d.sync += waited.eq(waited + 1)
                with m.If(waited == chip.read_latency - 1):
                    m.d.sync += waited.eq(0)
                    m.next = "LOAD"

        with m.State("LOAD"), m.If(self.trainer.status.valid | ~datapath.shows_status):
            m.d.comb += [datapath.load.eq(1), datapath.next_address.eq(1)]
            m.next = "EMIT"

    def _emit(self) -> None:
        m, datapath, payload = self.m, self.datapath, self.payload
        with m.State("EMIT"):
            m.d.comb += [payload.valid.eq(1), payload.payload.eq(datapath.word[:8])]
            with m.If(payload.ready):
                m.d.comb += [datapath.shift.eq(1), datapath.next_byte.eq(1)]
                with m.If(datapath.last_byte):
                    m.next = "FETCH"
                    with m.If(datapath.count == 0):
                        m.next = "IDLE"

    def _drain(self) -> None:
        """The sender is ready for a header once the last prediction has left."""
        m = self.m
        with m.State("DRAIN"), m.If(self.header.ready):
            m.next = "IDLE"

    def connect_predictions(self) -> None:
        """Predictions become the payload, lowest byte first."""
        m, chip, infers = self.m, self.chip, self.datapath.infers
        predictions, payload, stream = self.trainer.predictions, self.payload, self.trainer.samples.stream
        pending, second_byte = self.predictions_pending, self.datapath.second_byte
        if chip.pipelined:
            requested = stream.valid & stream.ready & self.samples.last & infers
            m.d.sync += pending.eq(pending + requested - (predictions.valid & predictions.ready))
            if chip.label_bytes == 2:
                second_byte = Signal(name="second_prediction_byte")
        with m.If(pending != 0 if chip.pipelined else infers):
            if chip.label_bytes == 2:
                m.d.comb += [
                    payload.payload.eq(predictions.payload.word_select(second_byte, 8)),
                    payload.valid.eq(predictions.valid),
                    predictions.ready.eq(payload.ready & second_byte),
                ]
                m.d.sync += second_byte.eq(second_byte ^ (payload.valid & payload.ready))
            else:
                m.d.comb += [
                    payload.payload.eq(predictions.payload),
                    payload.valid.eq(predictions.valid),
                    predictions.ready.eq(payload.ready),
                ]
