"""End of batch: for each layer, select ─▶ flip (golden ``trainer.end_batch``).

::

    state ─▶ scan ─ words ─▶ select ─▶ flip ─┬─▶ writes
               ▲                │       ▲    └─ records ─▶ signature
               └──── passes ────┘       └─ mask

With Pc > 1 the counting passes of select read through :mod:`.block_scan` instead of the scan.
"""

from __future__ import annotations

from amaranth.hdl import Module, Signal, Value
from amaranth.lib.wiring import In, Out, connect

from popflip.hw.common.scan import most_synapses
from popflip.hw.common.state_pass import StatePass
from popflip.hw.config import ChipConfig
from popflip.hw.gft.block_scan import BlockScan
from popflip.hw.gft.flip import Flip
from popflip.hw.gft.initialise import GftInitialise
from popflip.hw.gft.select import Select, selected_layout
from popflip.hw.lib.stream import RegisteredQueue


class EndOfBatch(StatePass):
    """Runs END_BATCH, steps 5 and 6 of the rule, and INITIALISE.

    Members, besides those of :class:`.state_pass.StatePass`
    --------------------------------------------------------
    ``k`` : In(range(largest layer + 1))
        Synapses to select in ``layer``. Follows ``layer`` in the same cycle, and is otherwise stable during a command.
    ``shift`` : In(range(counter_bits + 1))
        The register of that name; stable during a command. 0 clears counters.
    ``selecting``, ``flipping`` : Out(1)
        Select finds a threshold, or flip flips words, in this cycle. Never both. For the cycle counters.
    """

    def __init__(self, chip: ChipConfig):
        self.select = Select(chip)
        super().__init__(
            chip,
            write_back=Flip(chip),
            initialise=GftInitialise(chip),
            k=In(range(most_synapses(chip) + 1)),
            shift=In(range(chip.counter_bits + 1)),
            selecting=Out(1),
            flipping=Out(1),
        )

    def _connect_rule(self, m: Module, initialising: Value, finished: Signal) -> Value:
        m.submodules.select = self.select
        self._connect_select(m, initialising)
        if self.chip.learn_rows > 1:
            self._connect_blocks(m)
        self._sequence(m, initialising, finished)
        return self.write_back.write.counters.as_value()  # 0 while flip is idle: the counters of the initial state

    def _connect_select(self, m: Module, initialising: Value) -> None:
        """Connect the scan's words to select, and select's words to flip."""
        state, scan, select, flip = self.state, self.scan, self.select, self.write_back
        if self.chip.pipelined:  # ties and masks do not wait for each other in the same cycle
            m.submodules.selected = selected = RegisteredQueue(selected_layout(self.chip), 2)
            connect(m, select.o, selected.i)
            connect(m, selected.o, flip.i)
        else:
            connect(m, select.o, flip.i)
        m.d.comb += [
            flip.shift.eq(self.shift),
            flip.start.payload.eq(self.layer),
            select.start.payload.layer.eq(self.layer),
            select.start.payload.k.eq(self.k),
            scan.start.valid.eq(select.scan.valid),
            select.scan.ready.eq(scan.start.ready),
            select.i.payload.eq(scan.o.payload),
            select.i.valid.eq(scan.o.valid & ~initialising),
            scan.o.ready.eq(select.i.ready),
            scan.flowing.eq(select.counting),
            state.weights.read.eq(scan.read),
            scan.data.weights.eq(state.weights.read_data),
        ]

    def _connect_blocks(self, m: Module) -> None:
        """Counting passes read the words of ``Pc`` rows at once."""
        state, select = self.state, self.select
        m.submodules.blocks = blocks = BlockScan(self.chip)
        connect(m, select.blocks, blocks.start)
        m.d.comb += [
            select.block.eq(blocks.valid),
            select.block_last.eq(blocks.last),
            select.block_weights.eq(state.weights.read_rows),
            select.block_counters.eq(state.counters.read_rows),
        ]
        with m.If(blocks.read):
            m.d.comb += [
                state.weights.read.eq(1),
                state.weights.read_address.eq(blocks.weight_address),
                state.weights.read_bank.eq(blocks.weight_bank),
                state.counters.read.eq(1),
                state.counters.read_address.eq(blocks.counter_address),
            ]

    def _sequence(self, m: Module, initialising: Value, finished: Signal) -> None:
        """In each layer, flip starts together with select and ends after it."""
        select, flip = self.select, self.write_back
        with m.FSM():
            with m.State("LAYER"), m.If(self.command.valid & ~initialising):
                m.d.comb += [
                    select.start.valid.eq(1),
                    flip.start.valid.eq(1),
                    self.selecting.eq(~select.found),
                    self.flipping.eq(select.found),
                ]
                with m.If(select.start.ready):
                    m.next = "LAST FLIPS"
            with m.State("LAST FLIPS"):
                m.d.comb += [flip.start.valid.eq(1), self.flipping.eq(1), finished.eq(flip.start.ready)]
                with m.If(flip.start.ready):
                    m.next = "LAYER"
