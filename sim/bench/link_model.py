"""The chip's end of the link in Python: bytes in, answers out, and the effects on a trainer, in order."""

from __future__ import annotations

import random
import struct
import zlib
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from popflip.golden.common.order import permuted
from popflip.golden.config import Rule
from popflip.hw.config import ChipConfig
from popflip.hw.link.buffer import counter_bytes, longest_payload, weight_bytes
from popflip.hw.link.codec import HEADER_BYTES, MAX_LENGTH, OPEN, OVERHEAD, SYNC, Frame, decode, payload_length
from popflip.hw.link.commands import Command, Refusal, Result, commands_of
from popflip.hw.link.identity import Identity
from popflip.hw.link.store import stride
from popflip.hw.link.tables import NONCE_BITS
from popflip.hw.registers import CYCLE_COUNTERS, KEY, LAST_SAMPLE, registers, status_words
from popflip.hw.trainer_port import TrainerCommand


class Entry(NamedTuple):
    """The receiver's entry for a frame. It has no payload if the length is not trustworthy."""

    verdict: Result
    sequence: int
    command: int
    payload: bytes
    session: int


class ReceiverModel:
    """:class:`popflip.hw.link.receiver.FrameReceiver`: finds frames of ``session`` in bytes."""

    def __init__(self, longest: int):
        self.longest = longest
        self.session = OPEN
        self._bytes = bytearray()
        self._begun = OPEN  # session of the frame whose bytes are coming

    def feed(self, data: bytes) -> list[Entry]:
        """The entries that ``data`` completes."""
        entries = []
        for byte in data:
            if not self._bytes:
                self._begun = self.session
            if self._bytes or byte == SYNC:
                self._bytes.append(byte)
                entry = self._entry()
                if entry is not None:
                    entries.append(entry)
                    self._bytes.clear()
        return entries

    def _entry(self) -> Entry | None:
        content, session = bytes(self._bytes), self._begun
        if len(content) < HEADER_BYTES:
            return None
        length = payload_length(content[:HEADER_BYTES], session)
        if length is None:
            return Entry(Result.BAD_HEADER, content[1], content[2], b"", session)
        if length > self.longest:
            return Entry(Result.TOO_LONG, content[1], content[2], b"", session)
        if len(content) < OVERHEAD + length:
            return None
        verdict = Result.BAD_CRC if decode(content, session) is None else Result.OK
        return Entry(verdict, content[1], content[2], content[HEADER_BYTES : HEADER_BYTES + length], session)


@dataclass
class TrainerModel:
    """A trainer behind :class:`popflip.hw.trainer_port.TrainerSignature` that learns nothing.

    ``events`` lists samples, commands and register writes in order. Memories and status words hold random bits; the
    prediction of a sample is a hash of its bytes.
    """

    chip: ChipConfig
    seed: int
    events: list[tuple[Any, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        chip, draw = self.chip, random.Random(self.seed)
        weight, counter = chip.weight_bits * chip.array_synapses, chip.counter_bits * chip.array_synapses
        self.weights = [draw.getrandbits(weight) for _ in range(chip.weight_map.size)]
        self.counters = [draw.getrandbits(counter) for _ in range(chip.counter_map.size)]
        self.status = [draw.getrandbits(32) for _ in status_words(chip)]

    def sample(self, inputs: bytes, label: int | None) -> int:
        """Trains on a sample, or classifies it if ``label`` is None. Returns its prediction."""
        self.events.append(("sample", inputs.hex(), label))
        return zlib.crc32(inputs) % self.chip.classes

    def packed(self, content: bytes, label: int | None) -> int:
        """:meth:`sample` for a packed sample."""
        self.events.append(("packed", content.hex(), label))
        return zlib.crc32(content) % self.chip.classes

    def command(self, command: TrainerCommand) -> None:
        """Records a command."""
        self.events.append(("command", command.name))

    def write_register(self, number: int, value: int) -> None:
        """Records a register write; ``value`` has 32 bits."""
        self.events.append(("register", number, value))


class Refused(Exception):
    """The request is refused, with this result."""

    def __init__(self, result: Result):
        super().__init__(result)
        self.result = result


class LinkModel:
    """:class:`popflip.hw.link.link.Link`, connected to ``trainer``, a :class:`TrainerModel` or a class like it.

    ``memory`` is the initial content of the sample store; ``nonce`` what the chip adds to the number of the next
    session. All frames that one call of :meth:`feed` completes begin before the first of them is executed.
    """

    def __init__(self, chip: ChipConfig, identity: Identity, trainer: Any, memory: bytes = b"", nonce: int = 0):
        self.chip, self.identity, self.trainer, self.nonce = chip, identity, trainer, nonce
        self.expected = 0
        self.session = OPEN
        self.commands = commands_of(chip)
        size = stride(chip)
        memory = memory.ljust(chip.store_samples * size, b"\0")
        self.store = [self._kept(memory[first : first + size]) for first in range(0, len(memory), size)]
        self.last_sample, self.key = 0, (0, 0, 0)
        self._receiver = ReceiverModel(longest_payload(identity.buffer_bytes))
        self._registers = registers(chip)
        self._names = [word.name for word in status_words(chip)]

    def feed(self, data: bytes) -> list[Frame]:
        """The answers to the frames that ``data`` completes."""
        answers = [self._answer(entry) for entry in self._receiver.feed(data)]
        self._receiver.session = self.session
        return answers

    def _answer(self, entry: Entry) -> Frame:
        try:
            payload = self._execute(entry)
            identifies = entry.command == Command.IDENTIFY
            return Frame(entry.sequence, Result.OK, payload, OPEN if identifies else self.session)
        except Refused as refused:
            return Frame(entry.sequence, refused.result, Refusal(self.session, self.expected).pack())

    def _execute(self, entry: Entry) -> bytes:
        """Checks the whole request, then applies it. Returns the payload of the answer."""
        if entry.verdict != Result.OK:
            raise Refused(entry.verdict)
        if entry.command not in self.commands:
            raise Refused(Result.UNKNOWN_COMMAND)
        if entry.session != self.session or (self.session == OPEN and entry.command != Command.IDENTIFY):
            raise Refused(Result.BAD_SESSION)
        command = Command(entry.command)
        if entry.sequence != self.expected and command != Command.IDENTIFY:
            raise Refused(Result.BAD_SEQUENCE)
        size = self.commands[command].request_bytes
        if len(entry.payload) < size:
            raise Refused(Result.BAD_LENGTH)
        apply = getattr(self, f"_{command.name.lower()}")(entry.payload[:size], entry.payload[size:])
        self.expected = (entry.sequence + 1) % 256
        return apply()

    def _items(self, rest: bytes, size: int):
        """The items in ``rest``. Raises :class:`Refused` if the last one is cut short."""
        for start in range(0, len(rest), size):
            if start + size > len(rest):
                raise Refused(Result.BAD_LENGTH)
            yield rest[start : start + size]

    def _constant(self, rest: bytes, payload: bytes):
        if rest:
            raise Refused(Result.BAD_LENGTH)
        return lambda: payload

    def _identify(self, request: bytes, rest: bytes):
        number = int.from_bytes(request, "little")
        if rest:
            raise Refused(Result.BAD_LENGTH)
        if not number % 2**NONCE_BITS:
            raise Refused(Result.BAD_VALUE)

        def apply() -> bytes:
            self.session = number ^ self.nonce << NONCE_BITS
            return struct.pack("<I", self.session) + self.identity.pack()

        return apply

    def _words(self, rest: bytes, names: list[str]):
        status = self.trainer.status
        return self._constant(rest, b"".join(struct.pack("<I", status[self._names.index(name)]) for name in names))

    def _status(self, request: bytes, rest: bytes):
        return self._words(rest, self._names)

    def _cycles(self, request: bytes, rest: bytes):
        return self._words(rest, [word.name for word in CYCLE_COUNTERS])

    def _signature(self, request: bytes, rest: bytes):
        return self._words(rest, ["signature"])

    def _configure(self, request: bytes, rest: bytes):
        writes = []
        for content in self._items(rest, 5):
            number, value = struct.unpack("<BI", content)
            if number >= len(self._registers):
                raise Refused(Result.BAD_REGISTER)
            register = self._registers[number]
            signed = value - 2**32 if register.signed and value >= 2**31 else value
            if not register.low <= signed <= register.high:
                raise Refused(Result.BAD_VALUE)
            writes.append((number, value))

        def apply() -> bytes:
            for number, value in writes:
                if self._registers[number].name == LAST_SAMPLE:
                    self.last_sample = value
                if self._registers[number].name == KEY:
                    self.key = (*self.key[1:], value)
                self.trainer.write_register(number, value)
            return b""

        return apply

    def _reset(self, request: bytes, rest: bytes):
        rng = int.from_bytes(request, "little")
        if rest:
            raise Refused(Result.BAD_LENGTH)
        if not rng:
            raise Refused(Result.BAD_VALUE)

        def apply() -> bytes:
            self.trainer.write_register([register.name for register in self._registers].index("rng"), rng)
            self.trainer.command(TrainerCommand.RESET)
            return b""

        return apply

    def _end_batch(self, request: bytes, rest: bytes):
        if rest:
            raise Refused(Result.BAD_LENGTH)

        def apply() -> bytes:
            self.trainer.command(TrainerCommand.END_BATCH)
            return b""

        return apply

    def _inputs(self, content: bytes) -> bytes:
        """A sample's bytes as the trainer receives them: bits past the last input are 0."""
        bits = int.from_bytes(content, "little") & (1 << self.chip.inputs) - 1
        return bits.to_bytes(len(content), "little")

    def _label(self, content: bytes) -> int:
        return int.from_bytes(content[: self.chip.label_bytes], "little")

    def _samples(self, rest: bytes) -> list[bytes]:
        samples = []
        for content in self._items(rest, self.chip.sample_bytes):
            if self._label(content) >= self.chip.classes:
                raise Refused(Result.BAD_LABEL)
            samples.append(content)
        return samples

    def _train(self, request: bytes, rest: bytes):
        samples = self._samples(rest)

        def apply() -> bytes:
            for content in samples:
                self.trainer.sample(self._inputs(content[self.chip.label_bytes :]), self._label(content))
            return b""

        return apply

    def _store(self, request: bytes, rest: bytes):
        (first,) = struct.unpack("<I", request)
        samples = self._items_to_store(rest)
        if first + len(samples) > self.chip.store_samples:
            raise Refused(Result.BAD_ADDRESS)

        def apply() -> bytes:
            self.store[first : first + len(samples)] = samples
            return b""

        return apply

    def _items_to_store(self, rest: bytes) -> list[bytes]:
        """Labels and inputs of the items of STORE."""
        if not self.chip.packs:
            return self._samples(rest)
        samples = [label + inputs for label, inputs in self._packed(rest, self.chip.label_bytes, self._longest)]
        return samples

    @property
    def _longest(self) -> int:
        """Most bytes of a stored sample without its size."""
        return stride(self.chip) - self.chip.size_bytes

    def _kept(self, place: bytes) -> bytes:
        """The sample in a place of the store, whatever it holds. It has at least one byte of inputs."""
        if not self.chip.packs:
            return place[: self.chip.sample_bytes]
        size = int.from_bytes(place[: self.chip.size_bytes], "little")
        content = place[self.chip.size_bytes :]
        return content[:size] if self.chip.label_bytes < size <= len(content) else content

    def _train_stored(self, request: bytes, rest: bytes):
        numbers = []
        for content in self._items(rest, self.chip.number_bytes):
            number = int.from_bytes(content, "little")
            if number >= self.chip.store_samples:
                raise Refused(Result.BAD_ADDRESS)
            numbers.append(number)

        def apply() -> bytes:
            for number in numbers:
                self._feed(number, True)
            return b""

        return apply

    def _feed(self, number: int, train: bool) -> int:
        """Give the trainer a stored sample. Returns its prediction."""
        bits = (self.chip.classes - 1).bit_length()
        content = self.store[number]
        label, inputs = self._label(content) % (1 << bits), content[self.chip.label_bytes :]
        if label >= self.chip.classes:  # a position never written
            label %= 1 << bits - 1
        if self.chip.packs:
            return self.trainer.packed(inputs, label if train else None)
        return self.trainer.sample(self._inputs(inputs), label if train else None)

    def _walk(self, request: bytes, pieces: int) -> tuple[int, list[int]]:
        """Samples of a piece, and the numbers of the samples of all pieces."""
        samples, first = struct.unpack("<HI", request)
        places = range(first, first + samples * pieces)
        if not samples or first > self.last_sample or places[-1] > self.last_sample:
            raise Refused(Result.BAD_ADDRESS)
        key = tuple(half for word in self.key for half in (word & 0xFFFF, word >> 16))
        return samples, permuted(key, self.last_sample + 1, np.array(places)).tolist()

    def _train_set(self, request: bytes, rest: bytes):
        names = [register.name for register in self._registers]
        layers = self.chip.depth if self.chip.rule == Rule.GFT else 0
        if rest and not layers:
            raise Refused(Result.BAD_LENGTH)
        schedule = []
        for content in self._items(rest, 4 * layers or 1):
            flips = struct.unpack(f"<{layers}I", content)
            for layer, value in enumerate(flips):
                if value > self._registers[names.index(f"k{layer}")].high:
                    raise Refused(Result.BAD_VALUE)
            schedule.append(flips)
        samples, numbers = self._walk(request, max(1, len(schedule)))

        def apply() -> bytes:
            for piece in range(max(1, len(schedule))):
                for number in numbers[piece * samples : (piece + 1) * samples]:
                    self._feed(number, True)
                if schedule:
                    for layer, value in enumerate(schedule[piece]):
                        self.trainer.write_register(names.index(f"k{layer}"), value)
                    self.trainer.command(TrainerCommand.END_BATCH)
            return b""

        return apply

    def _infer_set(self, request: bytes, rest: bytes):
        if rest:
            raise Refused(Result.BAD_LENGTH)
        _, numbers = self._walk(request, 1)
        size = self.chip.label_bytes
        if len(numbers) * size > MAX_LENGTH:
            raise Refused(Result.BAD_LENGTH)
        return lambda: b"".join(self._feed(number, False).to_bytes(size, "little") for number in numbers)

    def _infer(self, request: bytes, rest: bytes):
        samples = [self._inputs(content) for content in self._items(rest, self.chip.input_bytes)]
        size = self.chip.label_bytes
        if len(samples) * size > MAX_LENGTH:
            raise Refused(Result.BAD_LENGTH)
        return lambda: b"".join(self.trainer.sample(sample, None).to_bytes(size, "little") for sample in samples)

    def _packed(self, rest: bytes, label_bytes: int, most: int = MAX_LENGTH) -> list[tuple[bytes, bytes]]:
        """The labels and inputs of packed samples with sizes of at most ``most``."""
        samples, size_bytes = [], self.chip.size_bytes
        while rest:
            if len(rest) < size_bytes + label_bytes + 1:
                raise Refused(Result.BAD_LENGTH)
            size, rest = int.from_bytes(rest[:size_bytes], "little"), rest[size_bytes:]
            if not label_bytes < size <= min(len(rest), most):
                raise Refused(Result.BAD_LENGTH)
            if label_bytes and self._label(rest) >= self.chip.classes:
                raise Refused(Result.BAD_LABEL)
            samples.append((rest[:label_bytes], rest[label_bytes:size]))
            rest = rest[size:]
        return samples

    def _train_packed(self, request: bytes, rest: bytes):
        samples = self._packed(rest, self.chip.label_bytes)

        def apply() -> bytes:
            for label, content in samples:
                self.trainer.packed(content, self._label(label))
            return b""

        return apply

    def _infer_packed(self, request: bytes, rest: bytes):
        samples, size = self._packed(rest, 0), self.chip.label_bytes
        if len(samples) * size > MAX_LENGTH:
            raise Refused(Result.BAD_LENGTH)
        return lambda: b"".join(self.trainer.packed(content, None).to_bytes(size, "little") for _, content in samples)

    def _read(self, request: bytes, rest: bytes, size: int, memory: list[int]):
        count, address = struct.unpack("<HI", request)
        if rest:
            raise Refused(Result.BAD_LENGTH)
        if address + count > len(memory):
            raise Refused(Result.BAD_ADDRESS)
        if count * size > MAX_LENGTH:
            raise Refused(Result.BAD_LENGTH)
        return lambda: b"".join(word.to_bytes(size, "little") for word in memory[address : address + count])

    def _write(self, request: bytes, rest: bytes, size: int, memory: list[int], width: int):
        (address,) = struct.unpack("<I", request)
        words = [int.from_bytes(content, "little") & (1 << width) - 1 for content in self._items(rest, size)]
        if address + len(words) > len(memory):
            raise Refused(Result.BAD_ADDRESS)

        def apply() -> bytes:
            memory[address : address + len(words)] = words
            return b""

        return apply

    def _read_weights(self, request: bytes, rest: bytes):
        return self._read(request, rest, weight_bytes(self.chip), self.trainer.weights)

    def _read_counters(self, request: bytes, rest: bytes):
        return self._read(request, rest, counter_bytes(self.chip), self.trainer.counters)

    def _write_weights(self, request: bytes, rest: bytes):
        width = self.chip.weight_bits * self.chip.array_synapses
        return self._write(request, rest, weight_bytes(self.chip), self.trainer.weights, width)

    def _write_counters(self, request: bytes, rest: bytes):
        width = self.chip.counter_bits * self.chip.array_synapses
        return self._write(request, rest, counter_bytes(self.chip), self.trainer.counters, width)
