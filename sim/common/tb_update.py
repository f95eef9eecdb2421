"""Testbench of all that changes weights and counters, on memories in Python: ends of batches, rows that are taught, and
initial states."""

from collections import deque

import cocotb
import numpy as np

from popflip.golden.common.prng import Xorshift32, first_state
from popflip.golden.common.signature import FlipSignature
from popflip.golden.config import Rule
from popflip.golden.gft.flip import flip
from popflip.golden.gft.select import select
from popflip.golden.lbe.initialise import signs
from popflip.golden.lbe.reinforce import reinforce
from popflip.golden.memory.weights import State
from popflip.golden.trainer import initial
from popflip.hw.common.update import UpdateCommand
from popflip.hw.config import ChipConfig
from popflip.hw.layouts import counter_word, input_word, weight_word
from popflip.hw.lbe.reinforce import lesson_layout
from popflip.sim.bench.memories import ActivationMemory, ClassifierPort, ReadPort
from popflip.sim.bench.networks import chip_of, config_of, random_layer
from popflip.sim.bench.parts import EachCycle, Part, each_part
from popflip.sim.bench.runner import parameters
from popflip.sim.bench.streams import PATIENCE, pack
from popflip.sim.bench.words import classifier_columns, fields, input_list, layer_words

CRC = 0x12345678  # before
SPOILT = 0xB5AD4ECEDA1CE2A9  # what single-port RAM shows after a write
Image = dict[tuple[str, int, int], int]
"""Bits of words, by memory, bank and address."""


def image(chip: ChipConfig, state: State) -> Image:
    """A state in memory, pads included; of rows that do not exist it holds zero counters, and no weights."""
    words: Image = {}
    for layer, (w, m) in enumerate(zip(state.weights, state.counters, strict=True)):
        for word in layer_words(chip, layer, w, m):
            position = word["position"]
            place = "weights", position["weight_bank"], position["weight_address"]
            words[place] = pack(weight_word(chip), word["weights"])
            words["counters", position["counter_bank"], position["counter_address"]] = pack(
                counter_word(chip), word["counters"]
            )
    return words


def end_batch(case: dict, config: ChipConfig, state: State, k: list[int]) -> tuple[State, int, list[int]]:
    """Golden's state, signature and flips of each layer after the end of a batch."""
    learning = config_of(config, flip_p256=case["flip_p256"], shift=case["shift"])
    prng, signature = Xorshift32(state.rng), FlipSignature(CRC)
    weights, counters, flips = [], [], []
    for layer, (w, m) in enumerate(zip(state.weights, state.counters, strict=True)):
        flipped = flip(w, m, select(m, w, k[layer]).mask, learning, prng, config.word_base[layer])
        weights.append(flipped.weights)
        counters.append(flipped.counters)
        signature.update(flipped.records)
        flips.append(flipped.flips)
    return State(weights, counters, prng.state), signature.crc, flips


class Bench(EachCycle):
    """The component with its memories: what it reads and writes, and what it says of itself.

    ``k`` : synapses to select, a layer. ``flips`` : added up, a layer; ``busy`` : cycles, by the name of the port that
    says so.
    """

    BUSY = ("selecting", "flipping", "teaching")

    def __init__(self, part: Part, config: ChipConfig):
        self.config = config
        self.memory: Image = {}
        self.k = [0] * config.depth
        self.flips = [0] * config.depth
        self.busy = dict.fromkeys(self.BUSY, 0)
        self._running = self._finished = False
        self._answers: deque[dict[str, int]] = deque({} for _ in range(config.read_latency))
        for strobe in ("rng_load", "crc_load", "command__valid", "lessons__valid"):
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
                    assert self._running or get("lessons__valid"), f"{name}: {access} while nothing runs"
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

    def _read_rows(self, answer: dict[str, int], name: str, bank: int, address: int) -> None:
        """With banks of counters: the words of as many rows at once."""
        count = self.config.learn_rows
        if count > 1:
            width = (weight_word if name == "weights" else counter_word)(self.config).size
            first = bank - bank % count
            words = (self.memory.get((name, first + row, address), 0) for row in range(count))
            answer[f"state__{name}__read_rows"] = fields(words, width)

    async def load(self, rng: int, crc: int) -> None:
        """Set the registers."""
        self.flips = [0] * self.config.depth
        self.part.set("rng_value", rng)
        self.part.set("crc_value", crc)
        for value in (1, 0):
            for strobe in ("rng_load", "crc_load"):
                self.part.set(strobe, value)
            await self.part.next_cycle()

    async def run(self, command: UpdateCommand) -> None:
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
        """Assert that memory and registers are as golden says."""
        expected = image(self.config, golden)
        if wrong:
            expected[next(reversed(expected))] ^= 1
        for place, bits in expected.items():
            held = self.memory[place]
            assert held == bits, (
                f"{case}: {place[0]}, bank {place[1]}, address {place[2]}: {held:#x}, expected {bits:#x}"
            )
        got = {"rng": self.part.get("rng"), "crc": self.part.get("crc"), "flips": self.flips}
        assert got == {"rng": golden.rng, "crc": crc, "flips": flips}, f"{case}"

    async def ends_of_batches(self, cases: list[dict], rng: np.random.Generator, wrong: bool) -> None:
        """GFT: every kind of them."""
        config = self.config
        for case in cases:
            state = random_state(config, case["spread"], rng)
            k = self.k = [int(case["selected"] * m.size) for m in state.counters]
            self.part.set("flip_p256", case["flip_p256"])
            self.part.set("shift", min(case["shift"] or 0, config.counter_bits))
            self.memory = image(config, state)
            await self.load(state.rng, CRC)
            await self.run(UpdateCommand.END_BATCH)
            self.compare(case, *end_batch(case, config, state, k), wrong=wrong)
        assert self.busy["selecting"] > 0 and self.busy["flipping"] > 0, "no cycles counted"

    async def taught_rows(self, cases: list[dict], rng: np.random.Generator, stall: float, wrong: bool) -> None:
        """LBE: rows of all layers, some of them several times, at every probability of reinforcement."""
        config, part = self.config, self.part
        activations = ActivationMemory(config, seed=1)
        lists: list[list[dict[str, int]]] = [[]] * config.slots
        ReadPort(
            part,
            "inputs__en",
            ("inputs__slot", "inputs__position"),
            ("inputs__data",),
            lambda slot, position: [pack(input_word(config), lists[slot][position])],
        )
        ReadPort(
            part,
            "activations__en",
            ("activations__slot", "activations__word"),
            ("activations__active", "activations__in_window"),
            activations.read,
        )
        source = part.source("lessons", lesson_layout(config), stall=stall, seed=1)
        for case in cases:
            state, flips, words = random_state(config, case["spread"], rng), [0] * config.depth, self.busy["teaching"]
            prng, signature = Xorshift32(state.rng), FlipSignature(CRC)
            self.memory = image(config, state)
            part.set("reinforce_p256", case["reinforce_p256"])
            await self.load(state.rng, CRC)
            inputs = [[rng.integers(0, 2, width, np.uint8) for width in config.layers] for _ in range(config.slots)]
            for slot, (x, *layers) in enumerate(inputs):
                lists[slot] = input_list(config, x)
                for layer, a in enumerate(layers[:-1], 1):
                    activations.put_layer(slot, layer, a, a)
            for _ in range(case["lessons"]):
                layer, slot = int(rng.integers(config.depth)), int(rng.integers(config.slots))
                row, desired = int(rng.integers(config.rows[layer])), int(rng.integers(2))
                source.send({"layer": layer, "slot": slot, "winner": {"row": row, "desired": desired}})
                m, up = state.counters[layer], (inputs[slot][layer] == desired)[None]
                golden = config_of(config, reinforce_p256=case["reinforce_p256"])
                after = reinforce(m[[row]], up, np.array([row]), golden, prng, config.word_base[layer])
                m[row] = after.counters[0]
                signature.update(after.records)
                flips[layer] += after.flips
                words += config.words[layer]
            await source.drain()
            await part.next_cycle()
            state = State([signs(m >= 0) for m in state.counters], state.counters, prng.state)
            self.compare(case, state, signature.crc, flips, wrong)
            assert self.busy["teaching"] == words, f"{case}: teaching for {self.busy['teaching']} cycles, not {words}"

    async def initial_states(self, seeds: list[int], rng: np.random.Generator, wrong: bool) -> None:
        """Drawn over what was there before."""
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
            await self.run(UpdateCommand.INITIALISE)
            golden = initial(config_of(config, seed=seed))
            self.compare(seed, golden, 0, [0] * config.depth, wrong=wrong)
            if classifiers is not None:
                columns = classifier_columns(golden.classifiers)
                assert classifiers.columns == columns, f"{seed}: classifiers {classifiers.columns}, expected {columns}"
        assert busy == self.busy, "initialising is none of what is counted"


def random_state(config: ChipConfig, spread: float, rng: np.random.Generator) -> State:
    """Counters of about ``spread`` times as much as they can be."""
    layers = [random_layer(config, layer, spread * config.mmax, rng) for layer in range(config.depth)]
    return State([w for w, _ in layers], [m for _, m in layers], int(rng.integers(1, 2**32)))


async def check(part: Part, chip: dict, stall: float) -> None:
    """All that changes weights and counters."""
    options = parameters()
    config = chip_of(chip)
    bench = Bench(part, config)
    rng = np.random.default_rng(options["seed"])
    wrong = part.name in options.get("wrong", {})
    cases = options["cases"][config.rule]
    if config.rule == Rule.LBE:
        await bench.taught_rows(cases, rng, stall, wrong)
    else:
        await bench.ends_of_batches(cases, rng, wrong)
    await bench.initial_states(options["seeds"], rng, wrong)


@cocotb.test()
async def equals_golden(dut):
    """State, signature, flips and random state, after every command and row."""
    await each_part(dut, check, stall=parameters()["stall"])
