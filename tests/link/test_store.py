"""The sample store: its memories byte by byte, and how many samples fit."""

from __future__ import annotations

import random

import pytest
from amaranth.back import rtlil
from amaranth_boards.icebreaker import ICEBreakerPlatform
from chips import chip

from popflip.golden.errors import ConfigError
from popflip.hw.link.store import BlockBytes, SpramBytes, samples_in, stride
from popflip.hw.memory.spram import SPRAM_BYTES, SPRAMS, Spram
from popflip.sim.bench.parts import SideBySide

CONTENT = random.Random(5).randbytes(24)


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.long)])
def test_memories_hold_what_is_written(testbench, seed):
    memories = {
        "block": (BlockBytes(24, CONTENT), 1),
        "two": (BlockBytes(2), 1),
        "part_of_one_spram": (SpramBytes(64), 1),
        "one_spram": (SpramBytes(SPRAM_BYTES), 1),
        "four_sprams": (SpramBytes(SPRAMS * SPRAM_BYTES), 4),
    }
    parts = {
        name: {
            "depth": memory.depth,
            "banks": banks,
            "content": CONTENT.hex() if name == "block" else "",
        }
        for name, (memory, banks) in memories.items()
    }
    dut = SideBySide({name: memory for name, (memory, _) in memories.items()})
    testbench(dut, "popflip.sim.link.tb_store", {"parts": parts, "seed": seed, "count": 2000})


def test_an_ice40_store_uses_single_port_ram_cells():
    text = rtlil.convert(Spram(), platform=ICEBreakerPlatform(), emit_src=False)
    assert "cell \\SB_SPRAM256KA" in text
    assert "$mem" not in text


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")  # it is refused
def test_too_little_single_port_ram_is_one_line():
    with pytest.raises(ConfigError) as error:
        SpramBytes(2 * SPRAMS * SPRAM_BYTES)
    assert str(error.value) == "store: 262144 bytes, but single-port RAM has 131072; store fewer samples"


@pytest.mark.parametrize(
    ("inputs", "classes", "size", "apart", "samples"),
    [
        (192, 10, 2**17, 32, 4096),  # 25 bytes
        (256, 10, 2**17, 64, 2048),  # 33
        (784, 10, 2**17, 128, 1024),  # 99
        (8, 10, 2**17, 2, 65536),  # 2
        (248, 300, 2**17 - 1, 64, 1024),  # 33: a label of two bytes
        (784, 10, 127, 128, 0),
        (784, 10, 128, 128, 1),
    ],
)
def test_samples_lie_a_power_of_two_apart(inputs, classes, size, apart, samples):
    shape = chip(inputs, classes)
    assert stride(shape) == apart
    assert samples_in(shape, size) == samples
