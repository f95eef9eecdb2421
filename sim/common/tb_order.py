"""Testbench of the chip's order of samples."""

import cocotb

from popflip.golden.common.order import KEY_WORDS, draw_key, permutation
from popflip.golden.common.prng import Xorshift32
from popflip.hw.common.order import Order, start_layout
from popflip.sim.bench.parts import Part, each_part
from popflip.sim.bench.runner import parameters


async def check(part: Part, most: int, counts: list[int], stall: float) -> None:
    """Whole orders of ``counts`` samples, and parts of the last one with the same key."""
    options = parameters()
    shape = Order(most).o.payload.shape()
    starts = part.source("start", start_layout(most), stall=stall, seed=1)
    sink = part.sink("o", shape, stall=stall, seed=3)
    drawn, golden = Xorshift32(options["seed"]), Xorshift32(options["seed"])
    key: tuple[int, ...] = ()
    runs = [(count, 0, count - 1, True) for count in counts]
    last = counts[-1]
    runs += [(last, last // 3, last // 2, False), (last, last - 1, last - 1, False), (last, 0, 0, True)]
    for count, first, end, fresh in runs:
        if fresh:
            for word in [0, *(drawn.draw() for _ in range(KEY_WORDS))]:  # the last ones count
                await part.next_cycle()
                part.set("load", 1)
                part.set("word", word)
            await part.next_cycle()
            part.set("load", 0)
            key = draw_key(golden)
        starts.send({"highest": count - 1, "first": first, "last": end})
        expected = permutation(key, count)[first : end + 1].tolist()
        got = await sink.receive(len(expected))
        for place, (item, number) in enumerate(zip(got, expected, strict=True)):
            wanted = {"number": number, "last": int(place == end - first)}
            wrong = options.get("wrong") == [part.name, count, place]
            assert (item == wanted) != wrong, f"{count} samples, place {first + place}: {item}, expected {wanted}"


@cocotb.test()
async def equals_golden(dut):
    """With stalls."""
    await each_part(dut, check, stall=0.3)


@cocotb.test()
async def equals_golden_at_full_speed(dut):
    """Without stalls."""
    await each_part(dut, check, stall=0)
