"""Testbench of the testbench tools: payloads through any component that passes a stream on unchanged."""

import random

import cocotb
from amaranth.hdl import signed
from amaranth.lib import data

from popflip.sim.bench.clock import start
from popflip.sim.bench.runner import parameters
from popflip.sim.bench.streams import StreamSink, StreamSource

PAYLOAD = data.StructLayout({"number": signed(5), "list": data.ArrayLayout(3, 2), "flag": 1})


def payloads(seed: int, count: int) -> list[dict]:
    """``count`` random values of :data:`PAYLOAD`."""
    draw = random.Random(seed).randrange
    return [{"number": draw(-16, 16), "list": [draw(8), draw(8)], "flag": draw(2)} for _ in range(count)]


@cocotb.test()
async def passes_on(dut):
    """The payloads that go in come out, in order, for any stalls."""
    options = parameters()
    await start(dut)
    source = StreamSource(dut, "i", PAYLOAD, stall=options["stall"], seed=1)
    sink = StreamSink(dut, "o", PAYLOAD, stall=options["stall"], seed=2)
    sent = payloads(seed=3, count=options["count"])
    source.send(*sent)
    assert await sink.receive(len(sent)) == sent
    await source.drain()
    if not options["stall"]:
        assert [o - i for i, o in zip(source.monitor.cycles, sink.monitor.cycles, strict=True)] == [1] * len(sent)
