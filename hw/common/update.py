"""Update: what changes a whole layer at a time. Initial weights, and the end of a batch: select ─▶ flip.

::

               ┌───────── passes ─────────┐
               ▼                          │         ┌──────▶ writes
    state ─▶ scan ─ words ─┬─▶ select ────┴─▶ flip ─┴─ records ─▶ signature
                           └─▶ initialise ─▶ writes   ▲
                                   ▲                  │
                          prng ────┴────▶ mask ───────┘

The stages take turns, so one scan, one read path and one source of random words serve them all.

LBE has no end of a batch; a winner's row takes the same way, past select, whenever one is to be taught::

    counters, inputs ─▶ scan ─ words of the row ─▶ flip ─▶ …
"""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import enum, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from popflip.golden.config import WORD, Rule
from popflip.hw.common.ingest import InputReadSignature
from popflip.hw.common.initialise import Initialise, InitialiseLbe
from popflip.hw.common.mask import Mask, draws
from popflip.hw.common.prng import Prng
from popflip.hw.common.scan import BlockScan, Scan, most_synapses
from popflip.hw.common.signature import FlipSignature
from popflip.hw.config import ChipConfig
from popflip.hw.gft.flip import Flip
from popflip.hw.gft.select import Select, selected_layout
from popflip.hw.lbe.reinforce import lesson_layout
from popflip.hw.lbe.score import ClassifierSignature
from popflip.hw.lib.lookup import of_layer
from popflip.hw.lib.stream import RegisteredQueue
from popflip.hw.memory.activations import ActivationReadSignature, activation_base
from popflip.hw.memory.weights import StateSignature


class UpdateCommand(enum.Enum, shape=1):
    """``INITIALISE``: draw all layers' initial state. ``END_BATCH`` (GFT): select and flip, layer by layer."""

    INITIALISE = 0
    END_BATCH = 1


class Update(wiring.Component):
    """Runs a command over the layers ``0 … L−1`` in order (the initial state, or steps 5 and 6 of GFT), or (LBE)
    teaches a row.

    Members
    -------
    ``command`` : In(stream of :class:`UpdateCommand`)
        Taken when it is finished: ``valid`` stays high while it runs, and ``ready`` is its end. The state,
        ``rng`` and ``crc`` are final after that cycle.
    ``layer`` : Out(range(L))
        The layer being worked on.
    ``lessons`` : In(stream of :func:`.reinforce.lesson_layout`)
        LBE. A row to be taught; taken when it is written. Not while a command runs.
    ``inputs`` : Out(InputReadSignature), ``activations`` : Out(ActivationReadSignature)
        LBE. The inputs of the layer taught.
    ``classifiers`` : Out(ClassifierSignature)
        LBE. Written by INITIALISE; else only read, at an address that means nothing.
    ``reinforce_p256`` : In(range(257))
        LBE. The register of that name; stable while a row is taught.
    ``teaching`` : Out(1)
        LBE. A word is written in this cycle.
    ``k`` : In(range(largest layer + 1))
        GFT. Synapses to select in ``layer``; follows ``layer`` in combination and is otherwise stable while a command
        runs.
    ``flip_p256`` : In(range(257)), ``shift`` : In(range(counter_bits + 1))
        GFT. Registers of those names; stable while a command runs. ``shift`` 0 forgets all of a counter.
    ``state`` : Out(StateSignature)
        Weights and counters; neither read nor written while no command runs and no row is taught.
    ``selecting``, ``flipping`` : Out(1)
        GFT. In this cycle thresholds are being found, or words being flipped, for the cycle counters. Never both.
    ``flips`` : Out(range(step + 1))
        So many more weights of ``layer`` have changed: to be added up every cycle, 0 in most. None come after the cycle
        in which ``command`` or the row is taken.
    ``rng`` : Out(32), ``rng_load`` : In(1), ``rng_value`` : In(32)
        State of the random generator, and a way to set it while no command runs; lands at the end of its cycle.
    ``crc`` : Out(32), ``crc_load`` : In(1), ``crc_value`` : In(32)
        The flip signature: CRC-32 of all flips so far, and a way to set it while no command runs (0 to begin anew).
    """

    def __init__(self, chip: ChipConfig):
        self.chip = chip
        self._signature = FlipSignature(chip)
        gft = {
            "k": In(range(most_synapses(chip) + 1)),
            "flip_p256": In(range(257)),
            "shift": In(range(chip.counter_bits + 1)),
            "selecting": Out(1),
            "flipping": Out(1),
        }
        lbe = {
            "lessons": In(stream.Signature(lesson_layout(chip))),
            "inputs": Out(InputReadSignature(chip)),
            "activations": Out(ActivationReadSignature(chip)),
            "classifiers": Out(ClassifierSignature(chip)),
            "reinforce_p256": In(range(257)),
            "teaching": Out(1),
        }
        super().__init__(
            {
                **(gft if chip.rule == Rule.GFT else lbe),
                "command": In(stream.Signature(UpdateCommand)),
                "layer": Out(range(chip.depth)),
                "state": Out(StateSignature(chip)),
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
        gft = chip.rule == Rule.GFT
        m.submodules.prng = prng = Prng(draws(chip))
        m.submodules.mask = mask = Mask(chip)
        m.submodules.scan = scan = Scan(chip)
        m.submodules.flip = flip = Flip(chip)
        m.submodules.signature = signature = self._signature
        m.submodules.initialise = initialise = Initialise(chip) if gft else InitialiseLbe(chip)

        connect(m, flip.mask_start, mask.start)
        connect(m, mask.o, flip.mask)
        connect(m, flip.records, signature.i)
        m.d.comb += [
            mask.n.eq(self.flip_p256 if gft else self.reinforce_p256),
            self.flips.eq(signature.flips),
            self.crc.eq(signature.crc),
            signature.load.eq(self.crc_load),
            signature.load_crc.eq(self.crc_value),
            self.rng.eq(prng.state),
            prng.load.eq(self.rng_load),
            prng.load_state.eq(self.rng_value),
        ]

        # Layer after layer --------------------------------------------------------------------------------------------
        layer = Signal(range(chip.depth))
        finished = Signal()  # the layer is
        initialising = Signal()
        m.d.comb += [
            initialising.eq(self.command.valid & (self.command.payload == UpdateCommand.INITIALISE)),
            initialise.start.valid.eq(initialising),
            initialise.start.payload.eq(layer),
        ]
        m.d.comb += self.layer.eq(layer)
        with m.If(finished):
            with m.If(layer == chip.depth - 1):
                m.d.comb += self.command.ready.eq(1)
                m.d.sync += layer.eq(0)
            with m.Else():
                m.d.sync += layer.eq(layer + 1)

        # One scan for all, one source of random words, one way to the memories ----------------------------------------
        m.d.comb += [
            scan.start.valid.eq(initialise.scan.valid),
            scan.start.payload.layer.eq(layer),
            initialise.scan.ready.eq(scan.start.ready),
            initialise.i.payload.eq(scan.o.payload.position),
            initialise.i.valid.eq(scan.o.valid & initialising),
            scan.data.counters.eq(self.state.counters.read_data),
        ]

        # Masks and initial state are never drawn at once, so only one of them is ever ready.
        m.d.comb += [
            mask.words.payload.eq(prng.words.payload),
            mask.words.valid.eq(prng.words.valid),
            initialise.words.payload.eq(prng.words.payload[:WORD]),
            initialise.words.valid.eq(prng.words.valid),
            initialise.drawn.eq(prng.state),
            prng.words.ready.eq(mask.words.ready | initialise.words.ready),
            prng.more.eq(Mux(initialising, 0, mask.more)),
        ]

        state = self.state
        m.d.comb += [
            state.weights.read.eq(scan.read if gft else 0),
            state.weights.read_address.eq(scan.weight_address),
            state.weights.read_bank.eq(scan.weight_bank),
            state.counters.read.eq(scan.read),
            state.counters.read_address.eq(scan.counter_address),
            state.counters.read_bank.eq(scan.counter_bank),
        ]
        if gft:
            self._end_batch(m, scan, flip, layer, finished, initialising)
        else:
            self._teach(m, scan, flip, initialising)
        with m.If(initialising):
            m.d.comb += [scan.o.ready.eq(initialise.i.ready), finished.eq(initialise.start.ready)]
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
        # GFT: flip's are 0 while it does not run, as initialise wants them.
        counters = flip.write.counters.as_value()
        if not gft:
            connect(m, initialise.classifiers, flipped(self.classifiers))
            counters = Mux(initialising, initialise.write.counters.as_value(), counters)
        m.d.comb += state.counters.write_data.as_value().eq(counters)
        return m

    def _end_batch(self, m: Module, scan: Scan, flip: Flip, layer: Value, finished: Value, initialising: Value) -> None:
        """GFT: select and flip."""
        chip, state = self.chip, self.state
        m.submodules.select = select = Select(chip)
        if chip.pipelined:  # ties and masks do not wait for each other in the same cycle
            m.submodules.selected = selected = RegisteredQueue(selected_layout(chip), 2)
            connect(m, select.o, selected.i)
            connect(m, selected.o, flip.i)
        else:
            connect(m, select.o, flip.i)
        m.d.comb += [
            flip.shift.eq(self.shift),
            flip.start.payload.eq(layer),
            select.start.payload.layer.eq(layer),
            select.start.payload.k.eq(self.k),
            select.scan.ready.eq(scan.start.ready),
            select.i.payload.eq(scan.o.payload),
            select.i.valid.eq(scan.o.valid & ~initialising),
            scan.o.ready.eq(select.i.ready),
            scan.flowing.eq(select.counting),
            scan.data.weights.eq(state.weights.read_data),
        ]
        with m.If(~initialising):
            m.d.comb += scan.start.valid.eq(select.scan.valid)
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

    def _teach(self, m: Module, scan: Scan, flip: Flip, initialising: Value) -> None:
        """LBE: a winner's row."""
        chip, lesson = self.chip, self.lessons.payload
        asked = Signal()  # for its words
        reading = Signal()  # inputs are read for as long as a lesson lasts
        m.d.comb += [
            reading.eq(scan.read & ~initialising),
            flip.start.payload.eq(lesson),
            flip.start.valid.eq(self.lessons.valid),
            self.lessons.ready.eq(flip.start.ready),
            flip.i.payload.eq(scan.o.payload),
            flip.i.valid.eq(scan.o.valid & ~initialising),
            scan.o.ready.eq(flip.i.ready),
            self.teaching.eq(flip.write.write),
            self.inputs.en.eq(reading & (lesson.layer == 0)),
            self.inputs.slot.eq(lesson.slot),
            self.inputs.position.eq(scan.word),
            self.activations.en.eq(reading & (lesson.layer != 0)),
            self.activations.slot.eq(lesson.slot),
            self.activations.word.eq(
                of_layer(lesson.layer, [activation_base(chip, index) if index else 0 for index in range(chip.depth)])
                + scan.word
            ),
            scan.data.inputs.eq(Mux(lesson.layer == 0, self.inputs.data.bits, self.activations.active)),
        ]
        with m.If(~initialising):
            m.d.comb += [
                self.layer.eq(lesson.layer),
                scan.start.valid.eq(self.lessons.valid & ~asked),
                scan.start.payload.layer.eq(lesson.layer),
                scan.start.payload.row.eq(lesson.winner.row),
                scan.start.payload.single.eq(1),
            ]
            with m.If(scan.start.valid & scan.start.ready):
                m.d.sync += asked.eq(1)
        with m.If(self.lessons.valid & self.lessons.ready):
            m.d.sync += asked.eq(0)
