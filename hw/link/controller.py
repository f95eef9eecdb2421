"""Executes requests: checks each whole one in the packet buffer, then applies it, then answers.

A request is walked through twice. The first pass changes nothing: it counts the items and checks lengths, labels,
registers and addresses. The second pass hands the items on. Samples go to the trainer straight from the packet buffer,
a byte a cycle; everything else passes through one shift register, ``word``, a byte a cycle in or out. ::

    IDLE → HEADER → CHECK → PROLOGUE → PREPARE → ITEM ⟲ → ACCEPT ┬→ (LOOK_UP →) LABEL → FEED ⟲ ────────┬→ ANSWER → IDLE
                      │        │                   │        │    ├→ COLLECT → WRITE ⟲ → (COMMAND) ─────┘
                      └────────┴────────┬──────────┴────────┘    └→ ANSWER ┬→ FETCH → LOAD → EMIT ⟲ → IDLE
                                        ▼                                  └→ FEED ⟲ → DRAIN → IDLE
                                     REFUSE → ANSWER → FETCH …

Packed samples differ in length: each begins with its size, by which the first pass goes from one to the next, and which
SIZE takes before LABEL.

Samples that are kept go into the store byte by byte as they lie in the buffer. LOOK_UP takes one's number from the
buffer; its label and inputs then come from the store instead.

Fast chips do not DRAIN. They go on with the next request while predictions are still to come, so that the array need
not wait for its first pass.
"""

from __future__ import annotations

from enum import IntEnum

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Out
from amaranth.utils import ceil_log2

from popflip.hw.config import ChipConfig
from popflip.hw.lib.stream import delayed
from popflip.hw.link.buffer import ENTRY_HEADER, BufferReadSignature, counter_bytes, weight_bytes
from popflip.hw.link.codec import MAX_LENGTH
from popflip.hw.link.commands import PACKED_COMMANDS, REFUSAL_BYTES, Command, Result, commands_of
from popflip.hw.link.identity import Identity
from popflip.hw.link.sender import ANSWER_HEADER
from popflip.hw.link.store import StoreSignature
from popflip.hw.registers import CYCLE_COUNTERS, registers, status_words
from popflip.hw.trainer_port import TrainerCommand, TrainerSignature

VALUE_BYTES = 4  # of a register or a status word
SIGN = 0x80  # of a value's last byte
NUMBER_BYTES = 2  # of a sample in the store


def train_latency(chip: ChipConfig, samples: int) -> int:
    """Cycles from the last byte of a TRAIN request to the first one offered to the trainer: all labels are checked."""
    return 13 + chip.label_bytes * (samples + 1)


def packed_latency(chip: ChipConfig, samples: int) -> int:
    """The same of a TRAIN_PACKED request: all sizes and labels are checked."""
    return 13 + chip.label_bytes + chip.size_bytes + (chip.label_bytes + chip.size_bytes + 1) * samples


def replay_latency(chip: ChipConfig, samples: int) -> int:
    """The same of a TRAIN_STORED request: all numbers are checked."""
    return train_latency(chip, 0) + 3 + NUMBER_BYTES * samples


class Controller(wiring.Component):
    """Takes entries from the packet buffer, drives the trainer, and gives answers to the frame sender.

    Members
    -------
    ``reader`` : Out(BufferReadSignature(depth))
    ``header`` : Out(stream of :data:`ANSWER_HEADER`), ``payload`` : Out(stream of 8)
        To :class:`FrameSender`.
    ``trainer`` : Out(TrainerSignature)
    ``store`` : Out(StoreSignature), where the chip has one

    Throughput: ``label_bytes + input_bytes`` cycles a training sample, :func:`train_latency` before the first; three
    more of one in the store, :func:`replay_latency` before the first; as many as it has bytes of a packed one,
    :func:`packed_latency` before the first.
    """

    def __init__(self, chip: ChipConfig, identity: Identity):
        self.chip, self.identity = chip, identity
        super().__init__(
            {
                "reader": Out(BufferReadSignature(identity.buffer_bytes)),
                "header": Out(stream.Signature(ANSWER_HEADER)),
                "payload": Out(stream.Signature(8)),
                "trainer": Out(TrainerSignature(chip)),
                **({"store": Out(StoreSignature(chip))} if chip.store_samples else {}),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        chip, reader, header, payload, trainer = self.chip, self.reader, self.header, self.payload, self.trainer
        weights, counters = trainer.state.weights, trainer.state.counters
        sizes, commands = _Sizes(chip), commands_of(chip)
        rom = _Rom(chip, self.identity)

        # On a compact chip there is no block RAM to spare for it.
        attributes = {"rom_style": "logic"} if chip.compact else {}
        m.submodules.rom = memory = Memory(shape=16, depth=len(rom.content), init=rom.content, attrs=attributes)
        constant = memory.read_port()

        command = Signal(5 if chip.packs else 4, decoder=IntEnum("Command", {key.name: int(key) for key in commands}))
        alien = Signal(8 - len(command))  # the rest of a command's byte, 0 in every command there is
        sequence, expected = Signal(8), Signal(8)
        result = Signal(Result)
        remaining = Signal(range(self.identity.buffer_bytes))  # payload bytes behind the cursor; in the first pass
        places = max(sizes.weight_words, sizes.counter_words, chip.store_samples, rom.end)
        count = Signal(range(max(places, self.identity.buffer_bytes) + 1))  # up in the first pass, down in the second
        address = Signal(range(places + 1))
        far = Signal()  # address or number of words have more bits than that
        word = Signal(8 * max(6, weight_bytes(chip), counter_bytes(chip)))
        number = Signal(range(len(rom.numbers)))
        label = Signal(8 * chip.label_bytes)
        second = Signal()  # of two label bytes
        wrong = Signal()  # the label, or the register's number, that was looked at last
        below, above = Signal(), Signal()  # the value so far, against its register's range

        owed = Signal(range(2 * chip.slots + 4))  # predictions still to come

        # In fast chips what follows from command, address and count is a cycle behind. No state changes them and looks
        # at what follows in the next cycle, or the next but one.
        behind = "sync" if chip.pipelined else "comb"

        def chosen(values: dict[Command, int], default: int = 0) -> Signal:
            """The current command's constant."""
            signal = Signal(range(max(default, *values.values()) + 1), name="chosen")
            with m.Switch(command):
                for value in set(values.values()) - {default}:
                    with m.Case(*(key for key in values if values[key] == value)):
                        m.d[behind] += signal.eq(value)
                with m.Default():
                    m.d[behind] += signal.eq(default)
            return signal

        def one_of(*commands: Command) -> Value:
            return command.matches(*commands)

        infers = command == Command.INFER
        if chip.packs:
            infers |= command == Command.INFER_PACKED

        prologue = chosen({key: format.request_bytes for key, format in commands.items()})
        item = chosen(sizes.item, default=self.identity.buffer_bytes - 1)  # longer than any frame: takes no items
        unit = chosen(sizes.unit)
        reads = chosen({key: format.reads for key, format in commands.items()})
        range_words = chosen({key: len(words) for key, words in rom.ranges.items()})
        range_start = chosen({key: words.start for key, words in rom.ranges.items()})
        waits = chosen({key: format.waits for key, format in commands.items()})

        # Bytes of a prologue, sample or word: `left` runs from their number minus 1 to 0, then starts again.
        phase = Signal(range(ENTRY_HEADER))
        longest = min(256**chip.size_bytes, self.identity.buffer_bytes) if chip.packs else 0
        left = Signal(range(max(*sizes.unit.values(), 6, longest)))
        last = Signal()
        next_byte = Signal()
        m.d.comb += last.eq(left == 0)
        with m.If(next_byte):
            m.d.sync += left.eq(Mux(last, unit - 1, left - 1))

        more, less = Signal(), Signal()
        with m.If(more | less):
            m.d.sync += count.eq(count + Mux(less, -1, 1))
        forward = Signal()
        with m.If(forward):
            m.d.sync += address.eq(address + 1)

        # What follows the loaded bytes is not sent, so the widest source may stay behind the others.
        shift, load = Signal(), Signal()
        loaded = Signal.like(word)
        weight_data = delayed(m, weights.read_data.as_value(), chip.pipelined)
        m.d.comb += loaded.eq(delayed(m, counters.read_data.as_value(), chip.pipelined))
        shows_status = one_of(Command.STATUS, Command.CYCLES, Command.SIGNATURE)
        with m.Switch(command):
            with m.Case(Command.READ_WEIGHTS):
                m.d.comb += loaded[: len(weight_data)].eq(weight_data)
            with m.Case(Command.IDENTIFY):
                m.d.comb += loaded[:8].eq(Mux(result == Result.OK, constant.data, expected))
            with m.Case(Command.STATUS, Command.CYCLES, Command.SIGNATURE):
                m.d.comb += loaded[: 8 * VALUE_BYTES].eq(trainer.status.value)
        with m.If(load):
            m.d.sync += word.eq(loaded)
        with m.Elif(shift):
            m.d.sync += word.eq(Cat(word[8:], reader.data))

        memory_words = chosen(sizes.memory)
        length = Signal(range(2 ** len(count) * max(sizes.answer.values())))
        end = Signal(range(2 * (max(places, self.identity.buffer_bytes) + 1)))  # address behind the last word
        m.d[behind] += [length.eq(0), end.eq(address + count)]
        bad_address, bad_length = Signal(), Signal()
        m.d[behind] += [
            bad_address.eq(one_of(*sizes.memory) & (far | (end > memory_words))),
            bad_length.eq(length > MAX_LENGTH),
        ]
        for size in set(sizes.answer.values()):
            with m.If(one_of(*(key for key in sizes.answer if sizes.answer[key] == size))):
                m.d[behind] += length.eq(count * size)

        m.d.comb += [
            header.payload.sequence.eq(sequence),
            header.payload.result.eq(result),
            header.payload.length.eq(length),
            trainer.samples.label.eq(label),
            trainer.samples.infer.eq(infers),
            trainer.register.index.eq(number),
            trainer.register.value.eq(word[-8 * VALUE_BYTES :]),
            trainer.command.payload.eq(Mux(command == Command.RESET, TrainerCommand.RESET, TrainerCommand.END_BATCH)),
            trainer.status.index.eq(address),
            *_split(address, weights.read_bank, weights.read_address),
            *_split(address, weights.write_bank, weights.write_address),
            weights.write_data.eq(word[-8 * weight_bytes(chip) :]),
            *_split(address, counters.read_bank, counters.read_address),
            *_split(address, counters.write_bank, counters.write_address),
            counters.write_data.eq(word[-8 * counter_bytes(chip) :]),
            constant.addr.eq(address),
        ]

        # A sample's bytes come from the buffer, or from the store: there each is asked for a cycle earlier.
        stored, offered, final = Const(0), reader.data, last
        if chip.store_samples:
            store = self.store
            stored, asked_for_last = one_of(Command.TRAIN_STORED), Signal()
            offered, final = Mux(stored, store.read_data, reader.data), Mux(stored, asked_for_last, last)
            with m.If(next_byte):
                m.d.sync += asked_for_last.eq(last)
            m.d.comb += [
                store.sample.eq(address),
                store.byte.eq(left),
                store.read.eq(next_byte),
                store.write_data.eq(reader.data),
            ]
            # What was never stored may have any label.
            with m.If(label[: len(trainer.samples.label)] >= chip.classes):
                m.d.comb += trainer.samples.label.eq(label[: len(trainer.samples.label) - 1])

        # A packed sample's come from the buffer, as many as its size says: `left` counts them down from that to 1.
        counted, padding = stored, final  # `counted`: labels are, as bytes of the sample
        if chip.packs:
            following, high = Signal(8 * chip.size_bytes), Signal()  # bytes of the item behind it; `high`: of two
            packed = chosen(dict.fromkeys(PACKED_COMMANDS, 1))
            counted, padding, final = stored | packed, final & ~packed, Mux(packed, (left[1:] == 0) & left[0], final)
            m.d.comb += [trainer.samples.packed.eq(packed), trainer.samples.last.eq(final)]

        def refuse(reason: Result) -> None:
            m.d.sync += result.eq(reason)
            m.next = "REFUSE"

        arriving = Signal()
        with m.If(~arriving):
            m.d.sync += remaining.eq(remaining - reader.step)

        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += reader.mark.eq(1)
                m.d.sync += [phase.eq(0), second.eq(0), wrong.eq(0)]
                with m.If(reader.available):
                    m.next = "HEADER"

            # First pass ---------------------------------------------------------------------------------------------

            with m.State("HEADER"):
                m.d.comb += [reader.step.eq(1), arriving.eq(1)]
                m.d.sync += phase.eq(phase + 1)
                with m.Switch(phase):
                    targets = result, sequence, Cat(command, alien), remaining[:8], remaining[8:]
                    for index, target in enumerate(targets):
                        with m.Case(index):
                            m.d.sync += target.eq(reader.data)
                with m.If(phase == ENTRY_HEADER - 1):
                    m.next = "CHECK"

            with m.State("CHECK"):
                m.d.sync += left.eq(Mux(prologue == 0, unit, prologue) - 1)
                with m.If(result != Result.OK):
                    with m.If(result != Result.BAD_CRC):  # the entry ends here, whatever its length says
                        m.d.sync += remaining.eq(0)
                    m.next = "REFUSE"
                with m.Elif(alien.any() | ~one_of(*commands)):
                    refuse(Result.UNKNOWN_COMMAND)
                with m.Elif((sequence != expected) & (command != Command.IDENTIFY)):
                    refuse(Result.BAD_SEQUENCE)
                with m.Elif(prologue == 0):
                    m.next = "PREPARE"
                with m.Else():
                    m.next = "PROLOGUE"

            with m.State("PROLOGUE"):
                with m.If(remaining == 0):
                    refuse(Result.BAD_LENGTH)
                with m.Else():
                    m.d.comb += [reader.step.eq(1), shift.eq(1), next_byte.eq(1)]
                    with m.If(last):
                        m.next = "PREPARE"

            with m.State("PREPARE"):
                many, start = word[-48:-32], word[-32:]
                m.d.comb += reader.mark.eq(1)
                m.d.sync += [address.eq(start), far.eq(start[len(address) :].any())]
                m.d.sync += count.eq(range_words)
                with m.If(one_of(*rom.ranges)):
                    m.d.sync += address.eq(range_start)
                with m.If(one_of(Command.READ_WEIGHTS, Command.READ_COUNTERS)):
                    m.d.sync += count.eq(many)
                    with m.If(many[len(count) :].any()):
                        m.d.sync += far.eq(1)
                m.next = "ITEM"

            with m.State("ITEM"):
                m.d.sync += [number.eq(reader.data), below.eq(0), above.eq(0)]
                with m.If(wrong):
                    refuse(Result.BAD_LABEL)
                with m.Elif(remaining == 0):
                    m.next = "WEIGH"
                with m.Elif(remaining < item):
                    refuse(Result.BAD_LENGTH)
                if chip.packs:
                    with m.Elif(packed):
                        m.d.comb += reader.step.eq(1)
                        m.d.sync += following.eq(Cat(following[8:], reader.data))
                        m.next = "SIZE_CHECK" if chip.size_bytes == 1 else "SIZE_HIGH"
                with m.Elif(one_of(*sizes.labelled)):
                    if chip.label_bytes == 2:
                        m.d.comb += reader.step.eq(1)
                        m.d.sync += label.eq(Cat(label[8:], reader.data))
                        m.next = "LABEL_CHECK"
                    else:
                        # Refused in the next cycle, so that the next byte's address does not wait for this one.
                        m.d.comb += [reader.step.eq(item), more.eq(1)]
                        m.d.sync += wrong.eq(reader.data >= chip.classes)
                if chip.store_samples:
                    with m.Elif(stored):
                        m.d.comb += reader.step.eq(1)
                        m.next = "NUMBER_CHECK"
                        with m.If(reader.data[ceil_log2(chip.store_samples) :].any()):
                            refuse(Result.BAD_ADDRESS)
                with m.Elif(command == Command.CONFIGURE):
                    m.d.comb += reader.step.eq(1)
                    m.d.sync += wrong.eq(reader.data >= len(rom.numbers))
                    m.next = "LIMITS"
                with m.Else():
                    m.d.comb += [reader.step.eq(item), more.eq(1)]

            if chip.packs:
                if chip.size_bytes == 2:
                    with m.State("SIZE_HIGH"):
                        m.d.comb += reader.step.eq(1)
                        m.d.sync += following.eq(Cat(following[8:], reader.data))
                        m.next = "SIZE_CHECK"

                misfit, trains = Signal(), command == Command.TRAIN_PACKED
                with m.State("SIZE_CHECK"):  # looked at in the next cycle, so that no address waits for it
                    m.d.sync += misfit.eq((following <= Mux(trains, chip.label_bytes, 0)) | (following > remaining))
                    m.next = "SIZED"

                with m.State("SIZED"):
                    m.next = "ITEM"
                    with m.If(misfit):
                        refuse(Result.BAD_LENGTH)
                    if chip.label_bytes == 2:
                        with m.Elif(trains):
                            m.d.comb += reader.step.eq(1)
                            m.d.sync += [label.eq(Cat(label[8:], reader.data)), following.eq(following - 1)]
                            m.next = "LABEL_CHECK"
                    with m.Else():
                        m.d.comb += [reader.step.eq(following), more.eq(1)]
                        m.d.sync += wrong.eq(trains & (reader.data >= chip.classes))

            if chip.store_samples:
                with m.State("NUMBER_CHECK"):
                    m.d.comb += [reader.step.eq(1), more.eq(1)]
                    m.next = "ITEM"
                    with m.If(reader.data[max(0, ceil_log2(chip.store_samples) - 8) :].any()):
                        refuse(Result.BAD_ADDRESS)

            if chip.label_bytes == 2:
                with m.State("LABEL_CHECK"):
                    m.d.comb += [reader.step.eq(item - 1), more.eq(1)]
                    if chip.packs:
                        with m.If(packed):
                            m.d.comb += reader.step.eq(following)
                    m.d.sync += wrong.eq(Cat(label[8:], reader.data) >= chip.classes)
                    m.next = "ITEM"

            with m.State("LIMITS"):
                m.d.comb += constant.addr.eq(Cat(left[:2], number))
                m.next = "LOOK" if chip.pipelined else "RANGE"
                with m.If(wrong):
                    refuse(Result.BAD_REGISTER)

            byte, limits = reader.data, constant.data
            if chip.pipelined:  # what two memories say is registered before it is compared
                byte, limits = Signal(8), Signal.like(constant.data)
                with m.State("LOOK"):
                    m.d.sync += [byte.eq(reader.data), limits.eq(constant.data)]
                    m.next = "RANGE"

            with m.State("RANGE"):
                # The lowest byte comes first, so each byte outweighs what was found before it.
                m.d.comb += constant.addr.eq(Cat((left - 1)[:2], number))
                raw, is_below, is_above = Signal(8), Signal(), Signal()
                sign = Mux(number.matches(*rom.signed) & last, SIGN, 0)
                m.d.comb += [
                    raw.eq(byte ^ sign),
                    is_below.eq(raw < limits[:8] + below),
                    is_above.eq(raw + above > limits[8:]),
                ]
                m.d.sync += [below.eq(is_below), above.eq(is_above)]
                m.d.comb += [reader.step.eq(1), next_byte.eq(1)]
                if chip.pipelined:
                    m.next = "LOOK"
                with m.If(last):
                    m.next = "IN_RANGE"

            with m.State("IN_RANGE"):
                with m.If(below | above):
                    refuse(Result.BAD_VALUE)
                with m.Else():
                    m.d.comb += more.eq(1)
                    m.next = "ITEM"

            with m.State("WEIGH"):  # the last item counts, and what follows from that is known a cycle later
                m.next = "ACCEPT"

            with m.State("ACCEPT"):
                with m.If(bad_address):
                    refuse(Result.BAD_ADDRESS)
                with m.Elif(bad_length):
                    refuse(Result.BAD_LENGTH)
                with m.Elif((command == Command.RESET) & (word[-8 * VALUE_BYTES :] == 0)):
                    refuse(Result.BAD_VALUE)
                with m.Elif(trainer.idle | ~waits):
                    m.d.comb += reader.rewind.eq(1)
                    m.d.sync += [expected.eq(sequence + 1), number.eq(rom.numbers["rng"])]
                    with m.Switch(command):
                        with m.Case(Command.RESET):
                            m.next = "WRITE"
                        with m.Case(Command.END_BATCH):
                            m.next = "COMMAND"
                        for key in filter(_APPLY.__contains__, commands):
                            with m.Case(key):
                                m.next = _APPLY[key]
                                with m.If(count == 0):
                                    m.next = "ANSWER"
                        with m.Default():
                            m.next = "ANSWER"

            with m.State("REFUSE"):
                # From here on it is a request to read one byte, the expected number.
                m.d.comb += reader.step.eq(remaining)
                m.d.sync += [command.eq(Command.IDENTIFY), count.eq(REFUSAL_BYTES), left.eq(0)]
                m.next = "REFUSED"

            with m.State("REFUSED"):  # what follows from the command and the number of items is there a cycle later
                m.next = "ANSWER"

            # Second pass: into the chip -----------------------------------------------------------------------------

            if chip.store_samples:
                with m.State("LOOK_UP"):
                    m.d.comb += [reader.mark.eq(1), reader.step.eq(1), shift.eq(1)]
                    m.d.sync += [second.eq(~second), address.eq(Cat(word[-8:], reader.data))]
                    with m.If(second):
                        m.next = "REQUEST"

                with m.State("REQUEST"):
                    m.d.comb += next_byte.eq(1)
                    m.next = "LABEL"

            if chip.packs:
                with m.State("SIZE"):
                    m.d.comb += [reader.mark.eq(1), reader.step.eq(1)]
                    m.d.sync += left.eq(reader.data)
                    if chip.size_bytes == 2:
                        m.d.sync += [following.eq(Cat(following[8:], reader.data)), high.eq(~high)]
                        m.d.sync += left.eq(Cat(following[8:], reader.data))
                    with m.If(high == chip.size_bytes - 1):
                        m.next = "LABEL"
                        with m.If(infers):
                            m.next = "FEED"

            with m.State("LABEL"):
                m.d.comb += [reader.mark.eq(1), reader.step.eq(~stored), next_byte.eq(counted)]
                m.d.sync += label.eq(Cat(label[8:], offered))
                if chip.label_bytes == 2:
                    m.d.sync += second.eq(~second)
                    with m.If(second):
                        m.next = "FEED"
                else:
                    m.next = "FEED"

            with m.State("FEED"):
                used = 8 - -chip.inputs % 8  # bits of a sample's last byte
                m.d.comb += [
                    reader.mark.eq(1),
                    trainer.samples.stream.valid.eq(1),
                    trainer.samples.stream.payload.eq(offered & Mux(padding, 2**used - 1, 0xFF)),
                ]
                with m.If(trainer.samples.stream.ready):
                    m.d.comb += [reader.step.eq(~stored), next_byte.eq(~(stored & final))]
                    with m.If(final):
                        m.d.comb += less.eq(1)
                        with m.If(command == Command.TRAIN):
                            m.next = "LABEL"
                        if chip.store_samples:
                            with m.If(stored):
                                m.next = "LOOK_UP"
                        if chip.packs:
                            with m.If(packed):
                                m.next = "SIZE"
                        with m.If(count == 1):
                            m.next = "ANSWER"
                            with m.If(infers):
                                m.next = "IDLE" if chip.pipelined else "DRAIN"

            with m.State("NUMBER"):
                m.d.comb += [reader.mark.eq(1), reader.step.eq(1)]
                m.d.sync += number.eq(reader.data)
                m.next = "COLLECT"

            with m.State("COLLECT"):
                m.d.comb += [reader.mark.eq(1), reader.step.eq(1), shift.eq(1), next_byte.eq(1)]
                if chip.store_samples:
                    m.d.comb += store.write.eq(command == Command.STORE)
                with m.If(last):
                    m.next = "WRITE"

            with m.State("WRITE"):
                m.d.comb += [
                    weights.write.eq(command == Command.WRITE_WEIGHTS),
                    counters.write.eq(command == Command.WRITE_COUNTERS),
                    trainer.register.write.eq(one_of(Command.CONFIGURE, Command.RESET)),
                    less.eq(1),
                    forward.eq(1),
                ]
                m.next = "COLLECT"
                with m.If(command == Command.CONFIGURE):
                    m.next = "NUMBER"
                with m.If(command == Command.RESET):
                    m.next = "COMMAND"
                with m.Elif(count == 1):
                    m.next = "ANSWER"

            with m.State("COMMAND"):
                m.d.comb += trainer.command.valid.eq(1)
                with m.If(trainer.command.ready):
                    m.next = "ANSWER"

            # Second pass: out of the chip ---------------------------------------------------------------------------

            with m.State("ANSWER"):
                # What else is answered has to wait until all predictions before it have left.
                m.d.comb += header.valid.eq(infers | (owed == 0) if chip.pipelined else 1)
                with m.If(header.valid & header.ready):
                    m.next = "IDLE"
                    with m.If(reads & (count != 0)):
                        m.next = "FETCH"
                        with m.If(command == Command.INFER):
                            m.next = "FEED"
                        if chip.packs:
                            with m.If(command == Command.INFER_PACKED):
                                m.next = "SIZE"

            with m.State("FETCH"):
                m.d.comb += [
                    weights.read.eq(command == Command.READ_WEIGHTS),
                    counters.read.eq(command == Command.READ_COUNTERS),
                    trainer.status.read.eq(1),
                    less.eq(1),
                ]
                m.next = "WAIT" if chip.pipelined else "LOAD"

            if chip.pipelined:
                waited = Signal(range(chip.read_latency))
                with m.State("WAIT"):
                    m.d.sync += waited.eq(waited + 1)
                    with m.If(waited == chip.read_latency - 1):
                        m.d.sync += waited.eq(0)
                        m.next = "LOAD"

            with m.State("LOAD"), m.If(trainer.status.valid | ~shows_status):
                m.d.comb += [load.eq(1), forward.eq(1)]
                m.next = "EMIT"

            with m.State("EMIT"):
                m.d.comb += [payload.valid.eq(1), payload.payload.eq(word[:8])]
                with m.If(payload.ready):
                    m.d.comb += [shift.eq(1), next_byte.eq(1)]
                    with m.If(last):
                        m.next = "FETCH"
                        with m.If(count == 0):
                            m.next = "IDLE"

            if not chip.pipelined:
                with m.State("DRAIN"), m.If(header.ready):  # the last prediction has been sent
                    m.next = "IDLE"

        # Predictions come while later samples of the same request still go in, in fast chips of later ones, too.
        predictions, second_byte = trainer.predictions, second
        if chip.pipelined:
            asked = trainer.samples.stream.valid & trainer.samples.stream.ready & final & infers
            m.d.sync += owed.eq(owed + asked - (predictions.valid & predictions.ready))
            if chip.label_bytes == 2:
                second_byte = Signal()
        with m.If(owed != 0 if chip.pipelined else infers):
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
        return m


_APPLY = {
    Command.CONFIGURE: "NUMBER",
    Command.TRAIN: "LABEL",
    Command.WRITE_WEIGHTS: "COLLECT",
    Command.WRITE_COUNTERS: "COLLECT",
    Command.STORE: "COLLECT",
    Command.TRAIN_STORED: "LOOK_UP",
    Command.TRAIN_PACKED: "SIZE",
}
"""Where the second pass of a request with items begins; INFER and INFER_PACKED answer first."""


def _split(address: Signal, bank: Signal, row: Signal) -> list:
    """The host counts through the words of all banks: the bank is the lowest bits."""
    return [bank.eq(address[: len(bank)]), row.eq(address[len(bank) :])]


class _Sizes:
    """Bytes and words of what commands carry, for one chip."""

    def __init__(self, chip: ChipConfig):
        self.weight_words = chip.weight_map.size
        self.counter_words = chip.counter_map.size
        self.memory = {
            Command.READ_WEIGHTS: self.weight_words,
            Command.WRITE_WEIGHTS: self.weight_words,
            Command.READ_COUNTERS: self.counter_words,
            Command.WRITE_COUNTERS: self.counter_words,
        }
        """Words of the memory a command goes to."""
        self.item = {
            Command.CONFIGURE: 1 + VALUE_BYTES,
            Command.TRAIN: chip.label_bytes + chip.input_bytes,
            Command.INFER: chip.input_bytes,
            Command.WRITE_WEIGHTS: weight_bytes(chip),
            Command.WRITE_COUNTERS: counter_bytes(chip),
        }
        """Bytes of an item of a request."""
        self.answer = {
            Command.IDENTIFY: 1,
            Command.INFER: chip.label_bytes,
            Command.READ_WEIGHTS: weight_bytes(chip),
            Command.READ_COUNTERS: counter_bytes(chip),
            Command.STATUS: VALUE_BYTES,
            Command.CYCLES: VALUE_BYTES,
            Command.SIGNATURE: VALUE_BYTES,
        }
        """Bytes of an answer for each item or word."""
        self.unit = {
            **self.answer,
            **self.item,
            Command.CONFIGURE: VALUE_BYTES,
            Command.TRAIN: chip.input_bytes,
        }
        """Bytes the second pass takes in one go: a word, a value, or a sample or its inputs."""
        self.labelled = [Command.TRAIN]
        """Commands whose items begin with a label."""
        if chip.packs:
            self.item |= {  # at least
                Command.TRAIN_PACKED: chip.size_bytes + chip.label_bytes + 1,
                Command.INFER_PACKED: chip.size_bytes + 1,
            }
            self.answer[Command.INFER_PACKED] = chip.label_bytes
        if chip.store_samples:
            self.labelled.append(Command.STORE)
            self.memory[Command.STORE] = chip.store_samples
            self.item |= {Command.STORE: chip.sample_bytes, Command.TRAIN_STORED: NUMBER_BYTES}
            self.unit |= {Command.STORE: chip.sample_bytes, Command.TRAIN_STORED: chip.sample_bytes}


class _Rom:
    """The constants: each register's range, then the identity; and which words IDENTIFY and the status commands send.

    A range is four entries at ``4·number``, the value's highest byte first; the low limit's byte is in bits 0 … 7, the
    high limit's in bits 8 … 15. The limits of registers that can be negative have their sign bit inverted, so that
    unsigned comparison orders them.
    """

    def __init__(self, chip: ChipConfig, identity: Identity):
        known = registers(chip)
        self.numbers = {register.name: number for number, register in enumerate(known)}
        self.signed = [number for number, register in enumerate(known) if register.signed]
        self.content: list[int] = []
        for register in known:
            bias = SIGN << 8 * (VALUE_BYTES - 1) if register.signed else 0
            low, high = (
                ((limit + bias) % 2**32).to_bytes(VALUE_BYTES, "big") for limit in (register.low, register.high)
            )
            self.content += [a | b << 8 for a, b in zip(low, high, strict=True)]
        start = len(self.content)
        self.content += identity.pack()

        names = [word.name for word in status_words(chip)]
        cycles, signature = names.index(CYCLE_COUNTERS[0].name), names.index("signature")
        self.ranges = {
            Command.IDENTIFY: range(start, len(self.content)),
            Command.STATUS: range(len(names)),
            Command.CYCLES: range(cycles, cycles + len(CYCLE_COUNTERS)),
            Command.SIGNATURE: range(signature, signature + 1),
        }
        self.end = max(words.stop for words in self.ranges.values())
