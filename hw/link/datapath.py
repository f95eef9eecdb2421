"""Registers, counters and shift register of the controller. Checker, executor and responder share them."""

from __future__ import annotations

from enum import IntEnum

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory

from popflip.hw.config import ChipConfig
from popflip.hw.lib.stream import delayed
from popflip.hw.link.buffer import counter_bytes, weight_bytes
from popflip.hw.link.codec import MAX_LENGTH
from popflip.hw.link.commands import Command, Result, commands_of
from popflip.hw.link.identity import Identity
from popflip.hw.link.tables import VALUE_BYTES, Rom, Sizes
from popflip.hw.trainer_port import TrainerCommand


class Datapath:
    """The state of the current request, and the values derived from its command.

    Registers, with the parts that write them (checker, executor, responder):

    ============================ ============================================================== ================
    ``command``, ``sequence``    from the header; a refusal makes ``command`` IDENTIFY          checker
    ``result``                   verdict of the receiver, then of the checker                   checker
    ``expected``                 sequence number of the next request                            checker
    ``session``, ``has_session`` number of the session; one has begun since power-up            checker
    ``epoch``                    changes whenever a session begins                              checker
    ``outdated``                 the request came in another epoch                              checker
    ``remaining``                payload bytes behind the cursor, in the first pass             checker
    ``count``                    items: counted up by the first pass, down by the second        all
    ``address``                  word of a memory, of the ROM or of status; position in the     all
                                 store
    ``address_overflow``         address or count of the request exceed ``address``             checker
    ``register_index``           register of the current item                                   checker, executor
    ``label``, ``second_byte``   label of the current item; which of its two bytes is next      all
    ``word``                     shift register: prologue, value or word of memory              all
    ``bytes_left``               bytes of the current unit behind this one, then starts again   all
    ============================ ============================================================== ================

    Strobes: ``next_byte`` (count ``bytes_left`` down), ``count_up``, ``count_down``, ``next_address``, ``shift`` (the
    reader's byte into ``word``), ``load`` (the word that the command reads, into ``word``). ``last_byte``:
    ``bytes_left`` is 0.
    """

    def __init__(self, m: Module, chip: ChipConfig, identity: Identity, ports: wiring.Component):
        self.m, self.chip = m, chip
        self.reader, self.trainer, self.header, self.payload = ports.reader, ports.trainer, ports.header, ports.payload
        self.nonce, self.quiet = ports.nonce, ports.quiet
        if chip.store_samples:
            self.store = ports.store
        if chip.walks:
            self.order = ports.order
        self.commands = commands_of(self.chip)
        self.sizes = Sizes(self.chip)
        self.rom = Rom(self.chip, identity)
        self.buffer_bytes = identity.buffer_bytes
        # On pipelined chips everything derived from command, address and count is registered. No state reads such a
        # value before it has settled.
        self._derived = "sync" if self.chip.pipelined else "comb"
        self._registers()
        self._constants()
        self._counters()
        self._shift_register()
        self._limits()
        self._connect()

    # Values derived from the command ----------------------------------------------------------------------------------

    def is_one_of(self, *commands: Command) -> Value:
        """Whether the current command is one of ``commands``."""
        return self.command.matches(*commands)

    def constant(self, name: str, values: dict[Command, int], default: int = 0) -> Signal:
        """The current command's entry in ``values``."""
        m = self.m
        signal = Signal(range(max(default, *values.values()) + 1), name=name)
        with m.Switch(self.command):
            for value in set(values.values()) - {default}:
                with m.Case(*(key for key in values if values[key] == value)):
                    m.d[self._derived] += signal.eq(value)
            with m.Default():
                m.d[self._derived] += signal.eq(default)
        return signal

    # Parts ------------------------------------------------------------------------------------------------------------

    def _registers(self) -> None:
        m, chip = self.m, self.chip
        # A compact chip has no block RAM left for it.
        attributes = {"rom_style": "logic"} if chip.compact else {}
        content = self.rom.content
        m.submodules.rom = memory = Memory(shape=16, depth=len(content), init=content, attrs=attributes)
        self.rom_port = memory.read_port()

        self._places = max(self.sizes.weight_words, self.sizes.counter_words, chip.store_samples, self.rom.end)
        names = IntEnum("Command", {key.name: int(key) for key in self.commands})
        self.command = Signal(5 if chip.packs or chip.walks else 4, decoder=names)
        self.sequence = Signal(8)
        self.expected = Signal(8)
        self.session = Signal(32)
        self.has_session = Signal()
        self.epoch = Signal()
        self.outdated = Signal()
        self.result = Signal(Result)
        self.remaining = Signal(range(self.buffer_bytes))
        self.count = Signal(range(max(self._places, self.buffer_bytes) + 1))
        self.address = Signal(range(self._places + 1))
        self.address_overflow = Signal()
        self.word = Signal(8 * max(6, weight_bytes(chip), counter_bytes(chip)))
        self.register_index = Signal(range(len(self.rom.indices)))
        self.label = Signal(8 * chip.label_bytes)
        self.second_byte = Signal()

    def _constants(self) -> None:
        commands, sizes, ranges = self.commands, self.sizes, self.rom.ranges
        self.infers = self.command == Command.INFER
        if self.chip.packs:
            self.infers |= self.command == Command.INFER_PACKED
        if self.chip.walks:
            self.infers |= self.command == Command.INFER_SET
        self.request_bytes = self.constant("request_bytes", {key: form.request_bytes for key, form in commands.items()})
        # Other commands take no items: the default exceeds any payload.
        self.item_bytes = self.constant("item_bytes", sizes.item, default=self.buffer_bytes - 1)
        self.unit_bytes = self.constant("unit_bytes", sizes.unit)
        self.reads = self.constant("reads", {key: form.reads for key, form in commands.items()})
        self.range_words = self.constant("range_words", {key: len(words) for key, words in ranges.items()})
        self.range_start = self.constant("range_start", {key: words.start for key, words in ranges.items()})
        self.waits = self.constant("waits", {key: form.waits for key, form in commands.items()})

    def _counters(self) -> None:
        m, chip = self.m, self.chip
        longest = min(256**chip.size_bytes, self.buffer_bytes) if chip.packs else 0
        self.bytes_left = Signal(range(max(*self.sizes.unit.values(), 6, longest)))
        self.last_byte = Signal()
        self.next_byte = Signal()
        m.d.comb += self.last_byte.eq(self.bytes_left == 0)
        with m.If(self.next_byte):
            m.d.sync += self.bytes_left.eq(Mux(self.last_byte, self.unit_bytes - 1, self.bytes_left - 1))

        self.count_up = Signal()
        self.count_down = Signal()
        with m.If(self.count_up | self.count_down):
            m.d.sync += self.count.eq(self.count + Mux(self.count_down, -1, 1))
        self.next_address = Signal()
        with m.If(self.next_address):
            m.d.sync += self.address.eq(self.address + 1)

    def _shift_register(self) -> None:
        """``word``, and the multiplexer of the words loaded into it.

        Bytes beyond the loaded value are never sent, so the widest source may remain visible behind the others.
        """
        m, state, pipelined = self.m, self.trainer.state, self.chip.pipelined
        self.shift = Signal()
        self.load = Signal()
        loaded = Signal.like(self.word, name="loaded")
        weight_data = delayed(m, state.weights.read_data.as_value(), pipelined)
        m.d.comb += loaded.eq(delayed(m, state.counters.read_data.as_value(), pipelined))
        self.shows_status = self.is_one_of(Command.STATUS, Command.CYCLES, Command.SIGNATURE)
        with m.Switch(self.command):
            with m.Case(Command.READ_WEIGHTS):
                m.d.comb += loaded[: len(weight_data)].eq(weight_data)
            with m.Case(Command.IDENTIFY):
                m.d.comb += loaded[:8].eq(Mux(self.result == Result.OK, self.rom_port.data, self.expected))
            with m.Case(Command.STATUS, Command.CYCLES, Command.SIGNATURE):
                m.d.comb += loaded[: 8 * VALUE_BYTES].eq(self.trainer.status.value)
        with m.If(self.load):
            m.d.sync += self.word.eq(loaded)
        with m.Elif(self.shift):
            m.d.sync += self.word.eq(Cat(self.word[8:], self.reader.data))

    def _limits(self) -> None:
        """Length of the answer, and whether it and the words addressed stay within their limits."""
        m, sizes = self.m, self.sizes
        memory_words = self.constant("memory_words", sizes.memory)
        self.length = Signal(range(2 ** len(self.count) * max(sizes.answer.values())))
        end = Signal(range(2 * (max(self._places, self.buffer_bytes) + 1)))  # address behind the last word
        m.d[self._derived] += [self.length.eq(0), end.eq(self.address + self.count)]
        self.bad_address = Signal()
        self.bad_length = Signal()
        m.d[self._derived] += [
            self.bad_address.eq(self.is_one_of(*sizes.memory) & (self.address_overflow | (end > memory_words))),
            self.bad_length.eq(self.length > MAX_LENGTH),
        ]
        for size in set(sizes.answer.values()):
            with m.If(self.is_one_of(*(key for key in sizes.answer if sizes.answer[key] == size))):
                m.d[self._derived] += self.length.eq(self.count * size)

    def _connect(self) -> None:
        """Payloads of the ports. Their strobes belong to the states."""
        chip, header, trainer, address = self.chip, self.header.payload, self.trainer, self.address
        weights, counters = trainer.state.weights, trainer.state.counters
        self.m.d.comb += [
            header.sequence.eq(self.sequence),
            header.result.eq(self.result),
            header.length.eq(self.length),
            header.open.eq(self.command == Command.IDENTIFY),
            trainer.samples.label.eq(self.label),
            trainer.samples.infer.eq(self.infers),
            trainer.register.index.eq(self.register_index),
            trainer.register.value.eq(self.word[-8 * VALUE_BYTES :]),
            trainer.command.payload.eq(
                Mux(self.command == Command.RESET, TrainerCommand.RESET, TrainerCommand.END_BATCH)
            ),
            trainer.status.index.eq(address),
            *_split(address, weights.read_bank, weights.read_address),
            *_split(address, weights.write_bank, weights.write_address),
            weights.write_data.eq(self.word[-8 * weight_bytes(chip) :]),
            *_split(address, counters.read_bank, counters.read_address),
            *_split(address, counters.write_bank, counters.write_address),
            counters.write_data.eq(self.word[-8 * counter_bytes(chip) :]),
            self.rom_port.addr.eq(address),
        ]


def _split(address: Signal, bank: Signal, row: Signal) -> list:
    """The host numbers words across all banks: the lowest bits of an address are the bank."""
    return [bank.eq(address[: len(bank)]), row.eq(address[len(bank) :])]
