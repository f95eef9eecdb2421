"""Tools to test a :class:`popflip.hw.common.write_back.WriteBack`: passes over words, and the words they must write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from popflip.golden.common.prng import Xorshift32
from popflip.golden.config import WORD
from popflip.hw.common.signature import record_layout
from popflip.hw.config import ChipConfig
from popflip.hw.layouts import counter_word, weight_word
from popflip.sim.bench.memories import WritePort
from popflip.sim.bench.parts import EachCycle, Part
from popflip.sim.bench.runner import parameters
from popflip.sim.bench.streams import unpacker
from popflip.sim.bench.words import Word, difference

ADDRESSES = ("weight_address", "weight_bank", "counter_address", "counter_bank")


class Quiet(EachCycle):
    """Asserts that counters are 0 in cycles in which ``port`` is low."""

    def __init__(self, part: Part, port: str):
        self._port = port
        super().__init__(part)

    def look(self) -> None:
        high = self.part.get(self._port)
        assert high or self.part.get("write__counters") == 0, f"counters without {self._port}"


def mask_words(masks: list[int], row_words: int, width: int) -> list[int]:
    """The 32-bit masks of a layer's rows, ``width`` of them side by side."""
    return [
        sum(mask << WORD * place for place, mask in enumerate(masks[row : row + row_words][start : start + width]))
        for row in range(0, len(masks), row_words)
        for start in range(0, row_words, width)
    ]


class Pass(NamedTuple):
    """One pass: its start, its words and their masks, and the words and records that golden writes."""

    layer: int
    row: int | None  # None: the whole layer
    start: Any
    words: list[Word]
    masks: list[int]
    written: list[Word]
    records: list[list[int]]


async def check_passes(
    part: Part,
    config: ChipConfig,
    passes: Callable[[ChipConfig, dict, np.random.Generator, Xorshift32], Iterator[Pass]],
    start_shape: Any,
    word_shape: Any,
    stall: float,
) -> None:
    """Every pass of every case writes golden's words, to the right addresses, and gives golden's records."""
    options = parameters()
    lanes_of_mask = max(WORD, config.array_synapses)
    start = part.source("start", start_shape, stall=stall, seed=1)
    source = part.source("i", word_shape, stall=stall, seed=2)
    requested = part.sink("mask_start", range(config.depth), stall=stall, seed=3)
    masks = part.source("mask", lanes_of_mask, stall=stall, seed=4)
    records = part.sink("records", record_layout(config), stall=stall, seed=5)
    written: list[Word] = []
    weights_of, counters_of = unpacker(weight_word(config)), unpacker(counter_word(config))

    def write(*values: int) -> None:
        position = dict(zip(ADDRESSES, values, strict=False))
        written.append({"position": position, "weights": weights_of(values[-2]), "counters": counters_of(values[-1])})

    ports = [f"write__{name}" for name in (*ADDRESSES, "weights", "counters")]
    WritePort(part, "write__write", ports, write)
    rng, prng = np.random.default_rng(options["seed"]), Xorshift32(options["seed"])
    seen = 0
    for case in options["cases"]:
        part.set("shift", min(case.get("shift") or 0, config.counter_bits))
        for layer, row, started, words, drawn, after, recorded in passes(config, case, rng, prng):
            if part.name in options.get("wrong", {}):
                after[-1]["counters"][config.synapses[layer] % config.array_synapses - 1] += 1
            written.clear()
            start.send(started)
            assert await requested.receive(1) == [layer], "requests the masks of another layer"
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
