"""Ingest: the nonzero words of a sample, or all of them."""

from __future__ import annotations

import pytest
from chips import chip, lbe_chip, run_on_chips

from popflip.hw.common.ingest import Ingest

CHIPS = {
    "one_input": chip(1, 2, lanes=8),
    "half_bytes": chip(13, 3, lanes=4),
    "half_bytes_bias_alone": chip(16, 3, lanes=4, slots=2),
    "bytes_bias_alone": chip(24, 3, lanes=8),
    "compact": chip(45, 3, lanes=8, slots=2, compact=True),
    "compact_half_bytes_bias_alone": chip(16, 3, lanes=4, slots=2, compact=True),
    "odd": chip(45, 300, lanes=32),
    "whole_bytes_odd_word": chip(40, 3, lanes=32),
    "wide_bias_alone": chip(128, 3, lanes=64, slots=8),
    "wider_than_the_sample": chip(9, 3, lanes=64),
    "pipelined_one_input": chip(1, 2, lanes=16),
    "narrow_words": chip(181, 3, lanes=16),
    "narrow_words_bias_alone": chip(256, 3, lanes=16, slots=2),
    "lbe_one_input": lbe_chip(1, 2, classes=2, lanes=4),
    "lbe_half_bytes": lbe_chip(13, 3, classes=300, lanes=4),
    "lbe_whole_words": lbe_chip(64, 5, classes=3, lanes=32, slots=2),
    "lbe_wide": lbe_chip(65, 3, classes=10, lanes=64),
}


def test_nonzero_words_equal_golden(testbench):
    run_on_chips(testbench, Ingest, CHIPS, "common.tb_ingest", seed=1, samples=12)


def test_a_wrong_word_is_named(testbench):
    with pytest.raises(AssertionError, match="lbe_wide: sample 5, forward: "):
        run_on_chips(testbench, Ingest, CHIPS, "common.tb_ingest", seed=1, samples=6, wrong={"lbe_wide": 5})
