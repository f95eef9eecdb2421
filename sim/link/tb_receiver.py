"""Testbench of the frame receiver: the entries it stores equal its model's."""

import random

import cocotb

from popflip.hw.link.codec import OPEN, OVERHEAD, encode
from popflip.hw.link.commands import Result
from popflip.hw.link.receiver import VERDICT
from popflip.sim.bench.link_model import Entry, ReceiverModel
from popflip.sim.bench.parts import EachCycle, Part, each_part
from popflip.sim.bench.runner import parameters

EPOCH = VERDICT["epoch"].offset


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


def stored(entry: Entry, sessions: list[int]) -> bytes:
    """An entry without its length, which is meaningless after a bad header. Epochs alternate from one of ``sessions``
    to the next."""
    verdict = entry.verdict | sessions.index(entry.session) % 2 << EPOCH
    return bytes([verdict, entry.sequence, entry.command]) + entry.payload


async def receives(part: Part, longest: int) -> None:
    """An entry for each frame, damaged or not, whatever lies between them, and whenever the session changes."""
    options = parameters()
    draw = random.Random(options["seed"])
    source = part.source("rx", 8, stall=options["stall"], seed=1)
    buffer, model = Buffer(part, options["stall"], seed=2), ReceiverModel(longest)
    sessions, expected = [OPEN], []
    part.set("session", OPEN)
    part.set("epoch", 0)

    async def change() -> None:
        await source.drain()
        for _ in range(4):  # until the entry is closed
            await part.next_cycle()
        sessions.append(draw.getrandbits(32))
        part.set("session", sessions[-1])
        part.set("epoch", 1 - len(sessions) % 2)
        model.session = sessions[-1]

    for _ in range(options["count"]):
        size = draw.choice([0, 1, 2, 7, longest - 1, longest, longest + 1, 256 + longest, 40_000])
        session = draw.choice([*sessions[-1:] * 9, *sessions[-2:], OPEN])
        content = draw.randbytes(min(size, 4 * longest))
        frame = bytearray(encode(draw.randrange(256), draw.randrange(256), content, session))
        if draw.random() < 0.4:
            frame[draw.randrange(draw.choice([6, len(frame)]))] ^= 1 << draw.randrange(8)
        data = draw.choice([b"", b"", draw.randbytes(3), bytes([0xA5] * 3)]) + frame
        middle = draw.choice([0, *[len(data)] * 5, draw.randrange(len(data))])
        for piece in (data[:middle], data[middle:]):
            source.send(*piece)
            expected += model.feed(piece)
            if 0 < middle < len(data) and piece == data[:middle]:
                await change()
    flush = bytes(longest + OVERHEAD)
    source.send(*flush)
    expected += model.feed(flush)
    await source.drain()
    for _ in range(4):
        await part.next_cycle()
    seen = [entry[:3] + entry[5:] for entry in buffer.entries]
    assert seen == [stored(entry, sessions) for entry in expected]
    assert {entry.verdict for entry in expected} == {Result.OK, Result.BAD_HEADER, Result.TOO_LONG, Result.BAD_CRC}
    whole = [entry for entry in buffer.entries if entry[0] % (1 << EPOCH) in (Result.OK, Result.BAD_CRC)]
    assert {int.from_bytes(entry[3:5], "little") == len(entry) - 5 for entry in whole} == {True}
    assert len(sessions) > 5


@cocotb.test()
async def entries_equal_the_model(dut):
    """Receivers side by side."""
    await each_part(dut, receives)
