"""Memories around a component under test, in Python, and what lies in them, laid out as :mod:`popflip.hw.config` says.

A read port answers as a synchronous memory does: a request in a cycle, its data in the next or, told so, later, held
until those of the next request. What is not defined is random: data before the first request, lanes past a layer's
neurons.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from popflip.golden.common.forward import with_bias
from popflip.golden.config import Precision, Rule
from popflip.golden.gft.backward import backward
from popflip.hw.config import ChipConfig
from popflip.hw.layouts import activation_base, activation_words, input_word
from popflip.sim.bench.parts import EachCycle, Part
from popflip.sim.bench.streams import pack

# A network in memory --------------------------------------------------------------------------------------------------


def chip_of(fields: dict[str, Any]) -> ChipConfig:
    """The :class:`ChipConfig` whose fields went through JSON."""
    layers, precision, rule = tuple(fields["layers"]), Precision(fields["precision"]), Rule(fields["rule"])
    return ChipConfig(**{**fields, "layers": layers, "precision": precision, "rule": rule})


def random_weights(chip: ChipConfig, rng: np.random.Generator) -> list[NDArray[np.int8]]:
    """Weights of every layer, ``[R, S]`` each, all values alike."""
    values = np.array([-1, 1] if chip.precision == Precision.BINARY else [-1, 0, 1], np.int8)
    return [rng.choice(values, shape) for shape in zip(chip.rows, chip.synapses, strict=True)]


def random_inputs(chip: ChipConfig, samples: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Inputs ``[n, K0]``: the first sample all 0, the second all 1, the others dense, even and sparse."""
    density = rng.choice([0.02, 0.2, 0.5, 0.9], (samples, 1))
    density[:2, 0] = [0, 1][:samples]
    return (rng.random((samples, chip.inputs)) < density).astype(np.uint8)


def fields(values: Iterable[int], bits: int) -> int:
    """``values`` side by side, ``bits`` each, two's complement, the first lowest."""
    mask = (1 << bits) - 1
    return sum((int(value) & mask) << place * bits for place, value in enumerate(values))


def weight_bits(chip: ChipConfig, w: NDArray[np.int8]) -> int:
    """Weights side by side as :func:`popflip.hw.memory.weights.weight_word` encodes them."""
    return fields(w > 0 if chip.weight_bits == 1 else w, chip.weight_bits)


def weight_words(chip: ChipConfig, weights: Sequence[NDArray[np.int8]]) -> dict[tuple[int, int], int]:
    """Every word of weights by bank and address, as engines ask for a row's words."""
    words = {}
    for layer, w in enumerate(weights):
        for row, values in enumerate(w):
            for word, start in enumerate(range(0, len(values), chip.array_synapses)):
                address = chip.weight_map.address(layer, row, word)
                words[chip.weight_map.bank(row), address] = weight_bits(
                    chip, values[start : start + chip.array_synapses]
                )
    return words


def weight_banks(chip: ChipConfig, weights: Sequence[NDArray[np.int8]]) -> list[list[int]]:
    """The words of each of the ``P`` banks, as the array reads them: of a folded last layer ``fold`` words of a row lie
    at one address."""
    banks = [[0] * chip.weight_map.array_depth for _ in range(chip.array_rows)]
    for place, bits in weight_words(chip, weights).items():
        bank, address = chip.weight_map.folded(*place)
        banks[bank][address] = bits
    return banks


def counter_words(
    chip: ChipConfig, counters: Sequence[NDArray[np.int16]]
) -> dict[tuple[int, int, int], tuple[tuple[int, int], int]]:
    """Bank and address, and bits, of each word of counters by its layer, row and number, in that order."""
    return {
        (layer, row, word): (
            (chip.counter_map.bank(row), chip.counter_map.address(layer, row, word)),
            fields(values[start : start + chip.array_synapses], chip.counter_bits),
        )
        for layer, m in enumerate(counters)
        for row, values in enumerate(m)
        for word, start in enumerate(range(0, len(values), chip.array_synapses))
    }


def input_list(chip: ChipConfig, x: NDArray[np.uint8]) -> list[dict[str, int]]:
    """A sample's words that hold a one, bias included, or (LBE) all of them."""
    a = with_bias(x[None])[0] if chip.bias else x
    words = [fields(a[start : start + chip.array_synapses], 1) for start in range(0, len(a), chip.array_synapses)]
    return [{"bits": bits, "index": index} for index, bits in enumerate(words) if bits or chip.rule == Rule.LBE]


def classifier_columns(classifiers: Iterable[NDArray[np.bool_]]) -> list[int]:
    """Local classifiers ``[C, R]`` of each layer as the chip holds them: a bit a class, for each neuron."""
    return [fields(column, 1) for rho in classifiers for column in rho.T]


def within_window(v: NDArray[np.int32], window: int) -> NDArray[np.bool_]:
    """Which hidden neurons golden still updates, ``[n, R]``: those that get a δ where all of them are asked for +1."""
    ask = np.ones((len(v), 1), np.int32)
    weights = [np.zeros((v.shape[1], 1), np.int8), np.ones((1, v.shape[1] + 1), np.int8)]
    return backward(weights, [v, ask], ask, (window,), 1)[0] != 0


class ActivationMemory:
    """Hidden activations by slot: :class:`popflip.hw.memory.activations.Activations` as its docstring says."""

    def __init__(self, chip: ChipConfig, seed: int):
        self.chip = chip
        bits = max(1, activation_words(chip)) * chip.array_synapses
        draw = random.Random(seed)
        self._active, self._in_window = ([draw.getrandbits(bits) for _ in range(chip.slots)] for _ in range(2))

    def write(self, slot: int, word: int, part: int, active: int, in_window: int) -> None:
        """``P`` neurons: part ``part`` of word ``word``, or of the words from there on where P > N."""
        rows, lanes = self.chip.array_rows, self.chip.array_synapses
        self._put(slot, (word - word % max(1, rows // lanes)) * lanes + part * rows, rows, active, in_window)

    def read(self, slot: int, word: int, words: int = 1) -> tuple[int, int]:
        """``active`` and ``in_window`` of a word, or of the ``words`` that it is one of."""
        lanes = self.chip.array_synapses
        mask = (1 << words * lanes) - 1
        word -= word % words
        return self._active[slot] >> word * lanes & mask, self._in_window[slot] >> word * lanes & mask

    def put_layer(self, slot: int, layer: int, active: NDArray, in_window: NDArray) -> None:
        """All inputs of ``layer``."""
        place = activation_base(self.chip, layer) * self.chip.array_synapses
        self._put(slot, place, len(active), fields(active, 1), fields(in_window, 1))

    def layer(self, slot: int, layer: int) -> list[tuple[int, int]]:
        """``active`` and ``in_window`` of the inputs of ``layer``."""
        place = activation_base(self.chip, layer) * self.chip.array_synapses
        return [
            (self._active[slot] >> bit & 1, self._in_window[slot] >> bit & 1)
            for bit in range(place, place + self.chip.layers[layer])
        ]

    def _put(self, slot: int, place: int, count: int, active: int, in_window: int) -> None:
        mask = ((1 << count) - 1) << place
        for memory, bits in ((self._active, active), (self._in_window, in_window)):
            memory[slot] = memory[slot] & ~mask | bits << place & mask


# Their ports ----------------------------------------------------------------------------------------------------------


class ReadPort(EachCycle):
    """A read port: ``read(*address)`` gives a value for each port of ``data``.

    ``requests`` lists the addresses asked for; data come ``latency`` cycles later. A request in a cycle in which port
    ``ready`` is low is not taken, and the data in their place are somebody else's; ``ready`` is driven here, high with
    probability ``grant``.
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
        # What to do about the data in the next cycles: leave them, set them, or (``()``) make them somebody else's.
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
    """What a chip holds of its samples, by slot, at ports ``inputs__…`` and ``activations__…``.

    ``lists`` : a sample's words (:func:`input_list`). ``activations`` : of hidden layers; a read is of ``words`` words.
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
    """Asserts that ``read`` and ``write`` are never high in one cycle, and makes what was read random after a write."""

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
        assert not (self._spoiled and self.part.get(self._read)), f"{self._read} and {self._write} in one cycle"


class WritePort(EachCycle):
    """A write port: ``write(*values of ports)`` at the end of a cycle in which ``enable`` is high."""

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
    """The memory of the local classifiers, read in every cycle, at ports ``prefix`` ``address`` and so on.

    ``columns`` is what it holds (:func:`classifier_columns`). ``writes`` are counted; a component that only reads has
    no ports for them.
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
