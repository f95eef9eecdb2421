"""The initial state on the chip, against golden's."""

from __future__ import annotations

import pytest
from chips import BINARY, chip, lbe_chip, run_on_chips

from popflip.golden.config import Rule
from popflip.hw.config import ChipConfig
from popflip.hw.gft.initialise import GftInitialise
from popflip.hw.lbe.initialise import LbeInitialise

CHIPS = {
    "width_one": chip(1, 2, rows=1, lanes=4),
    "binary": chip(33, 6, 3, precision=BINARY, rows=4, lanes=8),
    "full_words": chip(31, 5, 2, rows=2, lanes=32),
    "four_parts": chip(200, 3, 2, rows=2, lanes=128),
    "two_parts_binary": chip(130, 3, 4, precision=BINARY, rows=2, lanes=64),
}
LBE_CHIPS = {
    "width_one": lbe_chip(1, 1, 2, classes=2, rows=1, lanes=4, mmax=1),
    "narrow": lbe_chip(37, 6, 3, classes=3, rows=2, lanes=4, mmax=31),
    "bytes": lbe_chip(33, 5, 12, classes=5, rows=4, lanes=8),
    "full_words": lbe_chip(64, 5, 33, classes=11, rows=2, lanes=32),
    "two_parts": lbe_chip(130, 65, 3, classes=2, rows=2, lanes=64, mmax=7),
}


def component(chip: ChipConfig):
    return GftInitialise(chip) if chip.rule == Rule.GFT else LbeInitialise(chip)


@pytest.mark.parametrize(("chips", "seeds"), [(CHIPS, [1, 7]), (LBE_CHIPS, [7])], ids=["gft", "lbe"])
def test_equals_golden(testbench, chips, seeds):
    run_on_chips(testbench, component, chips, "common.tb_initialise", seeds=seeds)


@pytest.mark.parametrize(
    ("chips", "wrong", "where"),
    [
        (CHIPS, "weight", "layer 0, row 4, word 0: "),
        (LBE_CHIPS, "classifier", "classifiers of neuron 37: "),
    ],
)
def test_a_wrong_bit_is_named(testbench, chips, wrong, where):
    with pytest.raises(AssertionError, match=f"full_words: seed 1.* {where}"):
        run_on_chips(testbench, component, chips, "common.tb_initialise", seeds=[1], wrong={"full_words": wrong})
