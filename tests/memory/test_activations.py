"""The memory of hidden activations."""

from __future__ import annotations

import pytest
from chips import chip, lbe_chip, run_on_chips

from popflip.hw.layouts import activation_base, activation_words
from popflip.hw.memory.activations import Activations

CHIPS = {
    "one_row": chip(3, 9, 2, rows=1, lanes=4, slots=2),
    "as_wide_as_high": chip(3, 17, 8, 2, rows=8, lanes=8),
    "rows_of_two_words": chip(3, 9, 20, 5, 2, rows=8, lanes=4),
    "rows_of_eight_words": chip(3, 20, 40, 2, rows=32, lanes=4),
    "folded": chip(3, 20, 40, 2, rows=16, lanes=16),
    "folded_wide": chip(3, 70, 20, 2, rows=8, lanes=16),
    "two_rows": chip(3, 70, 2, rows=2, lanes=64),
    "lbe": lbe_chip(3, 9, 20, 5, classes=2, rows=8, lanes=4),
    "lbe_wide": lbe_chip(3, 65, 2, classes=2, rows=4, lanes=64),
}


def test_equals_a_model(testbench):
    run_on_chips(testbench, Activations, CHIPS, "memory.tb_activations", seed=1)


def test_a_wrong_activation_is_found(testbench):
    with pytest.raises(AssertionError, match="lbe_wide: cycle 700, "):
        run_on_chips(testbench, Activations, CHIPS, "memory.tb_activations", seed=1, wrong={"lbe_wide": 700})


@pytest.mark.parametrize(
    ("name", "bases"),
    [
        ("one_row", [0, 3]),  # 9 neurons and a bias in words of 4
        ("as_wide_as_high", [0, 3, 5]),
        ("rows_of_two_words", [0, 4, 10, 12]),  # 3, 6 and 2 words, each from a whole group of two on
        ("rows_of_eight_words", [0, 8, 24]),  # 6 and 11 words, from groups of eight on
        ("folded", [0, 4, 8]),  # 2 and 3 words, from groups of four on: the last layer takes four at once
        ("folded_wide", [0, 6, 8]),  # 5 and 2 words, from pairs on
        ("two_rows", [0, 2]),
        ("lbe", [0, 4, 10]),  # 3 and 5 words: there is no bias
        ("lbe_wide", [0, 2]),
    ],
)
def test_layout_by_hand(name, bases):
    layers = range(1, CHIPS[name].depth + 1)
    assert [activation_base(CHIPS[name], layer) for layer in layers] == bases
    assert activation_words(CHIPS[name]) == bases[-1]
