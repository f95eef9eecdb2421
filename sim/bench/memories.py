"""Models of the memories around a component under test, at its ports.

A read port answers as a synchronous memory does: data come the cycle after the request, or ``latency`` cycles after it,
and stay until those of the next request. Undefined values are random: data ahead of the first request, and lanes past
the last neuron of a layer.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from numpy.typing import NDArray

from popflip.hw.config import ChipConfig
from popflip.hw.layouts import activation_base, activation_words, input_word
from popflip.sim.bench.parts import EachCycle, Part
from popflip.sim.bench.streams import pack
from popflip.sim.bench.words import fields


class ActivationMemory:
    """Model of :class:`popflip.hw.memory.activations.Activations`: hidden activations of each slot."""

    def __init__(self, chip: ChipConfig, seed: int):
        self.chip = chip
        bits = max(1, activation_words(chip)) * chip.array_synapses
        draw = random.Random(seed)
        self._active, self._in_window = ([draw.getrandbits(bits) for _ in range(chip.slots)] for _ in range(2))

    def write(self, slot: int, word: int, part: int, active: int, in_window: int) -> None:
        """Write ``P`` neurons: part ``part`` of word ``word``, or, if P > N, of the P / N words that contain it."""
        rows, lanes = self.chip.array_rows, self.chip.array_synapses
        self._put(slot, (word - word % max(1, rows // lanes)) * lanes + part * rows, rows, active, in_window)

    def read(self, slot: int, word: int, words: int = 1) -> tuple[int, int]:
        """``active`` and ``in_window`` of a word, or of the aligned group of ``words`` that contains it."""
        lanes = self.chip.array_synapses
        mask = (1 << words * lanes) - 1
        word -= word % words
        return self._active[slot] >> word * lanes & mask, self._in_window[slot] >> word * lanes & mask

    def put_layer(self, slot: int, layer: int, active: NDArray, in_window: NDArray) -> None:
        """Write all inputs of ``layer``."""
        place = activation_base(self.chip, layer) * self.chip.array_synapses
        self._put(slot, place, len(active), fields(active, 1), fields(in_window, 1))

    def layer(self, slot: int, layer: int) -> list[tuple[int, int]]:
        """``active`` and ``in_window`` of each input of ``layer``."""
        place = activation_base(self.chip, layer) * self.chip.array_synapses
        return [
            (self._active[slot] >> bit & 1, self._in_window[slot] >> bit & 1)
            for bit in range(place, place + self.chip.rows[layer - 1])
        ]

    def _put(self, slot: int, place: int, count: int, active: int, in_window: int) -> None:
        mask = ((1 << count) - 1) << place
        for memory, bits in ((self._active, active), (self._in_window, in_window)):
            memory[slot] = memory[slot] & ~mask | bits << place & mask


# Ports ----------------------------------------------------------------------------------------------------------------


class ReadPort(EachCycle):
    """A read port: ``read(*address)`` returns a value for each port of ``data``, driven ``latency`` cycles later.

    Drives port ``ready``, if named, high with probability ``grant``. While it is low, the port ignores requests, and
    the data in their place are random, as another reader's would be. ``requests`` lists the addresses read.
    """

    def __init__(
        self,
        part: Part,
        enable: str,
        address: Sequence[str],
        data: Sequence[str],
        read: Callable[..., Sequence[int]],
        *,
        latency: int = 1,
        ready: str = "",
        grant: float = 1,
        seed: int = 1,
    ):
        self.requests: list[tuple[int, ...]] = []
        self._enable, self._address, self._data, self._read = enable, address, data, read
        self._ready, self._grant, self._granted = ready, grant, True
        self._random = random.Random(f"{seed} {part.name} {enable}")
        # Data of the next cycles: values, None to keep those there are, () for another reader's.
        self._answers: deque[Sequence[int] | None] = deque([None] * latency)
        for port in data:
            part.scramble(port, self._random)
        super().__init__(part)

    def drive(self) -> None:
        answer = self._answers.popleft()
        if answer is not None and not answer:
            for port in self._data:
                self.part.scramble(port, self._random)
        elif answer is not None:
            for port, value in zip(self._data, answer, strict=True):
                self.part.set(port, value)
        if self._ready:
            self._granted = self._random.random() < self._grant
            self.part.set(self._ready, self._granted)

    def look(self) -> None:
        answer: Sequence[int] | None = None if self._granted else ()
        if self._granted and self.part.get(self._enable):
            address = tuple(self.part.get(port) for port in self._address)
            self.requests.append(address)
            answer = self._read(*address)
        self._answers.append(answer)


class SampleMemory:
    """The samples that a chip holds, by slot, at ports ``inputs__…`` and ``activations__…``.

    ``lists`` are the words of each sample (:func:`popflip.sim.bench.words.input_list`), ``activations`` those of hidden
    layers, read ``words`` words at a time.
    """

    def __init__(self, part: Part, chip: ChipConfig, words: int = 1):
        self.lists: list[list[dict[str, int]]] = [[]] * chip.slots
        self.activations = ActivationMemory(chip, seed=1)
        word = input_word(chip)
        ReadPort(
            part,
            "inputs__en",
            ("inputs__slot", "inputs__position"),
            ("inputs__data",),
            lambda slot, position: [pack(word, self.lists[slot][position])],
        )
        ReadPort(
            part,
            "activations__en",
            ("activations__slot", "activations__word"),
            ("activations__active", "activations__in_window"),
            lambda slot, word: self.activations.read(slot, word, words),
        )


class SinglePort(EachCycle):
    """Asserts that ``read`` and ``write`` are never high in the same cycle. Data are random after a write."""

    def __init__(self, part: Part, read: str, write: str, data: str):
        self._read, self._write, self._data = read, write, data
        self._random = random.Random(f"{part.name} {read}")
        self._spoiled = False
        super().__init__(part)

    def drive(self) -> None:
        if self._spoiled:
            self.part.scramble(self._data, self._random)

    def look(self) -> None:
        self._spoiled = bool(self.part.get(self._write))
        assert not (self._spoiled and self.part.get(self._read)), f"{self._read} and {self._write} in the same cycle"


class WritePort(EachCycle):
    """A write port: calls ``write`` with the values of ``ports`` after each cycle in which ``enable`` is high."""

    def __init__(self, part: Part, enable: str, ports: Sequence[str], write: Callable[..., Any]):
        self.count = 0
        self._enable, self._ports, self._write = enable, ports, write
        self._values: tuple[int, ...] | None = None
        super().__init__(part)

    def drive(self) -> None:
        if self._values is not None:
            self._write(*self._values)
            self.count += 1

    def look(self) -> None:
        self._values = tuple(self.part.get(port) for port in self._ports) if self.part.get(self._enable) else None


class ClassifierPort(EachCycle):
    """The memory of the local classifiers at ports ``{prefix}address`` and so on, read in every cycle.

    ``columns`` is its content (:func:`popflip.sim.bench.words.classifier_columns`), ``writes`` the number of writes. A
    component that only reads has no ports to write.
    """

    def __init__(self, part: Part, columns: Sequence[int], prefix: str = "", seed: int = 1):
        self.columns = list(columns)
        self.writes = 0
        self._prefix, self._column = prefix, 0
        self._write: tuple[int, int] | None = None
        part.scramble(f"{prefix}column", random.Random(f"{seed} {part.name}"))
        super().__init__(part)

    def drive(self) -> None:
        self.part.set(f"{self._prefix}column", self._column)
        if self._write is not None:
            address, column = self._write
            self.columns[address] = column
            self.writes += 1

    def look(self) -> None:
        get, prefix = self.part.get, self._prefix
        self._column = self.columns[get(f"{prefix}address")]
        self._write = (get(f"{prefix}write_address"), get(f"{prefix}write_column")) if get(f"{prefix}write") else None
