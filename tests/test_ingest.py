"""Ingest: lists of the words in which an input is one."""

from __future__ import annotations

from chips import chip, run_on_chips

from popflip.hw.ingest import Ingest

CHIPS = {
    "one_input": chip(1, 2, lanes=8),
    "half_bytes": chip(13, 3, lanes=4),
    "half_bytes_bias_alone": chip(16, 3, lanes=4, slots=2),
    "bytes_bias_alone": chip(24, 3, lanes=8),
    "odd": chip(45, 300, lanes=32),
    "whole_bytes_odd_word": chip(40, 3, lanes=32),
    "wide_bias_alone": chip(128, 3, lanes=64, slots=8),
    "wider_than_the_sample": chip(9, 3, lanes=64),
}


def test_lists_equal_golden_inputs(testbench):
    run_on_chips(testbench, Ingest, CHIPS, "tb_ingest", seed=1, samples=12)
