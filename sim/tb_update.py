"""Testbench of the end of a batch and of the initial state, on memories in Python."""

from collections import deque

import cocotb
import numpy as np

from popflip.golden.flip import flip
from popflip.golden.prng import Xorshift32, first_state
from popflip.golden.select import select
from popflip.golden.signature import FlipSignature
from popflip.golden.weights import State, initial
from popflip.hw.config import ChipConfig
from popflip.hw.update import UpdateCommand
from popflip.hw.weights import counter_word, weight_word
from popflip.sim.memories import chip_of, fields
from popflip.sim.parts import EachCycle, Part, each_part
from popflip.sim.runner import parameters
from popflip.sim.streams import PATIENCE, pack
from popflip.sim.words import config_of, layer_words, random_layer

CRC = 0x12345678  # before
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

    ``k`` : synapses to select, a layer. ``flips``, ``selecting``, ``flipping`` : added up.
    """

    def __init__(self, part: Part, config: ChipConfig):
        self.config = config
        self.memory: Image = {}
        self.k = [0] * config.depth
        self.flips = [0] * config.depth
        self.selecting = self.flipping = 0
        self._running = self._finished = False
        self._answers: deque[dict[str, int]] = deque({} for _ in range(config.read_latency))
        for strobe in ("rng_load", "crc_load", "command__valid"):
            part.set(strobe, 0)
        super().__init__(part)

    def drive(self) -> None:
        self.part.set("k", self.k[self.part.get("layer")])
        for port, value in self._answers.popleft().items():
            self.part.set(port, value)

    def look(self) -> None:
        get = self.part.get
        self.flips[get("layer")] += get("flips")
        self.selecting += get("selecting")
        self.flipping += get("flipping")
        assert not (get("selecting") and get("flipping")), "selecting and flipping at once"
        answer = {}
        for name in ("weights", "counters"):
            for access in ("read", "write"):
                if get(f"state__{name}__{access}"):
                    assert self._running, f"{name}: {access} while no command runs"
                    bank = get(f"state__{name}__{access}_bank")
                    place = name, bank, get(f"state__{name}__{access}_address")
                    if access == "read":
                        answer[f"state__{name}__read_data"] = self.memory.get(place, 0)
                        self._read_rows(answer, *place)
                    else:
                        self.memory[place] = get(f"state__{name}__write_data")
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

    async def run(self, command: UpdateCommand, rng: int, crc: int) -> None:
        """Set the registers, and run ``command`` to its end."""
        self.flips = [0] * self.config.depth
        self.part.set("rng_value", rng)
        self.part.set("crc_value", crc)
        for value in (1, 0):
            for strobe in ("rng_load", "crc_load"):
                self.part.set(strobe, value)
            await self.part.next_cycle()
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


async def check(part: Part, chip: dict) -> None:
    """Ends of batches of every kind, and initial states over what was there before."""
    options = parameters()
    config = chip_of(chip)
    bench = Bench(part, config)
    rng = np.random.default_rng(options["seed"])
    wrong = part.name in options.get("wrong", {})
    for case in options["cases"]:
        layers = [random_layer(config, layer, case["spread"] * config.mmax, rng) for layer in range(config.depth)]
        state = State([w for w, _ in layers], [m for _, m in layers], int(rng.integers(1, 2**32)))
        k = bench.k = [int(case["selected"] * m.size) for m in state.counters]
        part.set("flip_p256", case["flip_p256"])
        part.set("shift", min(case["shift"] or 0, config.counter_bits))
        bench.memory = image(config, state)
        await bench.run(UpdateCommand.END_BATCH, state.rng, CRC)
        bench.compare(case, *end_batch(case, config, state, k), wrong=wrong)
    selecting, flipping = bench.selecting, bench.flipping
    assert selecting > 0 and flipping > 0, "no cycles counted"
    for seed in options["seeds"]:
        for place, bits in image(config, state).items():
            width = (weight_word(config) if place[0] == "weights" else counter_word(config)).size
            bench.memory[place] = bits ^ int(rng.integers(0, 2**63)) % (1 << width)  # pads too
        await bench.run(UpdateCommand.INITIALISE, first_state(seed), 0)
        bench.compare(seed, initial(config_of(config, seed=seed)), 0, [0] * config.depth, wrong=wrong)
    assert (selecting, flipping) == (bench.selecting, bench.flipping), "initialising is neither"


@cocotb.test()
async def equals_golden(dut):
    """State, signature, flips and random state, after every command."""
    await each_part(dut, check)
