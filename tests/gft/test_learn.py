"""The learning engine: backward and accumulate in one sweep a layer."""

from __future__ import annotations

import pytest
from chips import BINARY, chip, run_on_chips
from marks import with_long

from popflip.hw.gft.learn import Learn

CHIPS = {
    "narrow": {
        "one_layer": chip(13, 3, precision=BINARY, rows=1, lanes=4, mmax=3),
        "bias_alone": chip(16, 8, 5, rows=2, lanes=8, mmax=7, dclip=3),
        "width_one": chip(1, 1, 1, 2, precision=BINARY, rows=2, lanes=4, mmax=1),
    },
    "deep": {
        "ternary": chip(21, 12, 9, 7, 4, rows=4, lanes=8, dclip=3),
        "all_rows_at_once": chip(9, 40, 33, 6, precision=BINARY, rows=32, lanes=8, mmax=2),
    },
    "compact": {
        "binary": chip(33, 20, 4, precision=BINARY, rows=4, lanes=8, slots=2, compact=True),
        "ternary": chip(21, 12, 9, 4, rows=4, lanes=4, dclip=3, compact=True),
    },
    "wide": {
        "one_word": chip(70, 31, 3, rows=2, lanes=64, mmax=31, dclip=3),
    },
    "banks": {
        "one_layer": chip(13, 3, rows=2, lanes=4, mmax=3, learn_rows=2),
        "two_banks": chip(21, 12, 9, 7, 4, rows=4, lanes=8, dclip=3, learn_rows=2),
        "a_lane_each": chip(40, 33, 6, rows=8, lanes=8, precision=BINARY, learn_rows=8),
        "two_lanes_each": chip(70, 31, 3, rows=16, lanes=16, learn_rows=8),
        "large": chip(40, 50, 33, 3, rows=32, lanes=16, learn_rows=4),
    },
}


@pytest.mark.parametrize("name", with_long(CHIPS, "banks"))
def test_engine_equals_golden(testbench, name):
    run_on_chips(testbench, Learn, CHIPS[name], "gft.tb_learn", seeds=[1, 2, 3, 4], samples=10)


@pytest.mark.parametrize(("layer", "row", "synapse", "word"), [(0, 4, 9, 1), (2, 6, 0, 0), (3, 2, 7, 0)])
def test_a_wrong_counter_is_named(testbench, layer, row, synapse, word):
    options = {"seeds": [1], "samples": 10, "wrong": {"ternary": [layer, row, synapse]}}
    with pytest.raises(AssertionError, match=f"ternary: layer {layer}, row {row}, word {word}: counters"):
        run_on_chips(testbench, Learn, CHIPS["deep"], "gft.tb_learn", **options)
