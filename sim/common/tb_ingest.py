"""Testbench of ingest."""

import random

import cocotb
import numpy as np

from popflip.hw.common.ingest import Ingest
from popflip.hw.layouts import input_word, sample_layout
from popflip.sim.bench.networks import chip_of, random_inputs
from popflip.sim.bench.parts import EachCycle, Part, each_part
from popflip.sim.bench.runner import parameters
from popflip.sim.bench.streams import unpack
from popflip.sim.bench.words import input_list
from popflip.sim.common.tb_unpack import Beside, inputs_of, sample_bytes

READERS = ("forward", "learn")


class SlotGiver(EachCycle):
    """Offers a random free slot in some cycles. ``taken`` : slots of started samples."""

    def __init__(self, part: Part, slots: int, probability: float, seed: int):
        self.free = set(range(slots))
        self.taken: list[int] = []
        self._slots, self._probability, self._random = slots, probability, random.Random(f"{seed} slots")
        self._offered: int | None = None
        super().__init__(part)

    def drive(self) -> None:
        offers = bool(self.free) and self._random.random() < self._probability
        self._offered = self._random.choice(sorted(self.free)) if offers else None
        self.part.set("slot_available", offers)
        self.part.set("slot", self._offered if offers else self._random.randrange(self._slots))

    def look(self) -> None:
        if self.part.get("started"):
            assert self._offered is not None, "a sample started without a slot"
            self.free.discard(self._offered)
            self.taken.append(self._offered)


class ListMemory(EachCycle):
    """The memory of a compact chip's nonzero words, by slot and position. It stalls with probability ``stall``."""

    def __init__(self, part: Part, chip, stall: float, seed: int):
        self.entries: dict[tuple[int, int], dict[str, int]] = {}
        self._chip, self._stall, self._random = chip, stall, random.Random(f"{seed} list")
        self._ready = False
        super().__init__(part)

    def drive(self) -> None:
        self._ready = self._random.random() >= self._stall
        self.part.set("list__ready", self._ready)

    def look(self) -> None:
        get = self.part.get
        if self._ready and get("list__write"):
            place = get("list__slot"), get("list__position")
            self.entries[place] = unpack(input_word(self._chip), get("list__data"))


async def read_list(part: Part, reader: str, chip, slot: int, words: int, draw: random.Random) -> list[dict[str, int]]:
    """A sample's nonzero words as ``reader`` gets them. Each word must stay until the next request."""
    entries = []
    for position in range(words):
        part.set(f"{reader}__en", 1)
        part.set(f"{reader}__slot", slot)
        part.set(f"{reader}__position", position)
        await part.next_cycle()
        part.set(f"{reader}__en", 0)
        part.scramble(f"{reader}__slot", draw)
        part.scramble(f"{reader}__position", draw)
        for _ in range(draw.choice([0, 0, 2])):
            await part.next_cycle()
        await part.settled()
        entries.append(unpack(input_word(chip), part.get(f"{reader}__data")))
        await part.next_cycle()
    return entries


async def check(part: Part, chip: dict, stall: float) -> None:
    """Both readers see the nonzero words of every sample (LBE: all words)."""
    config, seed, samples = chip_of(chip), parameters()["seed"], parameters()["samples"]
    draw = random.Random(f"{seed} {stall}")
    x = random_inputs(config, samples, np.random.default_rng(seed))
    source = part.source("i", 8, stall=stall, seed=seed)
    sink = part.sink("o", sample_layout(config), stall=stall, seed=seed)
    slots = SlotGiver(part, config.slots, 1 - stall, seed)
    memory = ListMemory(part, config, stall, seed) if config.compact else None
    for reader in () if memory else READERS:
        part.set(f"{reader}__en", 0)
    headers = [{"label": draw.randrange(config.classes), "infer": draw.randrange(2)} for _ in range(samples)]

    contents = []
    for inputs in x:
        content, packed = sample_bytes(config, inputs, draw) if config.packs else (b"", False)
        if not packed:
            bits = np.packbits(inputs, bitorder="little")
            if config.inputs % 8:  # bits past the last input do not matter
                bits[-1] |= draw.getrandbits(8) << config.inputs % 8 & 0xFF
            content = bits.tobytes()
        contents.append((content, packed))
        source.send(*content)
        inputs[:] = inputs_of(config, content, packed)
    Beside(part, contents, seed, headers)
    for sample, (inputs, header) in enumerate(zip(x, headers, strict=True)):
        [token] = await sink.receive(1)
        expected = input_list(config, inputs)
        if parameters().get("wrong", {}).get(part.name) == sample:
            expected[-1]["bits"] ^= 1
        slot = slots.taken[sample]
        assert token == {**header, "slot": slot, "words": len(expected)}, f"sample {sample}: {token}"
        for reader in ("list",) if memory else READERS:
            if memory:
                got = [memory.entries.pop((slot, position)) for position in range(len(expected))]
                assert not memory.entries, f"sample {sample}: more than its words is written"
            else:
                got = await read_list(part, reader, config, slot, len(expected), draw)
            assert got == expected, f"sample {sample}, {reader}: {got}, expected {expected}"
        slots.free.add(slot)

    if stall == 0:
        component, taken, gaps, before = Ingest(config), iter(source.monitor.cycles), [], None
        for sample, (whole, (content, _)) in enumerate(zip(sink.monitor.cycles, contents, strict=True)):
            cycles = [next(taken) for _ in content]
            assert cycles[-1] - cycles[0] == (len(cycles) - 1) * component.cycles_per_byte, f"sample {sample}: slow"
            assert whole - cycles[-1] == component.latency, (
                f"sample {sample}: passed on after {whole - cycles[-1]} cycles"
            )
            if before is not None:
                gaps.append(cycles[0] - before)
            before = cycles[-1]
        assert min(gaps) == component.gap, f"samples begin {min(gaps)} cycles behind another's last byte"


@cocotb.test()
async def equals_golden(dut):
    """With stalls."""
    await each_part(dut, check, stall=0.4)


@cocotb.test()
async def keeps_up(dut):
    """Without stalls, at the rate and latency the component states."""
    await each_part(dut, check, stall=0)
