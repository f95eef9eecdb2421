"""Testbench of unpacking."""

import random
from collections import deque
from collections.abc import Sequence
from itertools import zip_longest

import cocotb
import numpy as np

from popflip.golden.common.packing import pack, unpack
from popflip.hw.common.unpack import Unpack, place_layout
from popflip.sim.bench.networks import chip_of, random_inputs
from popflip.sim.bench.parts import EachCycle, Part, each_part
from popflip.sim.bench.runner import parameters


def sample_bytes(chip, inputs: np.ndarray, draw: random.Random) -> tuple[bytes, bool]:
    """A sample's bytes, and whether the sample is packed. Some packed samples are random bytes."""
    content = np.packbits(inputs, bitorder="little")
    kind = draw.choice(["raw", "packed", "packed", "any"])
    if kind == "raw":
        return content.tobytes(), False
    if kind == "packed":
        return pack(content[None])[0].tobytes(), True
    size = draw.randint(1, 2 * chip.packed_bytes + 9)
    return bytes(draw.choice([0, draw.randrange(256), 255]) for _ in range(size)), True


def inputs_of(chip, content: bytes, packed: bool) -> np.ndarray:
    """The inputs ``[K0]`` of a sample whose bytes are ``content``."""
    whole = np.frombuffer(content, np.uint8)
    if packed:
        [whole] = unpack(whole, np.array([len(content)]), chip.input_bytes)
    return np.unpackbits(whole, count=chip.inputs, bitorder="little")


def places(chip, content: bytes, packed: bool) -> list[dict[str, int]]:
    """The expected entries: all bytes, or the nonzero ones of a packed sample as golden unpacks it, and the bias."""
    whole = np.frombuffer(content, np.uint8)
    if packed:
        [whole] = unpack(whole, np.array([len(content)]), chip.input_bytes)
    entries = [{"byte": int(byte), "index": index, "last": 0} for index, byte in enumerate(whole) if byte or not packed]
    return [*entries, {"byte": 1 << chip.inputs % 8, "index": chip.inputs // 8, "last": 1}]


class Beside(EachCycle):
    """Drives the inputs beside the bytes of ``samples``: ``packed``, ``last``, and those in ``kinds``, one a sample."""

    def __init__(self, part: Part, samples: Sequence[tuple[bytes, bool]], seed: int, kinds: Sequence[dict] = ()):
        self._random = random.Random(f"{seed} beside")
        self._bytes = deque(
            ({"packed": int(packed), **kind}, place == len(content) - 1)
            for (content, packed), kind in zip_longest(samples, kinds, fillvalue={})
            for place in range(len(content))
        )
        self.firsts = 0  # bytes taken while `first` is high
        super().__init__(part)

    def drive(self) -> None:
        kind, last = self._bytes[0] if self._bytes else ({}, False)
        for port, value in kind.items():
            self.part.set(port, value)
        self.part.set("last", last if kind.get("packed") else self._random.randrange(2))

    def look(self) -> None:
        if self.part.get("i__valid") and self.part.get("i__ready"):
            self._bytes.popleft()
            self.firsts += self.part.get("first")


async def check(part: Part, chip: dict, stall: float) -> None:
    """Every byte gets its place; packed and raw samples in random order."""
    config, seed, count = chip_of(chip), parameters()["seed"], parameters()["samples"]
    draw = random.Random(f"{seed} {stall} {part.name}")
    x = random_inputs(config, count, np.random.default_rng(seed))
    samples = [sample_bytes(config, inputs, draw) for inputs in x]
    source = part.source("i", 8, stall=stall, seed=seed)
    sink = part.sink("o", place_layout(config), stall=stall, seed=seed)
    beside = Beside(part, samples, seed)
    for content, _ in samples:
        source.send(*content)
    expected = [places(config, *sample) for sample in samples]
    wrong = parameters().get("wrong", {}).get(part.name)
    if wrong is not None:
        expected[wrong][-1]["index"] ^= 1
    while sum(entry["last"] for entry in sink.monitor.items) < count:
        await part.next_cycle()
    got, cycles = iter(sink.monitor.items), iter(sink.monitor.cycles)
    taken, last = iter(source.monitor.cycles), None
    for number, entries in enumerate(expected):
        content, packed = samples[number]
        came = [next(taken) for _ in content]
        found = []
        for _ in range(config.packed_bytes + 9):
            entry = next(got, None)
            assert entry is not None, f"sample {number}: ends after {found}"
            left = next(cycles)
            if entry["byte"] or not packed:  # a mask may announce a byte that is zero
                found.append(entry)
            if entry["last"]:
                break
        assert found == entries, f"sample {number}: {found}, expected {entries}"
        if stall == 0:
            assert came[-1] - came[0] == len(came) - 1, f"sample {number}: slow"
            assert left - came[-1] == Unpack.latency + 1, f"sample {number}: the bias is late"
            assert last is None or came[0] - last == 2, f"sample {number}: begins {came[0] - last} cycles later"
        last = came[-1]
    assert next(got, None) is None
    assert beside.firsts == count


@cocotb.test()
async def equals_golden(dut):
    """With stalls."""
    await each_part(dut, check, stall=0.4)


@cocotb.test()
async def keeps_up(dut):
    """Without stalls, at the rate and latency the component states."""
    await each_part(dut, check, stall=0)
