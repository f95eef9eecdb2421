"""State pass: reads words of weights and counters in scan order, lets a rule change them, and writes them back.

::

               ┌── requests ─────┐
               ▼                 │    ┌──────▶ writes
    state ─▶ scan ─ words ─▶ the rule ┴─ records ─▶ signature
                      │          ▲
                      │        mask
                      ▼          ▲
                  initialise ◀─ prng
                      └─▶ writes

The parts take turns, so one scan, one read path and one source of random words serve them all.
"""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect

from popflip.golden.config import WORD
from popflip.hw.common.engine import EngineCommand, WordSignature
from popflip.hw.common.initialise import Initialise
from popflip.hw.common.mask import Mask, draws
from popflip.hw.common.prng import Prng
from popflip.hw.common.scan import Scan
from popflip.hw.common.signature import FlipSignature
from popflip.hw.common.write_back import WriteBack
from popflip.hw.config import ChipConfig
from popflip.hw.memory.signatures import StateSignature


class StatePass(wiring.Component):
    """Runs commands over the layers ``0 … L−1`` in order: INITIALISE, and the rule's own.

    Parameters
    ----------
    write_back : WriteBack
        The rule's change of a word.
    initialise : Initialise
        The rule's initial state.
    **members
        Further members.

    Members
    -------
    ``p256`` : In(range(257))
        Probability of the random masks in 256ths; stable during a pass.
    ``command`` : In(stream of :class:`.engine.EngineCommand`)
        ``valid`` stays high while the command runs, and ``ready`` marks its last cycle. The state, ``rng`` and ``crc``
        are final after that cycle.
    ``layer`` : Out(range(L))
        The layer that the pass is in.
    ``state`` : Out(StateSignature)
        Weights and counters; neither read nor written outside of passes.
    ``flips`` : Out(range(step + 1))
        Weights of ``layer`` that flipped, to be added up every cycle; 0 in most cycles, and after the end of a pass.
    ``rng`` : In(WordSignature), ``crc`` : In(WordSignature)
        State of the random generator, and the flip signature: CRC-32 of all flips so far. Not loaded during a pass.
    """

    def __init__(self, chip: ChipConfig, write_back: WriteBack, initialise: Initialise, **members):
        self.chip = chip
        self.scan = Scan(chip)
        self.mask = Mask(chip)
        self.write_back = write_back
        self.initialise = initialise
        self._signature = FlipSignature(chip)
        super().__init__(
            {
                **members,
                "p256": In(range(257)),
                "command": In(stream.Signature(EngineCommand)),
                "layer": Out(range(chip.depth)),
                "state": Out(StateSignature(chip)),
                "flips": Out(self._signature.flips.shape()),
                "rng": In(WordSignature()),
                "crc": In(WordSignature()),
            }
        )

    def _connect_rule(self, m: Module, initialising: Value, finished: Signal) -> Value:
        """Connect ``scan`` and ``write_back`` to the rule's own parts, for cycles that are not ``initialising``.

        Drives ``finished`` in the last cycle of each layer of a command. Returns the counters to write, as a value.
        """
        raise NotImplementedError

    def elaborate(self, platform) -> Module:
        m = Module()
        initialising = Signal()
        m.d.comb += initialising.eq(self.command.valid & (self.command.payload == EngineCommand.INITIALISE))
        self._connect_random_words(m, initialising)
        self._connect_signature(m)
        self._connect_reads(m)
        finished = Signal()  # the command finishes a layer
        layer = self._step_layers(m, finished)
        counters = self._connect_rule(m, initialising, finished)
        self._connect_initialise(m, initialising, layer, finished)
        self._connect_writes(m, initialising, counters)
        return m

    def _step_layers(self, m: Module, finished: Value) -> Signal:
        """Count the layers of a command and take it after the last one. Returns the current layer."""
        layer = Signal(range(self.chip.depth))
        m.d.comb += self.layer.eq(layer)
        with m.If(finished):
            with m.If(layer == self.chip.depth - 1):
                m.d.comb += self.command.ready.eq(1)
                m.d.sync += layer.eq(0)
            with m.Else():
                m.d.sync += layer.eq(layer + 1)
        return layer

    def _connect_random_words(self, m: Module, initialising: Value) -> None:
        """Masks and the initial state draw from one generator. They never draw at once: only one of them is ready."""
        m.submodules.prng = prng = Prng(draws(self.chip))
        m.submodules.mask = mask = self.mask
        initialise = self.initialise
        connect(m, self.write_back.mask_start, mask.start)
        connect(m, mask.o, self.write_back.mask)
        m.d.comb += [
            mask.n.eq(self.p256),
            mask.words.payload.eq(prng.words.payload),
            mask.words.valid.eq(prng.words.valid),
            initialise.words.payload.eq(prng.words.payload[:WORD]),
            initialise.words.valid.eq(prng.words.valid),
            initialise.drawn.eq(prng.state),
            prng.words.ready.eq(mask.words.ready | initialise.words.ready),
            prng.more.eq(Mux(initialising, 0, mask.more)),
            self.rng.value.eq(prng.state),
            prng.load.eq(self.rng.load),
            prng.load_state.eq(self.rng.load_value),
        ]

    def _connect_signature(self, m: Module) -> None:
        m.submodules.signature = signature = self._signature
        connect(m, self.write_back.records, signature.i)
        m.d.comb += [
            self.flips.eq(signature.flips),
            self.crc.value.eq(signature.crc),
            signature.load.eq(self.crc.load),
            signature.load_crc.eq(self.crc.load_value),
        ]

    def _connect_reads(self, m: Module) -> None:
        """Connect the scan's requests to the counters. A rule that reads weights requests those itself."""
        m.submodules.scan = scan = self.scan
        state = self.state
        m.d.comb += [
            state.weights.read_address.eq(scan.weight_address),
            state.weights.read_bank.eq(scan.weight_bank),
            state.counters.read.eq(scan.read),
            state.counters.read_address.eq(scan.counter_address),
            state.counters.read_bank.eq(scan.counter_bank),
            scan.data.counters.eq(state.counters.read_data),
        ]

    def _connect_initialise(self, m: Module, initialising: Value, layer: Value, finished: Signal) -> None:
        m.submodules.initialise = initialise = self.initialise
        scan = self.scan
        m.d.comb += [
            initialise.start.valid.eq(initialising),
            initialise.start.payload.eq(layer),
            initialise.scan.ready.eq(scan.start.ready),
            initialise.i.payload.eq(scan.o.payload.position),
            initialise.i.valid.eq(scan.o.valid & initialising),
            scan.start.payload.layer.eq(self.layer),
        ]
        with m.If(initialising):
            m.d.comb += [
                scan.start.valid.eq(initialise.scan.valid),
                scan.o.ready.eq(initialise.i.ready),
                finished.eq(initialise.start.ready),
            ]

    def _connect_writes(self, m: Module, initialising: Value, counters: Value) -> None:
        m.submodules.write_back = self.write_back
        state = self.state
        for write in (self.write_back.write, self.initialise.write):
            with m.If(initialising if write is self.initialise.write else ~initialising):
                m.d.comb += [
                    state.weights.write.eq(write.write),
                    state.weights.write_address.eq(write.weight_address),
                    state.weights.write_bank.eq(write.weight_bank),
                    state.weights.write_data.eq(write.weights),
                    state.counters.write.eq(write.write),
                    state.counters.write_address.eq(write.counter_address),
                    state.counters.write_bank.eq(write.counter_bank),
                ]
        m.d.comb += state.counters.write_data.as_value().eq(counters)
