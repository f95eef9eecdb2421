"""The counter memory."""

from __future__ import annotations

import pytest
from chips import chip, run_on_chips

from popflip.golden.errors import ConfigError
from popflip.hw.memory.counters import Counters

CHIPS = {
    "one_word": chip(3, 2, lanes=4, mmax=1),
    "odd_depth": chip(17, 5, 3, lanes=8, mmax=7),
    "compact": chip(17, 5, 3, lanes=8, compact=True),
    "wide": chip(40, 6, 2, lanes=64, mmax=32_767),
    "banks": chip(17, 5, 3, rows=4, lanes=8, learn_rows=4),
    "large": chip(40, 35, 2, rows=32, lanes=16, learn_rows=4),
    "wide_banks": chip(40, 6, 2, rows=2, lanes=16, learn_rows=2),
}


def test_equals_lists(testbench):
    run_on_chips(testbench, Counters, CHIPS, "memory.tb_counters", seed=1)


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
@pytest.mark.parametrize(
    ("layers", "mmax", "words"),
    [((1023, 129, 2), 127, "16546 words of 64 bits"), ((20, 5), 255, "15 words of 72 bits")],
)
def test_counters_too_large_for_single_port_ram_are_one_line(layers, mmax, words):
    with pytest.raises(ConfigError) as error:
        Counters(chip(*layers, mmax=mmax, compact=True))
    assert str(error.value) == (
        f"counters: {words}, but single-port RAM holds 16384 of 64; use a smaller network, or fewer synapses a cycle"
    )
