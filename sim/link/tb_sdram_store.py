"""Testbench of the stores as streams: items in, numbers in, samples out, with stalls, on every kind of memory."""

import random

import cocotb

from popflip.hw.config import ChipConfig
from popflip.hw.link.store import BYTE, stride
from popflip.hw.memory.sdram_part import PARTS
from popflip.sim.bench.networks import chip_of
from popflip.sim.bench.parts import EachCycle, Part, each_part
from popflip.sim.bench.runner import parameters
from popflip.sim.memory.sdram_model import SdramModel
from popflip.sim.pins import outputs_layout

INITIALISATION = 300
"""Cycles, at least, from power-up to the first request that is taken."""


class Memory(EachCycle):
    """The SDRAM at the pins of ``part``."""

    def __init__(self, part: Part, chip: ChipConfig, hz: float):
        self.model, self._word = SdramModel(PARTS[chip.sdram], hz), 0
        self._fields = [(field.offset, (1 << field.width) - 1) for _, field in outputs_layout(PARTS[chip.sdram])]
        super().__init__(part)

    def drive(self) -> None:
        self.part.set("sdram_data", self._word)

    def look(self) -> None:
        pins = self.part.get("sdram_outputs")
        command, bank, address, mask, drives, data = (pins >> place & full for place, full in self._fields)
        self._word = self.model.clock(command, bank, address, mask, data if drives else None) or 0


async def samples_come_as_stored(part: Part, chip: dict, hz: float, stall: float) -> None:
    """Random items at random positions, then random numbers, several times over."""
    chip, draw = chip_of(chip), random.Random(f"{parameters()['seed']} {part.name}")
    if chip.sdram:
        Memory(part, chip, hz)
        for _ in range(PARTS[chip.sdram].cycles(hz).power_up + INITIALISATION):
            await part.next_cycle()
    numbers = part.source("port__numbers", range(chip.store_samples), stall=stall, seed=1)
    written = part.source("port__written", BYTE, stall=stall, seed=2)
    sink = part.sink("port__samples", BYTE, stall=stall, seed=3)
    kept: dict[int, bytes] = {}
    places = [0, 1, chip.store_samples - 1, *(draw.randrange(chip.store_samples) for _ in range(12))]
    for _ in range(3):
        for place in draw.sample(places, 8):
            item = kept[place] = _item(chip, draw)
            part.set("port__position", place)
            written.send(*({"byte": byte, "last": index == len(item) - 1} for index, byte in enumerate(item)))
            await written.drain()
        asked = draw.choices(list(kept), k=25)
        numbers.send(*asked)
        for number in asked:
            sample = kept[number][chip.size_bytes :] if chip.packs else kept[number]
            got = await sink.receive(len(sample))
            expected = [{"byte": byte, "last": index == len(sample) - 1} for index, byte in enumerate(sample)]
            assert got == expected, f"sample {number}"


def _item(chip: ChipConfig, draw: random.Random) -> bytes:
    if not chip.packs:
        return draw.randbytes(chip.sample_bytes)
    most = stride(chip) - chip.size_bytes
    size = draw.choice([chip.label_bytes + 1, draw.randint(chip.label_bytes + 1, most), most])
    return size.to_bytes(chip.size_bytes, "little") + draw.randbytes(size)


@cocotb.test()
async def stores_keep_samples(dut):
    """With stalls and without, by the parameters."""
    await each_part(dut, samples_come_as_stored, stall=parameters()["stall"])
