"""Testbench of the initial state."""

import random

import cocotb

from popflip.golden.common.prng import Xorshift32, first_state
from popflip.golden.config import WORD, Rule
from popflip.golden.trainer import initial
from popflip.hw.common.scan import position_layout
from popflip.hw.config import ChipConfig
from popflip.hw.layouts import counter_word, weight_word
from popflip.sim.bench.memories import ClassifierPort, WritePort
from popflip.sim.bench.networks import chip_of, config_of
from popflip.sim.bench.parts import EachCycle, Part, each_part
from popflip.sim.bench.runner import parameters
from popflip.sim.bench.streams import unpacker
from popflip.sim.bench.words import Word, classifier_columns, difference, layer_words, positions

ADDRESSES = ("weight_address", "weight_bank", "counter_address", "counter_bank")


class Words(EachCycle):
    """Random words, offered now and then, and the one drawn last."""

    def __init__(self, part: Part, stall: float):
        self.golden = Xorshift32(1)
        self._stall, self._random = stall, random.Random(part.name)
        self._taken = self._offered = False
        super().__init__(part)

    def drive(self) -> None:
        if self._taken:
            self.golden.draw()
        if self._taken or not self._offered:
            self._offered = self._random.random() >= self._stall
        self.part.set("words__valid", self._offered)
        self.part.set("words__payload", Xorshift32(self.golden.state).draw())
        self.part.set("drawn", self.golden.state)

    def look(self) -> None:
        self._taken = bool(self._offered and self.part.get("words__ready"))


async def check(part: Part, chip: dict, stall: float) -> None:
    """All layers of a network, from several seeds."""
    options = parameters()
    config = chip_of(chip)
    lbe = config.rule == Rule.LBE
    start = part.source("start", range(config.depth), stall=stall, seed=1)
    scans = part.sink("scan", range(config.depth), stall=stall, seed=2)
    source = part.source("i", position_layout(config), stall=stall, seed=3)
    written: list[Word] = []
    weights_of, counters_of = unpacker(weight_word(config)), unpacker(counter_word(config))

    def write(*values: int) -> None:
        position = dict(zip(ADDRESSES, values, strict=False))
        written.append({"position": position, "weights": weights_of(values[-2]), "counters": counters_of(values[-1])})

    WritePort(part, "write__write", [f"write__{name}" for name in (*ADDRESSES, "weights", "counters")], write)
    words = Words(part, stall)
    draw = random.Random(f"{part.name} {stall}")
    before = [draw.getrandbits(config.classes) for _ in range(sum(config.rows))]
    classifiers = ClassifierPort(part, before, "classifiers__") if lbe else None
    wrong = options.get("wrong", {}).get(part.name)
    for seed in options["seeds"]:
        golden = config_of(config, seed=seed)
        state = initial(golden)
        words.golden = Xorshift32(first_state(seed))
        for layer, (w, m) in enumerate(zip(state.weights, state.counters, strict=True)):
            if wrong == "weight":
                w[-1, -1] *= -1
                w[-1, -1] += w[-1, -1] == 0
            written.clear()
            first = len(source.monitor.cycles)
            start.send(layer)
            assert await scans.receive(1) == [layer], "requests another layer"
            source.send(*positions(config, layer))
            await start.drain()
            await part.next_cycle()
            expected = [
                {**word, "position": {name: word["position"][name] for name in ADDRESSES}}
                for word in layer_words(config, layer, w, m)
            ]
            different = difference(config, layer, written, expected)
            assert different is None, f"seed {seed}: {different}"
            if classifiers is not None and stall == 0:
                taken = start.monitor.cycles[-1] - source.monitor.cycles[first]
                assert taken == cycles(config, layer), f"layer {layer}: {taken} cycles, not {cycles(config, layer)}"
        if classifiers is not None:
            columns = classifier_columns(state.classifiers)
            if wrong == "classifier":
                columns[-1] ^= 1
            for neuron, (held, column) in enumerate(zip(classifiers.columns, columns, strict=True)):
                assert held == column, f"seed {seed}, classifiers of neuron {neuron}: {held:#x}, expected {column:#x}"
        assert words.golden.state == state.rng, f"seed {seed}: another number of words drawn"


def cycles(config: ChipConfig, layer: int) -> int:
    """LBE: cycles from the write of the first N-synapse word to the end of the layer."""
    rows, lanes, masks = config.rows[layer], config.array_synapses, config.mask_words[layer]
    draws = 8 * rows * masks
    writes = rows * config.words[layer]
    # Random words drawn for the first N-synapse word. If it is its row's only one, it draws a whole 32-synapse word.
    first = 8 * min(masks, lanes // WORD) if lanes >= WORD else 8 if config.words[layer] == 1 else lanes // 4
    classifiers = config.classes * (-(-rows // WORD) + 2 * rows)
    return draws - first + writes - 1 + classifiers


@cocotb.test()
async def equals_golden(dut):
    """With stalls."""
    await each_part(dut, check, stall=0.3)


@cocotb.test()
async def equals_golden_at_full_speed(dut):
    """Without stalls."""
    await each_part(dut, check, stall=0)
