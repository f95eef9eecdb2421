"""Tools to test a :class:`popflip.hw.common.state_pass.StatePass`: memories in Python, commands, comparison."""

from __future__ import annotations

from collections import deque

import numpy as np

from popflip.golden.common.prng import first_state
from popflip.golden.config import Rule
from popflip.golden.memory.weights import State
from popflip.golden.trainer import initial
from popflip.hw.common.engine import EngineCommand
from popflip.hw.config import ChipConfig
from popflip.hw.layouts import counter_word, weight_word
from popflip.sim.bench.memories import ClassifierPort
from popflip.sim.bench.networks import config_of, random_layer
from popflip.sim.bench.parts import EachCycle, Part
from popflip.sim.bench.streams import PATIENCE, packer
from popflip.sim.bench.words import classifier_columns, fields, layer_words

CRC = 0x12345678  # before a command
SPOILT = 0xB5AD4ECEDA1CE2A9  # read data of single-port RAM after a write
Image = dict[tuple[str, int, int], int]
"""Bits of words, by memory, bank and address."""


def image(chip: ChipConfig, state: State) -> Image:
    """The words of a state in memory, pads included."""
    words: Image = {}
    pack_weights, pack_counters = packer(weight_word(chip)), packer(counter_word(chip))
    for layer, (w, m) in enumerate(zip(state.weights, state.counters, strict=True)):
        for word in layer_words(chip, layer, w, m):
            position = word["position"]
            words["weights", position["weight_bank"], position["weight_address"]] = pack_weights(word["weights"])
            words["counters", position["counter_bank"], position["counter_address"]] = pack_counters(word["counters"])
    return words


class Bench(EachCycle):
    """The component with its memories. Records reads, writes, and the cycles that the component counts.

    ``k`` : synapses to select in each layer. ``flips`` : the sum for each layer. ``busy`` : cycles in which each of
    :attr:`BUSY` was high. ``enables`` is an input port that lets the component use memory outside of commands.
    """

    BUSY = ("selecting", "flipping", "updating")

    def __init__(self, part: Part, config: ChipConfig, enables: str | None = None):
        self.config = config
        self._enables = enables
        self.memory: Image = {}
        self.k = [0] * config.depth
        self.flips = [0] * config.depth
        self.busy = dict.fromkeys(self.BUSY, 0)
        self._running = self._finished = False
        self._answers: deque[dict[str, int]] = deque({} for _ in range(config.read_latency))
        for strobe in ("rng__load", "crc__load", "command__valid", "rows__valid"):
            part.set(strobe, 0)
        super().__init__(part)

    def drive(self) -> None:
        self.part.set("k", self.k[self.part.get("layer")])
        for port, value in self._answers.popleft().items():
            self.part.set(port, value)

    def look(self) -> None:
        get = self.part.get
        self.flips[get("layer")] += get("flips")
        busy = [name for name in self.BUSY if get(name)]
        for name in busy:
            self.busy[name] += 1
        assert len(busy) <= 1, f"{' and '.join(busy)} at once"
        answer = {}
        for name in ("weights", "counters"):
            for access in ("read", "write"):
                if get(f"state__{name}__{access}"):
                    assert self._running or self._enabled(), f"{name}: {access} while nothing runs"
                    bank = get(f"state__{name}__{access}_bank")
                    place = name, bank, get(f"state__{name}__{access}_address")
                    if access == "read":
                        answer[f"state__{name}__read_data"] = self.memory.get(place, 0)
                        self._read_rows(answer, *place)
                    else:
                        self.memory[place] = get(f"state__{name}__write_data")
        if self.config.compact and get("state__counters__write"):
            assert not get("state__counters__read"), "counters: read and write in one cycle"
            answer["state__counters__read_data"] = SPOILT % (1 << counter_word(self.config).size)
        assert self._running or not get("classifiers__write"), "classifiers: written while no command runs"
        self._answers.append(answer)
        self._finished = bool(self._running and get("command__ready"))

    def _enabled(self) -> bool:
        return self._enables is not None and bool(self.part.get(self._enables))

    def _read_rows(self, answer: dict[str, int], name: str, bank: int, address: int) -> None:
        """Pc > 1: add the words of ``Pc`` rows to the answer."""
        count = self.config.learn_rows
        if count > 1:
            width = (weight_word if name == "weights" else counter_word)(self.config).size
            first = bank - bank % count
            words = (self.memory.get((name, first + row, address), 0) for row in range(count))
            answer[f"state__{name}__read_rows"] = fields(words, width)

    async def load(self, rng: int, crc: int) -> None:
        """Set the registers."""
        self.flips = [0] * self.config.depth
        self.part.set("rng__load_value", rng)
        self.part.set("crc__load_value", crc)
        for value in (1, 0):
            for strobe in ("rng__load", "crc__load"):
                self.part.set(strobe, value)
            await self.part.next_cycle()

    async def run(self, command: EngineCommand) -> None:
        """Run ``command`` to its end."""
        self.part.set("command__payload", command.value)
        self.part.set("command__valid", 1)
        self._running = True
        for _ in range(PATIENCE):
            await self.part.next_cycle()
            if self._finished:
                break
        assert self._finished, f"{command} does not end"
        self._running = self._finished = False
        self.part.set("command__valid", 0)
        await self.part.next_cycle()

    def compare(self, case: object, golden: State, crc: int, flips: list[int], wrong: bool) -> None:
        """Assert that memory and registers equal golden's."""
        expected = image(self.config, golden)
        if wrong:
            expected[next(reversed(expected))] ^= 1
        for place, bits in expected.items():
            held = self.memory[place]
            assert held == bits, (
                f"{case}: {place[0]}, bank {place[1]}, address {place[2]}: {held:#x}, expected {bits:#x}"
            )
        got = {"rng": self.part.get("rng__value"), "crc": self.part.get("crc__value"), "flips": self.flips}
        assert got == {"rng": golden.rng, "crc": crc, "flips": flips}, f"{case}"

    async def initial_states(self, seeds: list[int], rng: np.random.Generator, wrong: bool) -> None:
        """INITIALISE overwrites random words with golden's initial state, for several seeds."""
        config, part = self.config, self.part
        classifiers = None
        if config.rule == Rule.LBE:
            columns = [int(rng.integers(2**62)) % (1 << config.classes) for _ in range(sum(config.rows))]
            classifiers = ClassifierPort(part, columns, "classifiers__")
        busy = dict(self.busy)
        for seed in seeds:
            for place in image(config, random_state(config, 1, rng)):
                width = (weight_word(config) if place[0] == "weights" else counter_word(config)).size
                self.memory[place] = int.from_bytes(rng.bytes(width // 8 + 1)) % (1 << width)  # pads too
            await self.load(first_state(seed), 0)
            await self.run(EngineCommand.INITIALISE)
            golden = initial(config_of(config, seed=seed))
            self.compare(seed, golden, 0, [0] * config.depth, wrong=wrong)
            if classifiers is not None:
                columns = classifier_columns(golden.classifiers)
                assert classifiers.columns == columns, f"{seed}: classifiers {classifiers.columns}, expected {columns}"
        assert busy == self.busy, "a cycle counter counts during INITIALISE"


def random_state(config: ChipConfig, spread: float, rng: np.random.Generator) -> State:
    """A state whose counters have a standard deviation of ``spread`` × MMAX."""
    layers = [random_layer(config, layer, spread * config.mmax, rng) for layer in range(config.depth)]
    return State([w for w, _ in layers], [m for _, m in layers], int(rng.integers(1, 2**32)))
