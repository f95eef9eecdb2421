"""Update: reads the counters and inputs of a winner's row, and writes the row back (golden ``reinforce.reinforce``).

::

    counters, inputs ─▶ scan ─ words of the row ─▶ reinforce ─┬─▶ writes
                                                      ▲       └─ records ─▶ signature
                                                     mask
"""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out, connect, flipped

from popflip.hw.common.state_pass import StatePass
from popflip.hw.config import ChipConfig
from popflip.hw.layouts import activation_base
from popflip.hw.lbe.initialise import LbeInitialise
from popflip.hw.lbe.reinforce import ReinforceRow, row_update_layout
from popflip.hw.lbe.score import ClassifierSignature
from popflip.hw.lib.lookup import of_layer
from popflip.hw.memory.signatures import ActivationReadSignature, InputReadSignature


class Update(StatePass):
    """Updates rows, and runs INITIALISE. LBE has no END_BATCH.

    Members, besides those of :class:`.state_pass.StatePass`
    --------------------------------------------------------
    ``rows`` : In(stream of :func:`.reinforce.row_update_layout`)
        A row to update; taken when it is written. Not while a command runs.
    ``inputs`` : Out(InputReadSignature), ``activations`` : Out(ActivationReadSignature)
        The inputs of the row's layer.
    ``classifiers`` : Out(ClassifierSignature)
        INITIALISE reads and writes them. Without a command, ignore ``address``.
    ``updating`` : Out(1)
        A word is written in this cycle.
    """

    def __init__(self, chip: ChipConfig):
        super().__init__(
            chip,
            write_back=ReinforceRow(chip),
            initialise=LbeInitialise(chip),
            rows=In(stream.Signature(row_update_layout(chip))),
            inputs=Out(InputReadSignature(chip)),
            activations=Out(ActivationReadSignature(chip)),
            classifiers=Out(ClassifierSignature(chip)),
            updating=Out(1),
        )

    def _connect_rule(self, m: Module, initialising: Value, finished: Signal) -> Value:
        self._scan_row(m, initialising)
        self._read_inputs(m, initialising)
        scan, reinforce = self.scan, self.write_back
        connect(m, self.initialise.classifiers, flipped(self.classifiers))
        m.d.comb += [
            reinforce.start.payload.eq(self.rows.payload),
            reinforce.start.valid.eq(self.rows.valid),
            self.rows.ready.eq(reinforce.start.ready),
            reinforce.i.payload.eq(scan.o.payload),
            reinforce.i.valid.eq(scan.o.valid & ~initialising),
            scan.o.ready.eq(reinforce.i.ready),
            self.updating.eq(reinforce.write.write),
        ]
        return Mux(initialising, self.initialise.write.counters.as_value(), reinforce.write.counters.as_value())

    def _scan_row(self, m: Module, initialising: Value) -> None:
        """Request the words of each row once."""
        row, start = self.rows.payload, self.scan.start
        requested = Signal()
        with m.If(~initialising):
            m.d.comb += [
                self.layer.eq(row.layer),
                start.valid.eq(self.rows.valid & ~requested),
                start.payload.row.eq(row.winner.row),
                start.payload.single.eq(1),
            ]
            with m.If(start.valid & start.ready):
                m.d.sync += requested.eq(1)
        with m.If(self.rows.valid & self.rows.ready):
            m.d.sync += requested.eq(0)

    def _read_inputs(self, m: Module, initialising: Value) -> None:
        """Read a word's inputs: the sample's own, or the activations of the layer below."""
        row, scan, depth = self.rows.payload, self.scan, self.chip.depth
        base = of_layer(row.layer, [activation_base(self.chip, layer) if layer else 0 for layer in range(depth)])
        first_layer = row.layer == 0
        reading = Signal()
        m.d.comb += [
            reading.eq(scan.read & ~initialising),
            self.inputs.en.eq(reading & first_layer),
            self.inputs.slot.eq(row.slot),
            self.inputs.position.eq(scan.word),
            self.activations.en.eq(reading & ~first_layer),
            self.activations.slot.eq(row.slot),
            self.activations.word.eq(base + scan.word),
            scan.data.inputs.eq(Mux(first_layer, self.inputs.data.bits, self.activations.active)),
        ]
