"""The identity of a chip as bytes, and bytes that are no identity."""

from __future__ import annotations

from dataclasses import replace

import pytest
from chips import chip, lbe_chip

from popflip.golden.errors import ConfigError
from popflip.hw.config import ChipConfig
from popflip.hw.link.identity import Identity
from popflip.hw.registers import registers

GFT = chip(13, 9, 260, rows=4, lanes=16, mmax=9)
CHIPS = {
    "gft": GFT,
    "lbe": lbe_chip(32, 20, 4, classes=5, lanes=64),
    "store": replace(GFT, slots=8, store_samples=65536),
    "sdram": replace(GFT, store_samples=65536, sdram="colorlight_i5", walks=True),
    "conv": chip("9x8x2", "c5k3p2", "c7k1s3", 6, 4, rows=4, lanes=16, learn_rows=2),
    "limits": chip("28x28", "c16k5p2", "c32k5s2", 10, rows=32, lanes=32, mmaxes=(32767, 999, 127)),
    "compact": chip(20, 9, 3, rows=2, lanes=8, slots=2, compact=True),
}


def identity_of(shape: ChipConfig) -> Identity:
    return Identity.of(shape, 4096, 12_000_000, b"12345678")


@pytest.mark.parametrize("name", CHIPS)
def test_identity_survives_the_link(name):
    identity = identity_of(CHIPS[name])
    assert Identity.unpack(identity.pack()) == identity
    assert identity.chip() == CHIPS[name]
    assert registers(identity.chip()) == registers(CHIPS[name])


@pytest.mark.parametrize("size", [0, 3, 30, 42])
def test_other_bytes_are_no_identity(size):
    with pytest.raises(ValueError, match=f"^{size} bytes are not an identity$"):
        Identity.unpack(bytes(size))


@pytest.mark.parametrize("field", ["rule", "precision", "sdram"])
def test_identity_of_a_later_version_is_one_line(field):
    with pytest.raises(ConfigError) as error:
        replace(identity_of(GFT), **{field: 9}).chip()
    advice = "rebuild the bitstream or update popflip"
    assert str(error.value) == f"chip: its {field} 9 is unknown to this version; {advice}"
