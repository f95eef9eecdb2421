"""Update: what changes a whole layer at a time. Initial weights, and the end of a batch: select ─▶ flip.

::

               ┌───────── passes ─────────┐
               ▼                          │         ┌──────▶ writes
    state ─▶ scan ─ words ─┬─▶ select ────┴─▶ flip ─┴─ records ─▶ signature
                           └─▶ initialise ─▶ writes   ▲
                                   ▲                  │
                          prng ────┴────▶ mask ───────┘

The stages take turns, so one scan, one read path and one source of random words serve them all.
"""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import enum, stream, wiring
from amaranth.lib.wiring import In, Out, connect

from .config import ChipConfig
from .flip import Flip
from .initialise import Initialise
from .mask import Mask
from .prng import Prng
from .scan import BlockScan, Scan, most_synapses
from .select import Select, selected_layout
from .signature import FlipSignature
from .stream import Queue
from .weights import StateSignature


class UpdateCommand(enum.Enum, shape=1):
    """``INITIALISE``: draw all layers' weights, zero their counters. ``END_BATCH``: select and flip, layer by layer."""

    INITIALISE = 0
    END_BATCH = 1


class Update(wiring.Component):
    """Runs a command over the layers ``0 … L−1`` in order (steps 5 and 6 of the learning rule, or the initial state).

    Members
    -------
    ``command`` : In(stream of :class:`UpdateCommand`)
        Taken when it is finished: ``valid`` stays high while it runs, and ``ready`` is its end. The state,
        ``rng`` and ``crc`` are final after that cycle.
    ``layer`` : Out(range(L))
        The layer being worked on.
    ``k`` : In(range(largest layer + 1))
        Synapses to select in ``layer``; follows ``layer`` in combination and is otherwise stable while a command runs.
    ``flip_p256`` : In(range(257)), ``shift`` : In(range(counter_bits + 1))
        Registers of those names; stable while a command runs. ``shift`` 0 forgets all of a counter.
    ``state`` : Out(StateSignature)
        Weights and counters; neither read nor written while no command runs.
    ``selecting``, ``flipping`` : Out(1)
        In this cycle thresholds are being found, or words being flipped, for the cycle counters. Never both.
    ``flips`` : Out(range(step + 1))
        So many more weights of ``layer`` have changed: to be added up every cycle, 0 in most. None come after the cycle
        in which ``command`` is taken.
    ``rng`` : Out(32), ``rng_load`` : In(1), ``rng_value`` : In(32)
        State of the random generator, and a way to set it while no command runs; lands at the end of its cycle.
    ``crc`` : Out(32), ``crc_load`` : In(1), ``crc_value`` : In(32)
        The flip signature: CRC-32 of all flips so far, and a way to set it while no command runs (0 to begin anew).
    """

    def __init__(self, chip: ChipConfig):
        self.chip = chip
        self._signature = FlipSignature(chip)
        super().__init__(
            {
                "command": In(stream.Signature(UpdateCommand)),
                "layer": Out(range(chip.depth)),
                "k": In(range(most_synapses(chip) + 1)),
                "flip_p256": In(range(257)),
                "shift": In(range(chip.counter_bits + 1)),
                "state": Out(StateSignature(chip)),
                "selecting": Out(1),
                "flipping": Out(1),
                "flips": Out(self._signature.flips.shape()),
                "rng": Out(32),
                "rng_load": In(1),
                "rng_value": In(32),
                "crc": Out(32),
                "crc_load": In(1),
                "crc_value": In(32),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        chip = self.chip
        m.submodules.prng = prng = Prng()
        m.submodules.mask = mask = Mask(chip)
        m.submodules.scan = scan = Scan(chip)
        m.submodules.select = select = Select(chip)
        m.submodules.flip = flip = Flip(chip)
        m.submodules.signature = signature = self._signature
        m.submodules.initialise = initialise = Initialise(chip)

        if chip.fast:  # ties and masks do not wait for each other in the same cycle
            m.submodules.selected = selected = Queue(selected_layout(chip), 2)
            connect(m, select.o, selected.i)
            connect(m, selected.o, flip.i)
        else:
            connect(m, select.o, flip.i)
        connect(m, flip.mask_start, mask.start)
        connect(m, mask.o, flip.mask)
        connect(m, flip.records, signature.i)
        m.d.comb += [
            mask.n.eq(self.flip_p256),
            flip.shift.eq(self.shift),
            self.flips.eq(signature.flips),
            self.crc.eq(signature.crc),
            signature.load.eq(self.crc_load),
            signature.load_crc.eq(self.crc_value),
            self.rng.eq(prng.state),
            prng.load.eq(self.rng_load),
            prng.load_state.eq(self.rng_value),
        ]

        layer = Signal(range(chip.depth))
        initialising = self.command.payload == UpdateCommand.INITIALISE
        m.d.comb += [
            self.layer.eq(layer),
            select.start.payload.layer.eq(layer),
            select.start.payload.k.eq(self.k),
            flip.start.payload.eq(layer),
            initialise.start.payload.eq(layer),
        ]

        finished = Signal()  # the layer is
        with m.FSM():
            with m.State("LAYER"):
                m.d.comb += initialise.start.valid.eq(self.command.valid & initialising)
                with m.If(self.command.valid & ~initialising):
                    m.d.comb += [
                        select.start.valid.eq(1),
                        flip.start.valid.eq(1),
                        self.selecting.eq(~select.found),
                        self.flipping.eq(select.found),
                    ]
                    with m.If(select.start.ready):
                        m.next = "LAST FLIPS"
                m.d.comb += finished.eq(self.command.valid & initialising & initialise.start.ready)
            with m.State("LAST FLIPS"):
                m.d.comb += [flip.start.valid.eq(1), self.flipping.eq(1), finished.eq(flip.start.ready)]
                with m.If(flip.start.ready):
                    m.next = "LAYER"
        with m.If(finished):
            with m.If(layer == chip.depth - 1):
                m.d.comb += self.command.ready.eq(1)
                m.d.sync += layer.eq(0)
            with m.Else():
                m.d.sync += layer.eq(layer + 1)

        # One scan for both: initialise ignores what it reads.
        m.d.comb += [
            scan.start.valid.eq(select.scan.valid | initialise.scan.valid),
            scan.start.payload.eq(layer),
            select.scan.ready.eq(scan.start.ready),
            initialise.scan.ready.eq(scan.start.ready),
            select.i.payload.eq(scan.o.payload),
            initialise.i.payload.eq(scan.o.payload.position),
            select.i.valid.eq(scan.o.valid & ~initialising),
            initialise.i.valid.eq(scan.o.valid & initialising),
            scan.o.ready.eq(select.i.ready),
        ]
        with m.If(initialising):
            m.d.comb += scan.o.ready.eq(initialise.i.ready)

        # A command draws masks or initial weights, so only one of them is ever ready.
        m.d.comb += [
            mask.words.payload.eq(prng.words.payload),
            mask.words.valid.eq(prng.words.valid),
            initialise.words.payload.eq(prng.words.payload),
            initialise.words.valid.eq(prng.words.valid),
            initialise.drawn.eq(prng.state),
            prng.words.ready.eq(mask.words.ready | initialise.words.ready),
        ]

        state = self.state
        m.d.comb += [
            state.weights.read.eq(scan.read),
            state.weights.read_address.eq(scan.weight_address),
            state.weights.read_bank.eq(scan.weight_bank),
            scan.weights.eq(state.weights.read_data),
            state.counters.read.eq(scan.read),
            state.counters.read_address.eq(scan.counter_address),
            state.counters.read_bank.eq(scan.counter_bank),
            scan.counters.eq(state.counters.read_data),
        ]
        if chip.learn_rows > 1:
            m.submodules.blocks = blocks = BlockScan(chip)
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
        for write in (flip.write, initialise.write):
            with m.If(initialising if write is initialise.write else ~initialising):
                m.d.comb += [
                    state.weights.write.eq(write.write),
                    state.weights.write_address.eq(write.weight_address),
                    state.weights.write_bank.eq(write.weight_bank),
                    state.weights.write_data.eq(write.weights),
                    state.counters.write.eq(write.write),
                    state.counters.write_address.eq(write.counter_address),
                    state.counters.write_bank.eq(write.counter_bank),
                ]
        m.d.comb += state.counters.write_data.eq(flip.write.counters)  # 0 while it does not run, as initialise wants it
        return m
