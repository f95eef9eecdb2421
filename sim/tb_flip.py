"""Testbench of the flip pass."""

import cocotb
import numpy as np

from popflip.golden.config import WORD
from popflip.golden.flip import flip
from popflip.golden.mask import bernoulli_words
from popflip.golden.prng import Xorshift32
from popflip.hw.select import selected_layout
from popflip.hw.signature import record_layout
from popflip.hw.weights import counter_word, weight_word
from popflip.sim.memories import WritePort, chip_of
from popflip.sim.parts import EachCycle, Part, each_part
from popflip.sim.runner import parameters
from popflip.sim.streams import unpack
from popflip.sim.words import config_of, difference, lanes, layer_words, random_layer

ADDRESSES = ("weight_address", "weight_bank", "counter_address", "counter_bank")


class Quiet(EachCycle):
    """Counters are 0 in cycles without a write."""

    def look(self) -> None:
        assert self.part.get("write__write") or self.part.get("write__counters") == 0, "counters without a write"


def mask_words(masks: list[int], row_words: int, width: int) -> list[int]:
    """The 32-bit masks of a layer's rows, ``width`` of them side by side."""
    return [
        sum(mask << WORD * place for place, mask in enumerate(masks[row : row + row_words][start : start + width]))
        for row in range(0, len(masks), row_words)
        for start in range(0, row_words, width)
    ]


async def check(part: Part, chip: dict, stall: float) -> None:
    """Layers with few and with many selected, for every kind of decay and mask."""
    options = parameters()
    config = chip_of(chip)
    lanes_of_mask = max(WORD, config.array_synapses)
    start = part.source("start", range(config.depth), stall=stall, seed=1)
    source = part.source("i", selected_layout(config), stall=stall, seed=2)
    asked = part.sink("mask_start", range(config.depth), stall=stall, seed=3)
    masks = part.source("mask", lanes_of_mask, stall=stall, seed=4)
    records = part.sink("records", record_layout(config), stall=stall, seed=5)
    written: list[dict] = []

    def write(*values: int) -> None:
        position = dict(zip(ADDRESSES, values, strict=False))
        weights, counters = unpack(weight_word(config), values[-2]), unpack(counter_word(config), values[-1])
        written.append({"position": position, "weights": weights, "counters": counters})

    ports = [f"write__{name}" for name in (*ADDRESSES, "weights", "counters")]
    WritePort(part, "write__write", ports, write)
    Quiet(part)
    rng = np.random.default_rng(options["seed"])
    seen = 0
    prng, raw = Xorshift32(options["seed"]), Xorshift32(options["seed"])
    for case in options["cases"]:
        golden = config_of(config, flip_p256=case["flip_p256"], shift=case["shift"])
        part.set("shift", min(case["shift"] or 0, config.counter_bits))
        for layer in range(config.depth):
            w, m = random_layer(config, layer, config.mmax / 2, rng)
            selected = (m != 0) & (np.sign(m) != w) & (rng.random(m.shape) < case["selected"])
            flipped = flip(w, m, selected, golden, prng, config.word_base[layer])
            drawn = bernoulli_words(raw, case["flip_p256"], config.rows[layer] * config.mask_words[layer]).tolist()
            if part.name in options.get("wrong", {}):
                flipped.counters[-1, -1] += 1
            bits = [sum(bit << lane for lane, bit in enumerate(word)) for word in lanes(config, selected)]
            words = [
                {**word, "selected": marked}
                for word, marked in zip(layer_words(config, layer, w, m), bits, strict=True)
            ]
            written.clear()
            start.send(layer)
            assert await asked.receive(1) == [layer], "masks of another layer asked for"
            masks.send(*mask_words(drawn, config.mask_words[layer], lanes_of_mask // WORD))
            source.send(*words)
            await start.drain()
            await part.next_cycle()
            got, seen = records.monitor.items[seen:], len(records.monitor.items)
            expected = [
                {**word, "position": {name: word["position"][name] for name in ADDRESSES}}
                for word in layer_words(config, layer, flipped.weights, flipped.counters)
            ]
            wrong = difference(config, layer, written, expected)
            assert wrong is None, f"{case}: {wrong}"
            assert got == [{"index": index, "mask": mask} for index, mask in flipped.records.tolist()], f"{case}"
            await masks.drain()


@cocotb.test()
async def equals_golden(dut):
    """With stalls."""
    await each_part(dut, check, stall=0.3)


@cocotb.test()
async def equals_golden_at_full_speed(dut):
    """Without stalls."""
    await each_part(dut, check, stall=0)
