"""Testbench of the frame sender: its bytes equal those of ``encode``."""

import random

import cocotb

from popflip.hw.link.codec import OPEN, encode
from popflip.hw.link.commands import SESSION_BYTES, Result
from popflip.hw.link.sender import ANSWER_HEADER
from popflip.sim.bench.parts import Part, each_part
from popflip.sim.bench.runner import parameters


async def sends(part: Part) -> None:
    """The bytes of answers, one after another; without stalls a byte a cycle."""
    options = parameters()
    draw = random.Random(options["seed"])
    headers = part.source("header", ANSWER_HEADER, stall=options["stall"], seed=1)
    payloads = part.source("payload", 8, stall=options["stall"], seed=2)
    sink = part.sink("tx", 8, stall=options["stall"], seed=3)
    session = draw.getrandbits(32)
    part.set("session", session)
    expected = b""
    starts = []
    for _ in range(options["count"]):
        sequence, result = draw.randrange(256), draw.choice(list(Result))
        opens = draw.random() < 0.3
        payload = draw.randbytes(draw.choice([4, 5, 60] if opens else [0, 0, 1, 2, 5, 300]))
        headers.send({"sequence": sequence, "result": result, "length": len(payload), "open": opens})
        payloads.send(*payload)
        starts.append(len(expected))
        if opens:
            payload = session.to_bytes(SESSION_BYTES, "little") + payload[SESSION_BYTES:]
        expected += encode(sequence, result, payload, OPEN if opens else session)
    assert bytes(await sink.receive(len(expected))) == expected
    if not options["stall"]:
        taken, given = headers.monitor.cycles, sink.monitor.cycles
        assert [given[start] - cycle for start, cycle in zip(starts, taken, strict=True)] == [1] * len(starts)
        assert given[-1] - given[0] == len(expected) - 1 + len(starts) - 1, "a byte a cycle, and one for a header"


@cocotb.test()
async def bytes_equal_the_codec(dut):
    """The sender."""
    await each_part(dut, sends)
