"""Words of patches above the first layer, out of the memory of activations."""

from __future__ import annotations

import pytest
from chips import chip, run_on_chips

from popflip.hw.conv.gather import Gather

CHIPS = {
    "half_words": chip("8x8", "c16k3", "c8k5s2", 10, rows=8, lanes=32),
    "whole_words": chip("9x7x2", "c8k3", "c16k3p2", "c8k3s2", 20, 3, rows=4, lanes=8),
    "groups": chip("6x6", "c24k3", "c40k5", 33, 4, rows=8, lanes=16),
    "many_rows": chip("7x6", "c12k3", "c4k3p3", 5, rows=16, lanes=8),
    "odd_channels": chip("5x7", "c3k3", "c5k7s3", 4, rows=2, lanes=4),
    "kernel_9": chip("11x10", "c4k1", "c4k9s4", 3, rows=1, lanes=16),
    "apart": chip("13x9", "c8k3s2", "c8k1s3", "c4k3p2", 3, rows=8, lanes=16),
    "dense": chip("5x4", "c6k3p2", 40, 30, 3, rows=4, lanes=8),
    "one_pixel": chip("1x1x3", "c4k3", "c5k5", 2, rows=2, lanes=4),
}


def test_words_equal_golden(testbench):
    run_on_chips(testbench, Gather, CHIPS, "conv.tb_gather", seed=1, passes=6)


def test_a_wrong_word_is_named(testbench):
    with pytest.raises(AssertionError, match="dense: pass 2, layer 1, word 1: "):
        run_on_chips(testbench, Gather, CHIPS, "conv.tb_gather", seed=1, passes=3, wrong={"dense": [2, 1]})
