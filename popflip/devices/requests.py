"""Requests: the length of their answers, the cycles they may take, and how they divide into smaller ones."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from popflip.devices.sample_codec import FIRST_BYTES, WALK_BYTES
from popflip.hw.config import ChipConfig
from popflip.hw.link.buffer import counter_bytes, weight_bytes
from popflip.hw.link.codec import OVERHEAD
from popflip.hw.link.commands import COMMANDS, PACKED_COMMANDS, SET_COMMANDS, Command
from popflip.hw.link.tables import VALUE_BYTES
from popflip.hw.registers import CYCLE_COUNTERS, status_words

CYCLES_PER_WORD = 256
"""More cycles than any pass spends on a word of the counter memory."""
CYCLES_PER_SAMPLE_WORD = 16
"""More cycles than a sample spends on a word of the weight or counter memory, forward and learning together."""
STORED_BYTE_CYCLES = 32
"""More cycles than the store takes for a byte: an SDRAM opens a row for each word."""
FIXED_CYCLES = 1000
"""More cycles than a sample or a request takes besides."""


@dataclass
class Request:
    """A request of ``command``, or one that was divided into ``parts``, which run in order.

    ``answer_bytes`` is the length of its answer, ``cycles`` more than the chip takes for it after those before it.
    ``sequence`` is valid once it is sent.
    """

    command: Command
    payload: bytes
    answer_bytes: int
    cycles: int = 0
    sequence: int = 0
    parts: list[Request] = field(default_factory=list)
    received: bytes | None = None

    def __post_init__(self) -> None:
        self.reads = COMMANDS[self.command].reads
        """Whether the request only reads the chip, so that it may safely run again."""
        self.size = OVERHEAD + len(self.payload)
        """Bytes of the request's frame."""

    @property
    def answer(self) -> bytes | None:
        """The payload of the answer; None until all of it has come."""
        if not self.parts:
            return self.received
        answers = [part.answer for part in self.parts]
        return None if None in answers else b"".join(filter(None, answers))


class Formats:
    """What the requests of ``chip`` look like. All sizes are in bytes."""

    def __init__(self, chip: ChipConfig):
        self._chip = chip
        self._items = {
            Command.CONFIGURE: 1 + VALUE_BYTES,
            Command.TRAIN: chip.sample_bytes,
            Command.INFER: chip.input_bytes,
            Command.WRITE_WEIGHTS: weight_bytes(chip),
            Command.WRITE_COUNTERS: counter_bytes(chip),
            Command.STORE: chip.sample_bytes,
            Command.TRAIN_STORED: chip.number_bytes,
        }
        self._words = {Command.READ_WEIGHTS: weight_bytes(chip), Command.READ_COUNTERS: counter_bytes(chip)}
        self._fixed_answers = {
            Command.STATUS: VALUE_BYTES * len(status_words(chip)),
            Command.CYCLES: VALUE_BYTES * len(CYCLE_COUNTERS),
            Command.SIGNATURE: VALUE_BYTES,
        }
        rows = chip.weight_map.depth + chip.counter_map.depth
        self.sample_cycles = FIXED_CYCLES + CYCLES_PER_SAMPLE_WORD * rows
        """More cycles than the chip takes for a sample."""
        self.batch_cycles = FIXED_CYCLES + CYCLES_PER_WORD * chip.counter_map.depth
        """More cycles than the end of a batch takes, and any other work that no sample causes."""
        self.busy_cycles = self.batch_cycles + chip.slots * self.sample_cycles
        """More cycles than the chip still works on requests that it has answered."""

    def request(self, command: Command, payload: bytes) -> Request:
        """A request of ``command``."""
        return Request(command, payload, self._answer_bytes(command, payload), self._cycles(command, payload))

    def divide(self, request: Request, limit: int) -> list[Request]:
        """``request`` as requests with payloads and answers of at most ``limit`` bytes, or of a single item each."""
        if max(len(request.payload), request.answer_bytes) <= limit:
            return [request]
        payloads = list(self._parts(request.command, request.payload, limit))
        return [self.request(request.command, payload) for payload in payloads] if len(payloads) > 1 else [request]

    # ------------------------------------------------------------------------------------------------------------------

    def _cycles(self, command: Command, payload: bytes) -> int:
        if command in (Command.TRAIN, Command.INFER, Command.TRAIN_STORED):
            return self.sample_cycles * (len(payload) // self._items[command])
        if command in SET_COMMANDS:
            pieces = max(1, self._pieces(payload))
            return pieces * (self.batch_cycles + self.sample_cycles * int.from_bytes(payload[:2], "little"))
        if command == Command.STORE:
            return self.batch_cycles + STORED_BYTE_CYCLES * len(payload)
        if command in PACKED_COMMANDS:  # a packed sample has a size and at least one byte
            return self.sample_cycles * (len(payload) // (self._chip.size_bytes + 1))
        return self.batch_cycles

    def _answer_bytes(self, command: Command, payload: bytes) -> int:
        if command in self._words:
            return int.from_bytes(payload[:2], "little") * self._words[command]
        if command == Command.INFER:
            return len(payload) // self._chip.input_bytes * self._chip.label_bytes
        if command == Command.INFER_PACKED:
            return len(self._packed_ends(payload)) * self._chip.label_bytes
        if command == Command.INFER_SET:
            return int.from_bytes(payload[:2], "little") * self._chip.label_bytes
        return self._fixed_answers.get(command, 0)

    def _pieces(self, payload: bytes) -> int:
        """Items of a TRAIN_SET."""
        return (len(payload) - WALK_BYTES) // (VALUE_BYTES * self._chip.depth)

    def _parts(self, command: Command, payload: bytes, limit: int) -> Iterator[bytes]:
        """Payloads that have together the effect of ``payload``."""
        if command in self._words:
            yield from _word_ranges(payload, max(1, limit // self._words[command]))
        elif command in SET_COMMANDS:
            yield from self._walks(command, payload, limit)
        elif command in PACKED_COMMANDS:
            yield from _cut(payload, self._packed_ends(payload), limit)
        elif command == Command.STORE and self._chip.packs:
            yield from self._packed_stores(payload, limit)
        elif command in self._items:
            head = COMMANDS[command].request_bytes
            item = self._items[command]
            count = max(1, (limit - head) // item)
            for first in range(0, -(-(len(payload) - head) // item), count):
                content = payload[head + first * item : head + (first + count) * item]
                yield _moved(payload[:head], first) + content
        else:
            yield payload

    def _packed_stores(self, payload: bytes, limit: int) -> Iterator[bytes]:
        """A STORE of packed samples as shorter ones."""
        position, items, stored = payload[:FIRST_BYTES], payload[FIRST_BYTES:], 0
        for part in _cut(items, self._packed_ends(items), limit - FIRST_BYTES):
            yield _moved(position, stored) + part
            stored += len(self._packed_ends(part))

    def _walks(self, command: Command, payload: bytes, limit: int) -> Iterator[bytes]:
        """A walk as shorter ones: of fewer pieces, or of fewer predictions."""
        samples, first = struct.unpack_from("<HI", payload)
        if command == Command.INFER_SET:
            most = max(1, limit // self._chip.label_bytes)
            for begin in range(0, samples, most):
                yield struct.pack("<HI", min(most, samples - begin), first + begin)
            return
        size = VALUE_BYTES * self._chip.depth
        most = max(1, (limit - WALK_BYTES) // size)
        for piece in range(0, max(1, self._pieces(payload)), most):
            items = payload[WALK_BYTES + piece * size : WALK_BYTES + (piece + most) * size]
            yield struct.pack("<HI", samples, first + piece * samples) + items

    def _packed_ends(self, payload: bytes) -> list[int]:
        """The end of each packed sample."""
        ends, end, size_bytes = [], 0, self._chip.size_bytes
        while end < len(payload):
            end += size_bytes + int.from_bytes(payload[end : end + size_bytes], "little")
            ends.append(end)
        return ends


def _word_ranges(payload: bytes, most: int) -> Iterator[bytes]:
    """A request for words as requests for at most ``most`` words."""
    count, address = struct.unpack("<HI", payload)
    for first in range(0, count, most):
        yield struct.pack("<HI", min(most, count - first), address + first)


def _moved(head: bytes, items: int) -> bytes:
    """The address at the head of a payload, ``items`` further on; nothing if there is none."""
    return struct.pack("<I", int.from_bytes(head, "little") + items) if head else b""


def _cut(payload: bytes, ends: list[int], limit: int) -> Iterator[bytes]:
    """``payload`` cut at some of ``ends`` into pieces of at most ``limit`` bytes, or of a single item each."""
    begin = last = 0
    for end in ends:
        if end - begin > limit and last > begin:
            yield payload[begin:last]
            begin = last
        last = end
    yield payload[begin:]
