"""A chip as a :class:`Device`, whether simulated or on a board."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from popflip.devices.base import Device, LinkSpeed, Status
from popflip.devices.counts import Counts
from popflip.devices.link import Link
from popflip.devices.requests import Request
from popflip.devices.sample_codec import WALK_BYTES, Payload, SampleCodec, walk_bytes
from popflip.devices.session import opening_deadline
from popflip.devices.state_codec import (
    decode_counters,
    decode_weights,
    encode_counters,
    encode_weights,
)
from popflip.devices.transport import Transport
from popflip.errors import ChipLost, DeviceError, LinkError
from popflip.golden.common.order import Key
from popflip.golden.common.prng import first_state
from popflip.golden.config import AnyConfig, LbeConfig, Order, Rule
from popflip.golden.lbe.initialise import LbeState
from popflip.golden.lbe.initialise import initial as lbe_initial
from popflip.golden.memory.weights import State
from popflip.hw.config import ChipConfig
from popflip.hw.link.buffer import counter_bytes, weight_bytes
from popflip.hw.link.codec import OVERHEAD
from popflip.hw.link.commands import Command
from popflip.hw.link.tables import VALUE_BYTES
from popflip.hw.registers import CYCLE_COUNTERS, KEY, LAST_SAMPLE, register_values, registers
from popflip.steps import MOST_PIECE

ANSWER_BYTES = 1024
"""Approximate payload of an answer when memories are read: small, so that little is sent again after a damaged byte."""
MOST_INFERRED = 1024
"""Samples of the stored set that a request predicts at most: little is sent again after a damaged byte."""
OPENINGS = 5
"""Attempts to open a chip that restarts meanwhile."""


class ChipDevice(Device):
    """The chip behind ``transport``, called ``name`` in messages; ``baud`` is the transport's speed if it is a line.

    Training runs asynchronously: the host sends samples and batches as fast as the chip takes them, and a call that
    reads waits until all of them are done. Raises :class:`DeviceError` if the chip was built for another network,
    :class:`LinkError` if the link fails, and :class:`ChipLost` if the chip does not hold what was sent to it. A chip
    that restarts while it is opened is opened again, at most :data:`OPENINGS` times.
    """

    def __init__(self, transport: Transport, config: AnyConfig, name: str = "the chip", baud: int | None = None):
        super().__init__(config)
        self._baud, self._transport = baud, transport
        try:
            self.link = Link(transport, name)
            self.chip = _compatible(self.link.chip, config, name)
            self.store_samples, self.walks = self.chip.store_samples, self.chip.walks
            self._key: Key | None = None  # the one that the chip has
            planes = None if config.convolves else config.image
            self._samples = SampleCodec(self.chip, self.link.payload_bytes, planes)
            self._sent_samples = self._sent_bytes = 0  # training samples measured, and their bytes in payloads
            self._registers = {register.name: number for number, register in enumerate(registers(self.chip))}
            self._limits = {register.name: register.high for register in registers(self.chip)}
            self._classifiers = lbe_initial(config).classifiers if isinstance(config, LbeConfig) else None
            self._counts = Counts(self.chip)
            self._start = Status(flips=(0,) * config.depth)  # the counts of the chip's last reset
            self._prepare()
        except BaseException:
            transport.close()
            raise

    def reset(self) -> None:
        self._reset(first_state(self.config.seed), Status(flips=(0,) * self.config.depth))

    def train(self, x: NDArray[np.uint8], y: NDArray[np.integer]) -> None:
        for payload in self._samples.training(x, y):
            self._measure(payload)
            self._train(payload)

    def store(self, x: NDArray[np.uint8], y: NDArray[np.integer]) -> None:
        for payload in self._samples.storing(x, y):
            self.link.post(payload.command, payload.data)
        if self.walks:
            self._configure({LAST_SAMPLE: len(x) - 1})
        for payload in self._samples.training(x, y):  # link_speed reports the size that sent samples would have
            self._measure(payload)
        self.link.wait()

    def train_stored(self, numbers: NDArray[np.integer]) -> None:
        for payload in self._samples.stored(numbers):
            self._train(payload)

    def train_set(self, key: Key, place: int, samples: int, schedule: Sequence[tuple[int, ...]]) -> None:
        if key != self._key:
            self._write_key(key)
        flips = [self._within(k) for k in schedule if k]  # rule lbe schedules nothing
        if not flips:
            most = MOST_PIECE if schedule else samples  # every sample is a batch
            for begin in range(0, samples * max(1, len(schedule)), most):
                count = min(most, samples * max(1, len(schedule)) - begin)
                self._walk(count, place + begin, [], count)
            return
        most = max(1, (self.link.payload_bytes - WALK_BYTES) // (VALUE_BYTES * self.chip.depth))
        for first in range(0, len(flips), most):
            part = flips[first : first + most]
            self._walk(samples, place + first * samples, part, samples * len(part))

    def infer_set(self, key: Key, place: int, samples: int) -> NDArray[np.integer]:
        if key != self._key:
            self._write_key(key)
        requests = []
        for begin in range(0, samples, MOST_INFERRED):
            count = min(MOST_INFERRED, samples - begin)
            requests.append(self.link.post(Command.INFER_SET, struct.pack("<HI", count, place + begin)))
        return self._predictions(requests)

    def end_batch(self, k: tuple[int, ...]) -> None:
        if self.config.rule == Rule.LBE:  # each sample is a batch
            return
        names = (f"k{layer}" for layer in range(self.chip.depth))
        self._configure(dict(zip(names, self._within(k), strict=True)))
        self.link.post(Command.END_BATCH)
        self._counts.batch_ended()

    def infer(self, x: NDArray[np.uint8]) -> NDArray[np.integer]:
        return self._predictions(
            [self.link.post(payload.command, payload.data) for payload in self._samples.inference(x)]
        )

    def _predictions(self, requests: Sequence[Request]) -> NDArray[np.integer]:
        """The classes in the answers to ``requests``."""
        predictions = self._samples.predictions(b"".join(self.link.answer(request) for request in requests))
        if np.any(predictions >= self.config.classes):
            raise self.link.lost(f"it predicts class {predictions.max()} of {self.config.classes}")
        return predictions

    def status(self) -> Status:
        words, start = self._status_words(), self._start
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
        chip = self.chip
        weights = decode_weights(chip, self._read(Command.READ_WEIGHTS, chip.weight_map.size, weight_bytes(chip)))
        counters = decode_counters(chip, self._read(Command.READ_COUNTERS, chip.counter_map.size, counter_bytes(chip)))
        self._check_ranges(weights, counters)
        rng = self._status_words()["rng"]
        if self._classifiers is None:
            return State(weights, counters, rng)
        return LbeState(weights, counters, rng, self._classifiers)  # the seed determines the classifiers

    def load(self, state: State, status: Status | None = None) -> None:
        chip = self.chip
        # A reset drops a batch in progress and clears the status words. LBE's classifiers cannot be written: the chip
        # generates them at a reset with the seed's first random state.
        rng = state.rng if self._classifiers is None else first_state(self.config.seed)
        status = status or Status(flips=(0,) * chip.depth)
        self._reset(rng, status)
        self._configure({"rng": state.rng, "signature": status.signature})
        self._write(Command.WRITE_WEIGHTS, encode_weights(chip, state.weights))
        self._write(Command.WRITE_COUNTERS, encode_counters(chip, state.counters))

    @property
    def link_speed(self) -> LinkSpeed | None:
        if self._baud is None or not self.link.identity.clock_hz:
            return None
        samples = self._samples
        size = self._sent_bytes / self._sent_samples if self._sent_samples else self.chip.sample_bytes
        number_bytes = self.chip.number_bytes + OVERHEAD / samples.numbers_per_payload
        if self.walks and self.config.order == Order.CHIP:
            number_bytes = walk_bytes(self.config, self.link.payload_bytes)
        return LinkSpeed(
            clock_hz=self.link.identity.clock_hz,
            baud=self._baud,
            sample_bytes=size + OVERHEAD / samples.samples_per_payload(size),
            number_bytes=number_bytes if self.store_samples else None,
        )

    def reopen(self) -> None:
        self._key = None
        self.link.reopen()
        self._prepare()

    def close(self) -> None:
        self.link.close()

    # ------------------------------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        """Make a chip whose history is unknown learn as the configuration says.

        Begins again with a chip that restarts meanwhile. Raises :class:`LinkError` if it does so again and again.
        """
        latest = opening_deadline(self._transport)
        for attempt in range(1, OPENINGS + 1):
            try:
                self._configure(register_values(self.chip, self.config))
                self._counts.begin(self.link.call(Command.STATUS))
                return
            except ChipLost as error:
                if attempt == OPENINGS or self._transport.now >= latest:
                    raise LinkError(f"{error}; gave up after {attempt} attempts to open it; check its power") from None
                self.link.reopen()

    def _within(self, k: tuple[int, ...]) -> tuple[int, ...]:
        """``k`` as the registers hold it."""
        return tuple(min(flips, self._limits[f"k{layer}"]) for layer, flips in enumerate(k))

    def _walk(self, samples: int, place: int, schedule: Sequence[tuple[int, ...]], total: int) -> None:
        """A request for ``total`` samples of the stored set, ``samples`` a piece."""
        content = struct.pack("<HI", samples, place)
        for k in schedule:
            content += struct.pack(f"<{len(k)}I", *k)
        self.link.post(Command.TRAIN_SET, content)
        self._counts.trained(total)
        for _ in schedule:
            self._counts.batch_ended()

    def _write_key(self, key: Key) -> None:
        """Make the chip's order that of ``key``."""
        words = (low | high << 16 for low, high in zip(key[::2], key[1::2], strict=True))
        number = self._registers[KEY]
        self.link.post(Command.CONFIGURE, b"".join(struct.pack("<BI", number, word) for word in words))
        self._key = key

    def _train(self, payload: Payload) -> None:
        self.link.post(payload.command, payload.data)
        self._counts.trained(payload.samples)

    def _configure(self, values: Mapping[str, int]) -> None:
        items = (struct.pack("<BI", self._registers[name], value % 2**32) for name, value in values.items())
        self.link.post(Command.CONFIGURE, b"".join(items))

    def _reset(self, rng: int, start: Status) -> None:
        self.link.post(Command.RESET, struct.pack("<I", rng))
        self._start = start
        self._counts.clear()

    def _status_words(self) -> dict[str, int]:
        """The status words by name. All but the signature and the random state are extended beyond 32 bits."""
        try:
            return self._counts.update(self.link.call(Command.STATUS))
        except ValueError as error:
            raise self.link.lost(str(error)) from None

    def _check_ranges(self, weights: list[NDArray[np.int8]], counters: list[NDArray[np.int16]]) -> None:
        """Raise :class:`ChipLost` for values that no chip can hold."""
        beyond = self.config.rule == Rule.LBE
        for layer, (w, m, mmax) in enumerate(zip(weights, counters, self.chip.limits, strict=True)):
            for name, lowest, highest, low, high in (
                ("weight", w.min(), w.max(), -1, 1),
                ("counter", m.min(), m.max(), -mmax - beyond, mmax),
            ):
                if lowest < low or highest > high:
                    raise self.link.lost(f"a {name} of layer {layer} is not within {low} and {high}")

    def _measure(self, payload: Payload) -> None:
        """Count the samples and bytes of ``payload`` for :attr:`link_speed`."""
        self._sent_samples += payload.samples
        self._sent_bytes += len(payload.data)

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
        """Write a memory from its beginning; ``content`` is [words, bytes]."""
        count = max(1, (self.link.payload_bytes - 4) // content.shape[1])
        for first in range(0, len(content), count):
            self.link.post(command, struct.pack("<I", first) + content[first : first + count].tobytes())


def _compatible(chip: ChipConfig, config: AnyConfig, name: str) -> ChipConfig:
    """``chip``, if it can run ``config``; else a :class:`DeviceError`."""
    its, wanted = (
        _parameters(chip),
        _parameters(ChipConfig.of(config, chip.array_rows, chip.array_synapses, chip.slots)),
    )
    different = [
        f"{name} {_text(value)} instead of {_text(wanted[name])}"
        for name, value in its.items()
        if value != wanted[name]
    ]
    if different:
        raise DeviceError(
            f"{name}: built for another network, with {', '.join(different)}; use its parameters or another bitstream"
        )
    return chip


def _parameters(chip: ChipConfig) -> dict[str, object]:
    """What a network and its chip must agree on."""
    names = ("rule", "layers", "classes", "precision")
    limits = chip.mmaxes or chip.mmax
    return {name: getattr(chip, name) for name in names} | {"mmax": limits, "dclip": chip.dclip}


def _text(value: object) -> str:
    return "-".join(map(str, value)) if isinstance(value, tuple) else str(value)
