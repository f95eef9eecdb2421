"""The memory of a compact chip's samples."""

from __future__ import annotations

import pytest
from chips import BINARY, chip, run_on_chips

from popflip.hw.memory.samples import Samples

CHIPS = {
    "one_row": chip(3, 9, 2, rows=1, lanes=4, slots=2, compact=True),
    "binary": chip(50, 20, 10, precision=BINARY, rows=4, lanes=8, slots=2, compact=True),
    "as_many_rows": chip(70, 20, 9, 2, rows=4, lanes=4, compact=True),
}


def test_equals_models(testbench):
    run_on_chips(testbench, Samples, CHIPS, "memory.tb_samples", seed=1)


def test_a_wrong_word_is_found(testbench):
    with pytest.raises(AssertionError, match="binary: cycle 900, "):
        run_on_chips(testbench, Samples, CHIPS, "memory.tb_samples", seed=1, wrong={"binary": 900})
