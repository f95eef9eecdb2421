"""Testbench of the frame receiver: the entries it stores equal its model's."""

import random

import cocotb

from popflip.hw.link.codec import OVERHEAD, encode
from popflip.hw.link.commands import Result
from popflip.sim.bench.link_model import Entry, ReceiverModel
from popflip.sim.bench.parts import EachCycle, Part, each_part
from popflip.sim.bench.runner import parameters


class Buffer(EachCycle):
    """The packet buffer behind the receiver: ``entries`` as bytes."""

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
    """An entry without its length, which is meaningless after a bad header."""
    return bytes([entry.verdict, entry.sequence, entry.command]) + entry.payload


async def receives(part: Part, longest: int) -> None:
    """An entry for each frame, damaged or not, whatever lies between them."""
    options = parameters()
    draw = random.Random(options["seed"])
    source = part.source("rx", 8, stall=options["stall"], seed=1)
    buffer, model = Buffer(part, options["stall"], seed=2), ReceiverModel(longest)
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
    seen = [entry[:3] + entry[5:] for entry in buffer.entries]
    assert seen == [stored(entry) for entry in expected]
    assert {entry.verdict for entry in expected} == {Result.OK, Result.BAD_HEADER, Result.TOO_LONG, Result.BAD_CRC}
    lengths = {int.from_bytes(entry[3:5], "little") == len(entry) - 5 for entry in buffer.entries if entry[0] in (0, 3)}
    assert lengths == {True}


@cocotb.test()
async def entries_equal_the_model(dut):
    """Receivers side by side."""
    await each_part(dut, receives)
