"""Testbench of the scan."""

import cocotb

from popflip.hw.scan import Scan, word_layout
from popflip.hw.weights import counter_word, weight_word
from popflip.sim.memories import ReadPort, chip_of
from popflip.sim.parts import Part, each_part
from popflip.sim.runner import parameters
from popflip.sim.streams import unpack
from popflip.sim.words import difference, positions

SCATTER = 0x9E3779B97F4A7C15  # odd, so that neighbouring addresses hold unlike bits


async def check(part: Part, chip: dict, stall: float) -> None:
    """Every layer twice, each word with what its addresses hold."""
    options = parameters()
    config = chip_of(chip)
    weights, counters = weight_word(config), counter_word(config)

    def content(weight_address: int, weight_bank: int, counter_address: int, counter_bank: int) -> tuple[int, int]:
        w = (weight_address * config.array_rows + weight_bank + 1) * SCATTER
        m = (counter_address * config.learn_rows + counter_bank + 1) * SCATTER
        return w % (1 << weights.size), m % (1 << counters.size)

    addresses = ("weight_address", "weight_bank", "counter_address", "counter_bank")
    ReadPort(part, "read", addresses, ("weights", "counters"), content, latency=config.read_latency)
    starts = part.source("start", range(config.depth), stall=stall, seed=1)
    sink = part.sink("o", word_layout(config), stall=stall, seed=2)
    for layer in [*range(config.depth), *range(config.depth)]:
        expected = []
        for position in positions(config, layer):
            w, m = content(*(position[name] for name in addresses))
            expected.append({"position": position, "weights": unpack(weights, w), "counters": unpack(counters, m)})
        if part.name in options.get("wrong", {}):
            expected[-1]["position"] = {**expected[-1]["position"], "counter_address": 0}
        first = len(sink.monitor.items)
        starts.send(layer)
        got = await sink.receive(len(expected))
        wrong = difference(config, layer, got, expected)
        assert wrong is None, wrong
        if stall == 0:
            cycles = sink.monitor.cycles[first:]
            assert cycles[0] - starts.monitor.cycles[-1] == Scan(config).latency, "latency"
            assert cycles[-1] - cycles[0] == len(cycles) - 1, "not a word a cycle"


@cocotb.test()
async def every_word_in_order(dut):
    """With stalls."""
    await each_part(dut, check, stall=0.3)


@cocotb.test()
async def every_word_in_order_at_full_speed(dut):
    """Without stalls, a word a cycle."""
    await each_part(dut, check, stall=0)
