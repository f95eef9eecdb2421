"""Testbench of the flip pass."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import cocotb
import numpy as np

from popflip.golden.common.mask import bernoulli_words
from popflip.golden.common.prng import Xorshift32
from popflip.golden.config import WORD, Rule
from popflip.golden.gft.flip import flip
from popflip.golden.lbe.initialise import signs
from popflip.golden.lbe.reinforce import reinforce
from popflip.hw.common.scan import word_layout
from popflip.hw.common.signature import record_layout
from popflip.hw.config import ChipConfig
from popflip.hw.gft.select import selected_layout
from popflip.hw.layouts import counter_word, weight_word
from popflip.hw.lbe.reinforce import lesson_layout
from popflip.sim.bench.memories import WritePort
from popflip.sim.bench.networks import chip_of, config_of, random_layer
from popflip.sim.bench.parts import EachCycle, Part, each_part
from popflip.sim.bench.runner import parameters
from popflip.sim.bench.streams import unpack
from popflip.sim.bench.words import Word, difference, fields, lanes, layer_words, positions

ADDRESSES = ("weight_address", "weight_bank", "counter_address", "counter_bank")


class Quiet(EachCycle):
    """Counters are 0 in cycles without a write, GFT: while nothing is started."""

    def __init__(self, part: Part, told: str):
        self._told = told
        super().__init__(part)

    def look(self) -> None:
        told = self.part.get(self._told)
        assert told or self.part.get("write__counters") == 0, "counters without a write"


def mask_words(masks: list[int], row_words: int, width: int) -> list[int]:
    """The 32-bit masks of a layer's rows, ``width`` of them side by side."""
    return [
        sum(mask << WORD * place for place, mask in enumerate(masks[row : row + row_words][start : start + width]))
        for row in range(0, len(masks), row_words)
        for start in range(0, row_words, width)
    ]


class Pass(NamedTuple):
    """One pass: what starts it, the words that come, their masks, and what golden makes of them."""

    layer: int
    row: int | None  # LBE: the only one
    start: Any
    words: list[Word]
    masks: list[int]
    written: list[Word]
    records: list[list[int]]


def layers(config: ChipConfig, case: dict, rng: np.random.Generator, prng: Xorshift32) -> Iterator[Pass]:
    """GFT: a pass over each layer."""
    golden = config_of(config, flip_p256=case["flip_p256"], shift=case["shift"])
    for layer in range(config.depth):
        w, m = random_layer(config, layer, config.mmax / 2, rng)
        selected = (m != 0) & (np.sign(m) != w) & (rng.random(m.shape) < case["selected"])
        count = config.rows[layer] * config.mask_words[layer]
        masks = bernoulli_words(Xorshift32(prng.state), case["flip_p256"], count).tolist()
        flipped = flip(w, m, selected, golden, prng, config.word_base[layer])
        bits = [fields(word, 1) for word in lanes(config, selected)]
        words = [
            {**word, "selected": marked} for word, marked in zip(layer_words(config, layer, w, m), bits, strict=True)
        ]
        written = layer_words(config, layer, flipped.weights, flipped.counters)
        yield Pass(layer, None, layer, words, masks, written, flipped.records.tolist())


def rows(config: ChipConfig, case: dict, rng: np.random.Generator, prng: Xorshift32) -> Iterator[Pass]:
    """LBE: a pass over the first, the last and some other row of each layer."""
    golden = config_of(config, reinforce_p256=case["reinforce_p256"])
    for layer, count in enumerate(config.rows):
        _, m = random_layer(config, layer, case["spread"] * config.mmax, rng)
        for row in (0, count - 1, int(rng.integers(count))):
            desired, a = int(rng.integers(2)), rng.integers(0, 2, config.synapses[layer])
            masks = bernoulli_words(Xorshift32(prng.state), case["reinforce_p256"], config.mask_words[layer]).tolist()
            up = (a == desired)[None]
            after = reinforce(m[[row]], up, np.array([row]), golden, prng, config.word_base[layer])
            words = [
                {"position": position, "inputs": fields(inputs, 1), "counters": counters}
                for position, inputs, counters in zip(
                    positions(config, layer, row),
                    lanes(config, a[None]),
                    lanes(config, m[[row]]),
                    strict=True,
                )
            ]
            pads = config.real_lanes(layer, config.words[layer] - 1) ^ (1 << config.array_synapses) - 1
            words[-1]["inputs"] |= int(rng.integers(2**62)) & pads  # mean nothing
            m[row] = after.counters[0]
            written = layer_words(config, layer, signs(m >= 0), m)[row * config.words[layer] :][: len(words)]
            lesson = {
                "layer": layer,
                "slot": int(rng.integers(config.slots)),
                "winner": {"row": row, "desired": desired},
            }
            yield Pass(layer, row, lesson, words, masks, written, after.records.tolist())


async def check(part: Part, chip: dict, stall: float) -> None:
    """Layers with few and with many selected, for every kind of decay and mask; LBE: rows that are taught."""
    options = parameters()
    config = chip_of(chip)
    lbe = config.rule == Rule.LBE
    lanes_of_mask = max(WORD, config.array_synapses)
    start = part.source("start", lesson_layout(config) if lbe else range(config.depth), stall=stall, seed=1)
    source = part.source("i", word_layout(config) if lbe else selected_layout(config), stall=stall, seed=2)
    asked = part.sink("mask_start", range(config.depth), stall=stall, seed=3)
    masks = part.source("mask", lanes_of_mask, stall=stall, seed=4)
    records = part.sink("records", record_layout(config), stall=stall, seed=5)
    written: list[Word] = []

    def write(*values: int) -> None:
        position = dict(zip(ADDRESSES, values, strict=False))
        weights, counters = unpack(weight_word(config), values[-2]), unpack(counter_word(config), values[-1])
        written.append({"position": position, "weights": weights, "counters": counters})

    ports = [f"write__{name}" for name in (*ADDRESSES, "weights", "counters")]
    WritePort(part, "write__write", ports, write)
    Quiet(part, "write__write" if lbe else "start__valid")
    rng, prng = np.random.default_rng(options["seed"]), Xorshift32(options["seed"])
    seen = 0
    for case in options["cases"][config.rule]:
        part.set("shift", min(case.get("shift") or 0, config.counter_bits))
        for layer, row, started, words, drawn, after, recorded in (rows if lbe else layers)(config, case, rng, prng):
            if part.name in options.get("wrong", {}):
                after[-1]["counters"][config.synapses[layer] % config.array_synapses - 1] += 1
            written.clear()
            start.send(started)
            assert await asked.receive(1) == [layer], "masks of another layer asked for"
            masks.send(*mask_words(drawn, config.mask_words[layer], lanes_of_mask // WORD))
            source.send(*words)
            await start.drain()
            await part.next_cycle()
            got, seen = records.monitor.items[seen:], len(records.monitor.items)
            expected = [{**word, "position": {name: word["position"][name] for name in ADDRESSES}} for word in after]
            wrong = difference(config, layer, written, expected, row)
            assert wrong is None, f"{case}: {wrong}"
            assert got == [{"index": index, "mask": mask} for index, mask in recorded], f"{case}"
            await masks.drain()


@cocotb.test()
async def equals_golden(dut):
    """With stalls."""
    await each_part(dut, check, stall=0.3)


@cocotb.test()
async def equals_golden_at_full_speed(dut):
    """Without stalls."""
    await each_part(dut, check, stall=0)
