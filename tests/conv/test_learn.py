"""The learning engine with positions: backward and accumulate in one sweep a layer."""

from __future__ import annotations

import pytest
from chips import BINARY, chip, run_on_chips

from popflip.hw.conv.learn import ConvLearn

CHIPS = {
    "pooled": chip("8x8", "c6k3p2", "c4k3p2", 5, rows=4, lanes=8, mmax=3, dclip=3),
    "banks": chip("7x6x2", "c12k3", "c10k5s2", 11, 4, precision=BINARY, rows=4, lanes=16, learn_rows=4, mmax=40),
    "limits": chip("6x5x3", "c3k1", "c5k3s2p2", 3, rows=2, lanes=4, learn_rows=2, mmaxes=(9, 300, 1)),
    "wide": chip("9x8", "c8k5p3", "c16k3", 3, rows=16, lanes=16, learn_rows=8, dclip=2, slots=2),
}


@pytest.mark.long
def test_engine_equals_golden(testbench):
    run_on_chips(testbench, ConvLearn, CHIPS, "conv.tb_learn", seeds=[1, 2], samples=4)


@pytest.mark.long
def test_a_wrong_counter_is_named(testbench):
    options = {"seeds": [1], "samples": 4, "wrong": {"pooled": [1, 2, 20]}}
    with pytest.raises(AssertionError, match="pooled: layer 1, row 2, word 2: counters"):
        run_on_chips(testbench, ConvLearn, CHIPS, "conv.tb_learn", **options)
