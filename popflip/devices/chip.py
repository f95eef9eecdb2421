"""A chip as a :class:`Device`, simulated or on a serial port, and the serial port itself."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress

import numpy as np
import serial
from numpy.typing import NDArray

from popflip.devices.base import Device, DeviceError, Status
from popflip.devices.link import Link, LinkError, Transport
from popflip.golden.common.packing import pack
from popflip.golden.common.prng import first_state
from popflip.golden.config import AnyConfig, LbeConfig, Precision, Rule
from popflip.golden.memory.weights import LbeState, State, lbe_initial
from popflip.hw.config import ChipConfig
from popflip.hw.link.buffer import counter_bytes, weight_bytes
from popflip.hw.link.frames import OVERHEAD, Command
from popflip.hw.link.uart import BAUD
from popflip.hw.registers import CYCLE_COUNTERS, register_values, registers, status_words
from popflip.replay import LinkSpeed

ANSWER_BYTES = 1024
"""Payload of an answer, about, when memories are read: not much to send again when a byte goes wrong."""
FIRST_NUMBERS, MOST_NUMBERS = 4, 64
"""Numbers of stored samples in a frame: few at first, to give the chip something to do, then twice as many each
time. A frame is answered when its samples are learned but for the last few."""
SILENCE = 2.0
"""Seconds without a byte after which a serial port has timed out."""


class ChipDevice(Device):
    """The chip behind ``transport``, called ``name`` in messages. :class:`DeviceError` if built for another network.

    ``baud`` is how fast the transport is, if it is a line with a speed.
    Training runs behind: samples and batches are sent as fast as the chip takes them; whatever reads waits for them.
    """

    def __init__(self, transport: Transport, config: AnyConfig, name: str = "the chip", baud: int | None = None):
        super().__init__(config)
        self._baud = baud
        try:
            self.link = Link(transport, name)
            self.chip = _compatible(self.link.identity.chip(), config, name)
            self.store_samples = self.chip.store_samples
            self._registers = {register.name: number for number, register in enumerate(registers(self.chip))}
            self._limits = {register.name: register.high for register in registers(self.chip)}
            self._classifiers = lbe_initial(config).classifiers if isinstance(config, LbeConfig) else None
            self._sent = self._bytes = 0  # training samples, and what they took in frames
            self._start = Status(flips=(0,) * config.depth)  # what the status words count on from
            self._seen = dict.fromkeys((word.name for word in status_words(self.chip)), 0)
            self._total = dict(self._seen)
            self._configure(register_values(self.chip, config))
            self._words()
        except BaseException:
            transport.close()
            raise

    def reset(self) -> None:
        self._reset(first_state(self.config.seed), Status(flips=(0,) * self.config.depth))

    def train(self, x: NDArray[np.uint8], y: NDArray[np.integer]) -> None:
        for command, payload in self._training(x, y):
            self.link.post(command, payload)

    def store(self, x: NDArray[np.uint8], y: NDArray[np.integer]) -> None:
        self._write(Command.STORE, self._sample_bytes(x, y))
        for _ in self._training(x, y):  # what they would take if they were sent
            pass
        self.link.wait()

    def train_stored(self, numbers: NDArray[np.integer]) -> None:
        first, size = 0, FIRST_NUMBERS
        while first < len(numbers):
            self.link.post(Command.TRAIN_STORED, numbers[first : first + size].astype("<u2").tobytes())
            first, size = first + size, min(2 * size, self._numbers)

    def end_batch(self, k: tuple[int, ...]) -> None:
        if self.config.rule == Rule.LBE:  # every sample was a batch
            return
        names = (f"k{layer}" for layer in range(self.chip.depth))
        self._configure({name: min(flips, self._limits[name]) for name, flips in zip(names, k, strict=True)})
        self.link.post(Command.END_BATCH)

    def infer(self, x: NDArray[np.uint8]) -> NDArray[np.integer]:
        frames = self._frames(_input_bytes(x), Command.INFER, Command.INFER_PACKED)
        requests = [self.link.post(command, payload) for command, payload, _ in frames]
        predictions = b"".join(self.link.answer(request) for request in requests)
        return np.frombuffer(predictions, f"<u{self.chip.label_bytes}").astype(np.int64)

    def status(self) -> Status:
        words, start = self._words(), self._start
        cycles = start.cycles or {}
        return Status(
            samples=words["samples"] + start.samples,
            batches=words["batches"] + start.batches,
            errors=words["errors"] + start.errors,
            correct=words["correct"] + start.correct,
            signature=words["signature"],
            rng=words["rng"],
            flips=tuple(words[f"flips{layer}"] + flips for layer, flips in enumerate(start.flips)),
            cycles={word.name: words[word.name] + cycles.get(word.name, 0) for word in CYCLE_COUNTERS},
        )

    def state(self) -> State:
        chip, layers = self.chip, range(self.chip.depth)
        weights = self._read(Command.READ_WEIGHTS, _weight_words(chip), weight_bytes(chip))
        counters = self._read(Command.READ_COUNTERS, _counter_words(chip), counter_bytes(chip))
        state = State(
            [decode_weights(chip, weights[weight_places(chip, layer)], layer) for layer in layers],
            [decode_counters(chip, counters[counter_places(chip, layer)], layer) for layer in layers],
            self._words()["rng"],
        )
        if self._classifiers is None:
            return state
        return LbeState(state.weights, state.counters, state.rng, self._classifiers)  # not read: the seed says them

    def load(self, state: State, status: Status | None = None) -> None:
        chip = self.chip
        status = status or Status(flips=(0,) * chip.depth)
        weights = np.zeros((_weight_words(chip), weight_bytes(chip)), np.uint8)
        counters = np.zeros((_counter_words(chip), counter_bytes(chip)), np.uint8)
        for layer in range(chip.depth):
            weights[weight_places(chip, layer)] = encode_weights(chip, state.weights[layer])
            counters[counter_places(chip, layer)] = encode_counters(chip, state.counters[layer])
        # A batch that was begun is forgotten, and the status words start from 0. LBE's classifiers are made by a reset
        # with the seed's first state, and there is no other way to write them.
        self._reset(state.rng if self._classifiers is None else first_state(self.config.seed), status)
        self._configure({"rng": state.rng, "signature": status.signature})
        self._write(Command.WRITE_WEIGHTS, weights)
        self._write(Command.WRITE_COUNTERS, counters)

    @property
    def link_speed(self) -> LinkSpeed | None:
        if self._baud is None or not self.link.identity.clock_hz:
            return None
        size = self._bytes / self._sent if self._sent else self.chip.sample_bytes
        return LinkSpeed(
            clock_hz=self.link.identity.clock_hz,
            baud=self._baud,
            sample_bytes=size + OVERHEAD / self._samples(size),
            number_bytes=2 + OVERHEAD / self._numbers if self.store_samples else None,
        )

    def close(self) -> None:
        self.link.close()

    # ------------------------------------------------------------------------------------------------------------------

    def _configure(self, values: Mapping[str, int]) -> None:
        items = (struct.pack("<BI", self._registers[name], value % 2**32) for name, value in values.items())
        self.link.post(Command.CONFIGURE, b"".join(items))

    def _reset(self, rng: int, start: Status) -> None:
        self.link.post(Command.RESET, struct.pack("<I", rng))
        self._start = start
        self._seen = dict.fromkeys(self._seen, 0)
        self._total = dict(self._seen)

    def _words(self) -> dict[str, int]:
        """The status words. Counts go on beyond 32 bits, if asked for at least once in 2**32."""
        words = struct.unpack(f"<{len(self._seen)}I", self.link.call(Command.STATUS))
        for name, word in zip(self._seen, words, strict=True):
            self._total[name] += (word - self._seen[name]) % 2**32
            self._seen[name] = word
        return self._total | {name: self._seen[name] for name in ("signature", "rng")}

    def _sample_bytes(self, x: NDArray[np.uint8], y: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Samples with their labels, one a row."""
        size = self.chip.label_bytes
        labels = np.asarray(y).astype(f"<u{size}").view(np.uint8).reshape(len(y), size)
        return np.concatenate([labels, _input_bytes(x)], axis=1)

    def _samples(self, size: float) -> int:
        """Samples of ``size`` bytes in a frame, of which two fit the chip's buffer if one sample is not too large."""
        return max(1, int(self.link.payload_bytes // size))

    @property
    def _numbers(self) -> int:
        """The same of numbers of stored samples."""
        return min(MOST_NUMBERS, self._samples(2))

    def _training(self, x: NDArray[np.uint8], y: NDArray[np.integer]) -> Iterator[tuple[Command, bytes]]:
        """Commands and payloads that train samples; they are counted."""
        samples = self._sample_bytes(x, y)
        for command, payload, count in self._frames(samples, Command.TRAIN, Command.TRAIN_PACKED):
            self._sent += count
            self._bytes += len(payload)
            yield command, payload

    def _frames(
        self, samples: NDArray[np.uint8], command: Command, packed: Command
    ) -> Iterator[tuple[Command, bytes, int]]:
        """Samples, one a row, as payloads of which two fit the chip's buffer, with their command and how many they are:
        packed in frames where they are shorter so, if the chip takes them.
        """
        whole, room, size = self._samples(samples.shape[1]), self.link.payload_bytes, samples.shape[1]
        if not self.chip.packs:
            for first in range(0, len(samples), whole):
                part = samples[first : first + whole]
                yield command, part.tobytes(), len(part)
            return
        items, ends = packed_items(samples, size - self.chip.input_bytes, self.chip.size_bytes)
        first = begin = 0
        while first < len(samples):
            last = max(first + 1, int(np.searchsorted(ends, begin + room, "right")))
            if ends[last - 1] - begin < (last - first) * size:
                yield packed, items[begin : ends[last - 1]].tobytes(), last - first
            else:
                last = min(first + whole, len(samples))
                yield command, samples[first:last].tobytes(), last - first
            first, begin = last, int(ends[last - 1])

    def _read(self, command: Command, words: int, size: int) -> NDArray[np.uint8]:
        """All ``words`` of a memory, [words, ``size`` bytes]."""
        count = max(1, ANSWER_BYTES // size)
        requests = [
            self.link.post(command, struct.pack("<HI", min(count, words - first), first))
            for first in range(0, words, count)
        ]
        content = b"".join(self.link.answer(request) for request in requests)
        return np.frombuffer(content, np.uint8).reshape(words, size)

    def _write(self, command: Command, content: NDArray[np.uint8]) -> None:
        """All words of a memory, or samples from the first on, [words, bytes]."""
        count = max(1, (self.link.payload_bytes - 4) // content.shape[1])
        for first in range(0, len(content), count):
            self.link.post(command, struct.pack("<I", first) + content[first : first + count].tobytes())


def packed_items(
    samples: NDArray[np.uint8], label_bytes: int, size_bytes: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """``samples`` ``[n, label_bytes + B]`` as items of a packed command, one behind the other: a size of ``size_bytes``
    bytes, the label, the other bytes packed. And where each item ends, ``[n]``.
    """
    packed, sizes = pack(samples[:, label_bytes:])
    head = size_bytes + label_bytes
    ends = np.cumsum(sizes + head)
    starts = ends - sizes - head
    items = np.empty(ends[-1] if len(ends) else 0, np.uint8)
    inputs = np.ones(len(items), bool)
    said = (sizes + label_bytes).astype("<u2").view(np.uint8).reshape(-1, 2)
    for place, byte in enumerate((*said.T[:size_bytes], *samples.T[:label_bytes])):
        items[starts + place] = byte
        inputs[starts + place] = False
    items[inputs] = packed
    return items, ends


def _compatible(chip: ChipConfig, config: AnyConfig, name: str) -> ChipConfig:
    """``chip``, if it runs ``config``."""
    wanted = ChipConfig.of(config, chip.array_rows, chip.array_synapses, chip.slots)
    different = [
        f"{field} {_text(getattr(chip, field))} instead of {_text(getattr(wanted, field))}"
        for field in ("rule", "layers", "classes", "precision", "mmax", "dclip")
        if getattr(chip, field) != getattr(wanted, field)
    ]
    if different:
        raise DeviceError(f"{name}: built for another network, with {', '.join(different)}")
    return chip


def _text(value: object) -> str:
    return "-".join(map(str, value)) if isinstance(value, tuple) else str(value)


# Memory layout (popflip.hw.config) ------------------------------------------------------------------------------------


def _weight_words(chip: ChipConfig) -> int:
    return chip.weight_depth * chip.array_rows


def _counter_words(chip: ChipConfig) -> int:
    return chip.counter_depth * chip.learn_rows


def weight_places(chip: ChipConfig, layer: int) -> NDArray[np.intp]:
    """Which word on the link each word of a layer's weights is, [R, W]."""
    row, word = np.ogrid[: chip.rows[layer], : chip.words[layer]]
    address = chip.weight_base[layer] + row // chip.array_rows * chip.words[layer] + word
    return address * chip.array_rows + row % chip.array_rows


def counter_places(chip: ChipConfig, layer: int) -> NDArray[np.intp]:
    """Which word on the link each word of a layer's counters is, [R, W]."""
    row, word = np.ogrid[: chip.rows[layer], : chip.words[layer]]
    address = chip.counter_base[layer] + word * chip.counter_rows[layer] + row // chip.learn_rows
    return address * chip.learn_rows + row % chip.learn_rows


def encode_weights(chip: ChipConfig, weights: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Weights [R, S] as words [R, W, bytes]: binary 1 is +1; ternary two's complement; pads 0."""
    return _encode(chip, weights > 0 if chip.precision == Precision.BINARY else weights, chip.weight_bits)


def decode_weights(chip: ChipConfig, words: NDArray[np.uint8], layer: int) -> NDArray[np.int8]:
    """Inverse of :func:`encode_weights`."""
    values = _decode(chip, words, chip.weight_bits, layer)
    return np.where(values, 1, -1).astype(np.int8) if chip.precision == Precision.BINARY else values.astype(np.int8)


def encode_counters(chip: ChipConfig, counters: NDArray[np.int16]) -> NDArray[np.uint8]:
    """Counters [R, S] as words [R, W, bytes]: two's complement; pads 0."""
    return _encode(chip, counters, chip.counter_bits)


def decode_counters(chip: ChipConfig, words: NDArray[np.uint8], layer: int) -> NDArray[np.int16]:
    """Inverse of :func:`encode_counters`."""
    return _decode(chip, words, chip.counter_bits, layer)


def _encode(chip: ChipConfig, values: NDArray, width: int) -> NDArray[np.uint8]:
    """Numbers [R, S] as ``width`` bits each, lowest first, in words of N."""
    rows, synapses = values.shape
    words = -(-synapses // chip.array_synapses)
    padded = np.zeros((rows, words, chip.array_synapses), np.int32)
    padded.reshape(rows, -1)[:, :synapses] = values
    bits = np.empty((*padded.shape, width), np.uint8)
    for bit in range(width):
        bits[..., bit] = padded >> bit & 1
    return np.packbits(bits.reshape(rows, words, -1), axis=2, bitorder="little")


def _decode(chip: ChipConfig, words: NDArray[np.uint8], width: int, layer: int) -> NDArray[np.int16]:
    """Inverse of :func:`_encode`, two's complement; [R, S]."""
    lanes = chip.array_synapses
    bits = np.unpackbits(words, axis=2, count=lanes * width, bitorder="little")
    bits = bits.reshape(len(words), -1, width)[:, : chip.synapses[layer]]
    values = np.zeros(bits.shape[:2], np.int32)
    for bit in range(width):
        place = -(1 << bit) if bit == width - 1 else 1 << bit
        values += bits[..., bit] * np.int32(place)
    return values.astype(np.int16)


def _input_bytes(x: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.packbits(x, axis=1, bitorder="little")


# Serial port ----------------------------------------------------------------------------------------------------------


class SerialTransport:
    """Bytes over serial port ``name``, or any URL pyserial knows. :class:`DeviceError` if it does not work."""

    def __init__(self, name: str, baud: int = BAUD, silence: float = SILENCE):
        self.name = name
        self._bytes = bytearray()
        try:
            self._port = serial.serial_for_url(
                name, baud, timeout=silence, write_timeout=silence, **({} if "://" in name else {"exclusive": True})
            )
            with suppress(AttributeError, OSError, ValueError):  # only some ports know it
                self._port.set_low_latency_mode(True)  # answers are short, and would wait 16 ms for more to come
            self._port.reset_input_buffer()
        except (OSError, ValueError) as error:
            raise DeviceError(f"{name}: {_why(error)}") from None

    def write(self, data: bytes) -> None:
        """Send ``data``."""
        try:
            self._port.write(data)
        except serial.SerialTimeoutException:
            raise LinkError(f"{self.name}: the port takes no bytes; unplug it and plug it in again") from None
        except OSError as error:
            raise LinkError(f"{self.name}: {_why(error)}") from None

    def read(self, count: int) -> bytes:
        """The next ``count`` bytes. :class:`TimeoutError` after ``silence`` seconds without one; what came is kept."""
        while len(self._bytes) < count:
            try:
                more = self._port.read(count - len(self._bytes))
            except OSError as error:
                raise LinkError(f"{self.name}: {_why(error)}") from None
            if not more:
                raise TimeoutError(f"{self.name}: silent")
            self._bytes += more
        data = bytes(self._bytes[:count])
        del self._bytes[:count]
        return data

    def close(self) -> None:
        """Close the port."""
        self._port.close()


def _why(error: Exception) -> str:
    """What a failed port needs, in a line."""
    import errno

    known = {
        errno.ENOENT: "there is no such port; `python -m serial.tools.list_ports` lists those there are",
        errno.EACCES: "no permission to open it; on Linux add yourself to the group dialout and log in again",
        errno.EBUSY: "another program uses it",
        errno.EAGAIN: "another program uses it",
    }
    text = known.get(getattr(error, "errno", None) or 0)
    return text or f"the port does not work ({' '.join(str(error).split())})"
