"""Testbench of the scan."""

import random

import cocotb

from popflip.golden.config import Rule
from popflip.hw.common.scan import Scan, data_layout, place_layout, word_layout
from popflip.hw.layouts import counter_word, weight_word
from popflip.sim.bench.memories import ReadPort
from popflip.sim.bench.networks import chip_of
from popflip.sim.bench.parts import Part, each_part
from popflip.sim.bench.runner import parameters
from popflip.sim.bench.streams import pack, unpack
from popflip.sim.bench.words import difference, positions

SCATTER = 0x9E3779B97F4A7C15  # odd, so that neighbouring addresses hold unlike bits


async def check(part: Part, chip: dict, stall: float) -> None:
    """Scans every layer twice, and LBE's rows in between. Each word carries the data at its addresses."""
    options = parameters()
    config, draw = chip_of(chip), random.Random(part.name)
    weights, counters = weight_word(config), counter_word(config)
    shape = data_layout(config)

    def content(weight_address: int, weight_bank: int, counter_address: int, counter_bank: int, word: int) -> dict:
        w = (weight_address * config.array_rows + weight_bank + 1) * SCATTER
        m = (counter_address * config.learn_rows + counter_bank + 1) * SCATTER
        held = {"counters": unpack(counters, m % (1 << counters.size))}
        if config.rule == Rule.LBE:
            return held | {"inputs": (word + 1) * SCATTER % (1 << config.array_synapses)}
        return held | {"weights": unpack(weights, w % (1 << weights.size))}

    addresses = ("weight_address", "weight_bank", "counter_address", "counter_bank")
    requests = ReadPort(
        part,
        "read",
        (*addresses, "word"),
        ("data",),
        lambda *place: [pack(shape, content(*place))],
        latency=config.read_latency,
    )
    part.set("flowing", stall == 0)
    starts = part.source("start", place_layout(config), stall=stall, seed=1)
    sink = part.sink("o", word_layout(config), stall=stall, seed=2)
    places: list[tuple[int, int | None]] = [(layer, None) for layer in range(config.depth)]
    if config.rule == Rule.LBE:
        for layer, rows in enumerate(config.rows):
            places += [(layer, row) for row in (0, rows - 1, draw.randrange(rows))]
    for layer, row in [*places, *draw.sample(places, len(places))]:
        expected, requested = [], []
        for number, position in enumerate(positions(config, layer, row)):
            place = *(position[name] for name in addresses), number % config.words[layer]
            requested.append(place)
            expected.append({"position": position, **content(*place)})
        if part.name in options.get("wrong", {}):
            expected[-1]["position"] = {**expected[-1]["position"], "counter_address": -1}
        first, asked = len(sink.monitor.items), len(requests.requests)
        single = {"row": row or 0, "single": int(row is not None)} if config.rule == Rule.LBE else {}
        starts.send({"layer": layer, **single})
        got = await sink.receive(len(expected))
        wrong = difference(config, layer, got, expected, row)
        assert wrong is None, wrong
        assert requests.requests[asked:] == requested, f"layer {layer}, row {row}: requests other words"
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
