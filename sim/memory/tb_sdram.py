"""Testbench of the SDRAM controller, with a model of the chip at its pads."""

import random
from collections import deque

import cocotb

from popflip.hw.memory.sdram_part import BANKS, SdramPart, Time
from popflip.sim.bench.parts import Part, each_part
from popflip.sim.memory.sdram_board import inputs_layout, outputs_layout
from popflip.sim.memory.sdram_model import SdramError, SdramModel

PATIENCE = 1000
"""Cycles without a word, after power-up, until a run fails. A refresh takes far fewer."""
QUIET = 200
"""Cycles between requests, now and then, so that the chip idles."""


def part_of(fields: dict) -> SdramPart:
    """The part, from JSON."""
    times = {name: Time(**value) if isinstance(value, dict) else value for name, value in fields.items()}
    return SdramPart(**{**times, "fastest": tuple(map(tuple, fields["fastest"]))})


class Traffic:
    """Random requests, the words they write, and the words they must read.

    Most of them stay in a few rows, so that banks, rows and columns meet in all ways.
    """

    def __init__(self, part: SdramPart, hz: float, longest: int, seed: int):
        self.part, self.longest, self.random = part, longest, random.Random(seed)
        self.memory = SdramModel(part, hz)  # only its words are used
        self.writes: deque[tuple[int, int]] = deque()  # data and bytes to keep
        self.reads: deque[tuple[int, bool]] = deque()
        self._row = 0

    def request(self) -> tuple[bool, int, int]:
        """The next request: whether it writes, its address, and its words after the first."""
        draw = self.random
        if draw.random() < 0.1:
            self._row = draw.randrange(self.part.rows)
        row = self._row if draw.random() < 0.7 else (self._row + draw.randrange(3)) % self.part.rows
        column = draw.randrange(self.part.columns)
        address = (row * BANKS + draw.randrange(BANKS)) * self.part.columns + column
        if draw.random() < 0.1:
            address = draw.randrange(self.part.words)
        more = draw.randrange(self.longest) if draw.random() < 0.1 else draw.randrange(min(4, self.longest))
        write = draw.random() < 0.5
        for word in range(more + 1):
            place = (address + word) % self.part.words
            if write:
                self._write(place)
            else:
                self.reads.append((self.memory.read(place), word == more))
        return write, address, more

    def _write(self, place: int) -> None:
        word, keep = self.random.getrandbits(self.part.data_bits), 0
        if self.part.mask_bits and self.random.random() < 0.3:
            keep = self.random.getrandbits(self.part.mask_bits)
        kept = sum(0xFF << 8 * byte for byte in range(self.part.data_bits // 8) if keep >> byte & 1)
        self.memory.memory[place] = (self.memory.read(place) & kept) | (word & ~kept)
        self.writes.append((word, keep))


class Pins:
    """The two packed ports of a part: fields of the one by name, the other put together from fields."""

    def __init__(self, part: Part, geometry: SdramPart, longest: int):
        outputs, inputs = outputs_layout(geometry), inputs_layout(geometry, longest)
        self.out = {name: (field.offset, (1 << field.width) - 1) for name, field in outputs}
        self.places = {name: field.offset for name, field in inputs}
        request, word = inputs["request"].shape, inputs["write"].shape
        self.request_places = [request[name].offset for name in ("write", "address", "more")]
        self.keep_place = word["keep"].offset
        self._part = part

    def read(self) -> dict[str, int]:
        """The outputs of this cycle."""
        bits = self._part.get("outputs")
        return {name: bits >> offset & full for name, (offset, full) in self.out.items()}

    def write(self, bits: int) -> None:
        """Set the inputs."""
        self._part.set("inputs", bits)


async def check(part: Part, fields: dict, hz: float, longest: int, requests: int, seed: int, **options) -> None:
    """All words read are those written before, and the chip refuses nothing; or it refuses what ``refused`` names."""
    geometry = part_of(fields)
    run = Run(part, geometry, hz, longest, seed, options.get("stall", 0.2))
    refused = options.get("refused")
    try:
        await run.go(requests, options.get("wrong"))
        await run.idle(options.get("idle", 0))
    except SdramError as error:
        assert refused is not None and refused in str(error), str(error)
        return
    assert refused is None, f"the chip did not refuse a controller that breaks {refused}"


class Run:
    """A controller with a chip behind it and random traffic before it."""

    def __init__(self, part: Part, geometry: SdramPart, hz: float, longest: int, seed: int, stall: float):
        self.part, self.pins = part, Pins(part, geometry, longest)
        self.chip, self.traffic = SdramModel(geometry, hz), Traffic(geometry, hz, longest, seed)
        self.random, self.stall = random.Random(seed + 1), stall
        self.words = 0  # read so far
        self._request: tuple[bool, int, int] | None = None
        self._shown: int | None = None  # by the chip, in this cycle
        self._left = self._quiet = self._still = 0
        self._writes = False  # a word to write is offered
        self._pauses = False  # the reader takes nothing for a while
        self._wrong: int | None = None
        self._patience = PATIENCE + round(geometry.power_up_ns * hz * 1e-9)

    async def go(self, requests: int, wrong: int | None) -> None:
        """Until ``requests`` have been answered. ``wrong``: number of a word to take for a wrong one."""
        self._left, self._wrong = requests, wrong
        while self._left or self._request or self.traffic.reads or self.traffic.writes:
            self._cycle()
            assert self._still < self._patience, f"stuck after {self.words} words read"
            await self.part.next_cycle()
        await self.idle(QUIET)
        assert not self.pins.read()["busy"], "busy after the last word"

    async def idle(self, cycles: int) -> None:
        """Let time go by without requests."""
        for _ in range(cycles):
            self._cycle()
            await self.part.next_cycle()

    def _cycle(self) -> None:
        """Drive the inputs, and look at the outputs, which do not depend on them."""
        pins, traffic, draw = self.pins, self.traffic, self.random.random
        out, places = pins.read(), pins.places
        bits = 0x5A5A5A5A & ((1 << traffic.part.data_bits) - 1) if self._shown is None else self._shown
        driven = out["data"] if out["drive"] else None
        self._shown = self.chip.clock(out["command"], out["bank"], out["address"], out["mask"], driven)
        self._still += 1
        bits |= self._offer_request(out)
        self._writes = bool(traffic.writes) and (self._writes or draw() >= self.stall)
        if self._writes:
            word, keep = traffic.writes[0]
            bits |= (1 << places["write_valid"]) | (word | keep << pins.keep_place) << places["write"]
            if out["write_ready"]:
                traffic.writes.popleft()
                self._writes = False
                self._still = 0
        if draw() < 0.01:
            self._pauses = not self._pauses and self.stall > 0
        if not self._pauses and draw() >= self.stall:
            bits |= 1 << places["read_ready"]
            if out["read_valid"]:
                self._take(out)
        pins.write(bits)

    def _offer_request(self, out: dict[str, int]) -> int:
        """The bits of the request to offer, if any; it is gone if it is taken."""
        if self._quiet:
            self._quiet -= 1
        elif self._request is None and self._left:
            self._request = self.traffic.request()
            self._left -= 1
            self._quiet = QUIET if self.stall and self.random.random() < 0.005 else 0
        if self._request is None or self._quiet:
            return 0
        request = sum(value << place for value, place in zip(self._request, self.pins.request_places, strict=True))
        if out["request_ready"]:
            self._request = None
            self._still = 0
        return (1 << self.pins.places["request_valid"]) | request << self.pins.places["request"]

    def _take(self, out: dict[str, int]) -> None:
        assert self.traffic.reads, f"word {self.words} was not requested"
        expected = self.traffic.reads.popleft()
        got = out["read_data"], bool(out["read_last"])
        assert (got == expected) != (self.words == self._wrong), (
            f"word {self.words}: {got[0]:#x}, last {got[1]}; expected {expected[0]:#x}, last {expected[1]}"
        )
        self.words += 1
        self._still = 0


@cocotb.test()
async def words_come_back(dut):
    """With random stalls, or without."""
    await each_part(dut, check)
