"""Testbench of the flip signature."""

from itertools import pairwise

import cocotb
import numpy as np

from popflip.golden.common.signature import FlipSignature as Golden
from popflip.hw.common.signature import FlipSignature, record_layout
from popflip.sim.bench.networks import chip_of
from popflip.sim.bench.parts import EachCycle, Part, each_part
from popflip.sim.bench.runner import parameters


class Flips(EachCycle):
    """The sum of ``flips`` over all cycles."""

    def __init__(self, part: Part):
        self.sum = 0
        super().__init__(part)

    def look(self) -> None:
        self.sum += self.part.get("flips")


async def check(part: Part, chip: dict, stall: float) -> None:
    """CRCs equal golden's from the initial and from loaded values, after no, one and many records."""
    options = parameters()
    config = chip_of(chip)
    layout = record_layout(config)
    part.set("load", 0)
    source = part.source("i", layout, stall=stall, seed=1)
    flips = Flips(part)
    rng = np.random.default_rng(options["seed"])
    crc = 0
    for count in options["records"]:
        records = np.stack(
            [rng.integers(0, 2 ** layout["index"].width, count), rng.integers(1, 2**32, count)], axis=1
        ).astype(np.uint32)
        golden = Golden(crc)
        golden.update(records)
        before, first = flips.sum, len(source.monitor.cycles)
        source.send(*({"index": index, "mask": mask} for index, mask in records.tolist()))
        await source.drain()
        await part.next_cycle()
        await part.next_cycle()
        expected = golden.crc ^ (part.name in options.get("wrong", {}))
        assert part.get("crc") == expected, f"{count} records: {part.get('crc'):#x}, expected {expected:#x}"
        assert flips.sum - before == int(np.bitwise_count(records[:, 1]).sum()), f"{count} records: flips"
        if stall == 0:
            cycles = source.monitor.cycles[first:]
            steps = {after - before for before, after in pairwise(cycles)}
            assert steps <= {64 // FlipSignature(config).bits}, f"{steps} cycles a record"
        crc = int(rng.integers(0, 2**32))
        part.set("load_crc", crc)
        part.set("load", 1)
        await part.next_cycle()
        part.set("load", 0)


@cocotb.test()
async def equals_golden(dut):
    """With stalls."""
    await each_part(dut, check, stall=0.3)


@cocotb.test()
async def equals_golden_at_full_speed(dut):
    """Without stalls."""
    await each_part(dut, check, stall=0)
