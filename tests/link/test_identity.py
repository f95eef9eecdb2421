"""The identity of a chip as bytes."""

from __future__ import annotations

import pytest

from popflip.golden.config import Config
from popflip.hw.config import ChipConfig
from popflip.hw.link.identity import Identity

CONFIG = Config(layers=(20, 9, 3), k0=(12, 4), window=(3,), batch=16, margin=4, seed=5)


def test_identity_survives_the_link():
    chip = ChipConfig.of(CONFIG, 4, 64, slots=8, store_samples=65536)
    identity = Identity.of(chip, 4096, 12_000_000, b"12345678")
    assert Identity.unpack(identity.pack()) == identity
    assert identity.chip() == chip


@pytest.mark.parametrize("size", [0, 3, 30, 42])
def test_other_bytes_are_no_identity(size):
    with pytest.raises(ValueError, match=f"{size} bytes are not an identity"):
        Identity.unpack(bytes(size))
