"""Testbench of what lies between the byte streams and the controller: receiver, packet buffer, sender."""

import random

import cocotb

from popflip.hw.link.frames import ANSWER_HEADER, OVERHEAD, Result, encode
from popflip.sim.bench.link_model import Entry, ReceiverModel
from popflip.sim.bench.parts import EachCycle, Part, each_part
from popflip.sim.bench.runner import parameters


async def sends(part: Part) -> None:
    """The bytes of answers, one after another."""
    options = parameters()
    draw = random.Random(options["seed"])
    headers = part.source("header", ANSWER_HEADER, stall=options["stall"], seed=1)
    payloads = part.source("payload", 8, stall=options["stall"], seed=2)
    sink = part.sink("tx", 8, stall=options["stall"], seed=3)
    expected = b""
    starts = []
    for _ in range(options["count"]):
        sequence, result = draw.randrange(256), draw.choice(list(Result))
        payload = draw.randbytes(draw.choice([0, 0, 1, 2, 5, 300]))
        headers.send({"sequence": sequence, "result": result, "length": len(payload)})
        payloads.send(*payload)
        starts.append(len(expected))
        expected += encode(sequence, result, payload)
    assert bytes(await sink.receive(len(expected))) == expected
    if not options["stall"]:
        taken, given = headers.monitor.cycles, sink.monitor.cycles
        assert [given[start] - cycle for start, cycle in zip(starts, taken, strict=True)] == [1] * len(starts)
        assert given[-1] - given[0] == len(expected) - 1 + len(starts) - 1, "a byte a cycle, and one for a header"


class Store(EachCycle):
    """The packet buffer of a receiver under test: ``entries`` as bytes."""

    def __init__(self, part: Part, stall: float, seed: int):
        self.entries: list[bytes] = []
        self._open = bytearray()
        self._random, self._stall, self._full = random.Random(seed), stall, False
        super().__init__(part)

    def drive(self) -> None:
        self._full = self._random.random() < self._stall
        self.part.set("buffer__full", self._full)

    def look(self) -> None:
        data = self.part.get("buffer__data")
        if self.part.get("buffer__write"):
            assert not self._full, "written to a full buffer"
            self._open.append(data)
        if self.part.get("buffer__commit"):
            self._open[0] = data
            self.entries.append(bytes(self._open))
            self._open.clear()


def stored(entry: Entry) -> bytes:
    """An entry without the length, which is not to be believed after a bad header."""
    return bytes([entry.verdict, entry.sequence, entry.command]) + entry.payload


async def receives(part: Part, longest: int) -> None:
    """An entry for each frame, damaged or not, whatever lies between them."""
    options = parameters()
    draw = random.Random(options["seed"])
    source = part.source("rx", 8, stall=options["stall"], seed=1)
    store, model = Store(part, options["stall"], seed=2), ReceiverModel(longest)
    expected = []
    for _ in range(options["count"]):
        size = draw.choice([0, 1, 2, 7, longest - 1, longest, longest + 1, 256 + longest, 40_000])
        frame = bytearray(encode(draw.randrange(256), draw.randrange(256), draw.randbytes(min(size, 4 * longest))))
        if draw.random() < 0.4:
            frame[draw.randrange(draw.choice([6, len(frame)]))] ^= 1 << draw.randrange(8)
        data = draw.choice([b"", b"", draw.randbytes(3), bytes([0xA5] * 3)]) + frame
        source.send(*data)
        expected += model.feed(data)
    flush = bytes(longest + OVERHEAD)
    source.send(*flush)
    expected += model.feed(flush)
    await source.drain()
    for _ in range(4):
        await part.next_cycle()
    seen = [entry[:3] + entry[5:] for entry in store.entries]
    assert seen == [stored(entry) for entry in expected]
    assert {entry.verdict for entry in expected} == {Result.OK, Result.BAD_HEADER, Result.TOO_LONG, Result.BAD_CRC}
    lengths = {int.from_bytes(entry[3:5], "little") == len(entry) - 5 for entry in store.entries if entry[0] in (0, 3)}
    assert lengths == {True}


async def keeps(part: Part, depth: int) -> None:
    """The ring, against all bytes ever written and four places in them."""
    draw = random.Random(parameters()["seed"])
    content: list[int] = []
    entry = mark = cursor = 0  # first byte of the open entry, oldest byte kept, byte under the cursor
    readable = 0  # bytes committed before this cycle's data were read
    fullest = wraps = 0
    for cycle in range(4000):
        full = len(content) - mark == depth
        fullest += full
        write = not full and draw.random() < 0.7
        commit = not write and len(content) > entry and draw.random() < 0.3
        byte = draw.randrange(256)
        step = min(draw.choice([0, 1, 1, 1, 3, depth - 1]), entry - cursor)
        rewind, marks = draw.random() < 0.05, draw.random() < (0.3 if cycle // 100 % 2 else 0.01)
        for port, value in (("write", write), ("commit", commit), ("data", byte)):
            part.set(f"writer__{port}", value)
        for port, value in (("step", step), ("rewind", rewind), ("mark", marks)):
            part.set(f"reader__{port}", value)
        await part.settled()
        assert part.get("writer__full") == full, f"cycle {cycle}: full"
        assert part.get("reader__available") == (cursor != entry), f"cycle {cycle}: available"
        if cursor < readable:
            assert part.get("reader__data") == content[cursor], f"cycle {cycle}: data"
        readable = entry
        cursor, mark = mark if rewind else cursor + step, cursor if marks else mark
        if write:
            content.append(byte)
        if commit:
            content[entry] = byte
            entry = len(content)
        wraps = len(content) // depth
        await part.next_cycle()
    assert fullest > 10 and wraps > 10


CHECKS = {check.__name__: check for check in (sends, receives, keeps)}


async def check(part: Part, what: str, **description) -> None:
    """The check named ``what``."""
    await CHECKS[what](part, **description)


@cocotb.test()
async def frames(dut):
    """Sender, receivers and buffers, each against bytes in Python."""
    await each_part(dut, check)
