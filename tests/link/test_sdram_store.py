"""The stores as streams, in block memory and in an SDRAM whose model refuses what its data sheet forbids."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from chips import chip

from popflip.golden.errors import ConfigError
from popflip.hw.config import SDRAMS, ChipConfig
from popflip.hw.link.sdram_store import SdramStore
from popflip.hw.link.store import Store, stride
from popflip.hw.memory.sdram_part import PARTS
from popflip.sim.bench.parts import SideBySide
from popflip.sim.pins import connect_pads, outputs_layout

HZ = 50e6
PLAIN, PACKED = chip(21, 9, 10), chip(40, 9, 260, rows=2, lanes=16)  # 4 bytes; a size, two of a label, up to 6
CHIPS = {
    "block": replace(PLAIN, store_samples=16),
    "block_packed": replace(PACKED, store_samples=16),
    "long_sizes": replace(chip(1900, 9, 3, rows=4, lanes=16), store_samples=4),
    "ulx3s": replace(PLAIN, store_samples=2**20, sdram="ulx3s"),
    "ulx3s_packed": replace(PACKED, store_samples=2**20, sdram="ulx3s"),
    "colorlight": replace(PACKED, store_samples=2**19, sdram="colorlight_i5"),
}


class OnPads(wiring.Component):
    """An :class:`SdramStore` and the pads of its SDRAM."""

    def __init__(self, shape: ChipConfig):
        self.store = SdramStore(shape, HZ)
        super().__init__(
            {
                "port": In(self.store.port.signature.flip()),
                "sdram_outputs": Out(outputs_layout(self.store.part)),
                "sdram_data": In(self.store.part.data_bits),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.store = self.store
        wiring.connect(m, wiring.flipped(self.port), self.store.port)
        connect_pads(m, self.store.pins, self.store.part, self.sdram_outputs, self.sdram_data)
        return m


@pytest.mark.parametrize(("seed", "stall"), [pytest.param(1, 0, marks=pytest.mark.long), (2, 0.3)])
def test_samples_come_as_they_were_stored(testbench, seed, stall):
    parts = {name: {"chip": asdict(shape), "hz": HZ} for name, shape in CHIPS.items()}
    dut = SideBySide({name: (OnPads if shape.sdram else Store)(shape) for name, shape in CHIPS.items()})
    testbench(dut, "popflip.sim.link.tb_sdram_store", {"parts": parts, "seed": seed, "stall": stall})


def test_every_sdram_has_a_part():
    assert tuple(PARTS) == SDRAMS


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
@pytest.mark.parametrize(("name", "samples"), [("ulx3s", 2**18), ("colorlight_i5", 2**16)])
def test_an_sdram_holds_as_many_samples_as_it_has_room_for(name, samples):
    mnist = replace(chip(784, 256, 10, rows=4, lanes=16), store_samples=samples, sdram=name)
    assert stride(mnist) == 128  # a size, a label, 98 bytes and 13 masks
    assert SdramStore(mnist, HZ).words == 128 * 8 // PARTS[name].data_bits
    with pytest.raises(ConfigError) as error:
        SdramStore(replace(mnist, store_samples=2 * samples), HZ)
    assert str(error.value) == (
        f"store: {2 * samples} samples, but the {PARTS[name].name} holds {samples}; store fewer"
    )
