"""Testbench of the selection."""

import cocotb
import numpy as np

from popflip.golden.gft.select import select
from popflip.hw.common.scan import word_layout
from popflip.hw.gft.select import Select, selected_layout
from popflip.sim.bench.networks import chip_of, random_layer
from popflip.sim.bench.parts import EachCycle, Part, each_part
from popflip.sim.bench.runner import parameters
from popflip.sim.bench.words import difference, lanes, layer_words


class Found(EachCycle):
    """The level in cycles in which it is found."""

    level: int | None = None

    def look(self) -> None:
        if self.part.get("found"):
            self.level = self.part.get("level")


async def check(part: Part, chip: dict, stall: float) -> None:
    """Selections equal golden's: counters alike, different or saturated, and ``k`` from nothing to everything."""
    options = parameters()
    config = chip_of(chip)
    start = part.source("start", Select(config).start.payload.shape(), stall=stall, seed=1)
    source = part.source("i", word_layout(config), stall=stall, seed=2)
    scans = part.sink("scan", range(config.depth), stall=stall, seed=3)
    sink = part.sink("o", selected_layout(config), stall=stall, seed=4)
    found = Found(part)
    rng = np.random.default_rng(options["seed"])
    for spread in options["spreads"]:
        for layer in range(config.depth):
            w, m = random_layer(config, layer, spread, rng)
            words = layer_words(config, layer, w, m)
            for k in [0, 1, m.size // 7, m.size // 2, m.size]:
                selection = select(m, w, k)
                expected = selection.mask.copy()
                if part.name in options.get("wrong", {}):
                    expected[-1, -1] ^= True
                start.send({"layer": layer, "k": k})
                passes = Select(config).passes + 1
                first = len(source.monitor.items)
                for asked in range(passes):
                    assert (await scans.receive(1)) == [layer], "requests another layer"
                    source.send(*words)
                    if asked < passes - 1:
                        await source.drain()
                case = f"spread {spread}, k {k}"
                got = await sink.receive(len(words))
                bits = [sum(bit << lane for lane, bit in enumerate(word)) for word in lanes(config, expected)]
                wanted = [{**word, "selected": selected} for word, selected in zip(words, bits, strict=True)]
                wrong = difference(config, layer, got, wanted)
                assert wrong is None, f"{case}: {wrong}"
                assert found.level == selection.theta - 1, f"{case}: level {found.level}, θ {selection.theta}"
                await start.drain()
                if stall == 0:
                    cycles = source.monitor.cycles[first:]
                    for number in range(passes - 1):
                        taken = cycles[number * len(words) : (number + 1) * len(words)]
                        assert taken[-1] - taken[0] == len(words) - 1, f"{case}: not a word a cycle"


@cocotb.test()
async def equals_golden(dut):
    """With stalls."""
    await each_part(dut, check, stall=0.3)


@cocotb.test()
async def equals_golden_at_full_speed(dut):
    """Without stalls, a word a cycle while counting."""
    await each_part(dut, check, stall=0)
