"""The chip's end of the link, against its model: every command, every kind of refusal, damaged bytes, stalls.

Stores start with random bytes, like the memory of a board.
"""

from __future__ import annotations

import random
from dataclasses import asdict, replace
from functools import partial

import pytest
from chips import chip, lbe_chip

from popflip.hw.link.buffer import buffer_bytes
from popflip.hw.link.identity import Identity
from popflip.hw.link.link import Link
from popflip.hw.link.store import BlockBytes, stride
from popflip.sim.bench.parts import SideBySide

CHIPS = {
    "narrow": chip(5, 3, rows=1, lanes=4),
    "wide": chip(13, 9, 260, rows=4, lanes=8, mmax=9),
    "banks": chip(40, 20, 4, rows=8, lanes=16, learn_rows=4),
    "lbe": lbe_chip(32, 20, 4, classes=5, lanes=64),
    "storing": replace(chip(21, 9, 10), store_samples=512),
    "storing_few": replace(chip(5, 3, rows=1, lanes=4), store_samples=4),
    "walking": replace(chip(21, 9, 10), store_samples=32, walks=True),
    "walking_packed": replace(chip(40, 20, 4, rows=8, lanes=16, learn_rows=4), store_samples=8, walks=True),
}
MORE = {
    "pipelined_wide": chip(13, 9, 260, rows=4, lanes=16, mmax=9),
    "storing_wide": replace(chip(13, 9, 260, rows=4, lanes=8, mmax=9), store_samples=16),
    "walking_wide": replace(chip(13, 260, rows=4, lanes=16, mmax=9), store_samples=16, walks=True),
    "walking_lbe": replace(lbe_chip(32, 20, 4, classes=5, lanes=64), store_samples=16, walks=True),
}
LONG_SAMPLES = {  # sizes of packed samples have two bytes
    "long_sizes": chip(1900, 9, 3, rows=4, lanes=16),
    "long_sizes_stored": replace(chip(1900, 9, 3, rows=4, lanes=16), store_samples=2, walks=True),
}
BUFFER = 64


def run(testbench, check: str, chips=CHIPS, **parameters) -> None:
    told = {name: Identity.of(shape, buffer_bytes(shape, BUFFER), 1, b"a build.") for name, shape in chips.items()}
    content = {name: random.Random(9).randbytes(shape.store_samples * stride(shape)) for name, shape in chips.items()}
    links = {
        name: Link(chips[name], identity, partial(BlockBytes, init=content[name])) for name, identity in told.items()
    }
    parts = {
        name: {"chip": asdict(chips[name]), "identity": told[name].pack().hex(), "memory": content[name].hex()}
        for name in chips
    }
    testbench(SideBySide(links), "popflip.sim.link.tb_controller", {"parts": parts, "check": check, **parameters})


@pytest.mark.parametrize(("seed", "stall"), [pytest.param(1, 0, marks=pytest.mark.long), (3, 0.5)])
def test_answers_and_effects_equal_the_model(testbench, seed, stall):
    run(testbench, "requests", seed=seed, stall=stall, count=500)


def test_answers_and_effects_equal_the_model_where_samples_are_long(testbench):
    run(testbench, "requests", LONG_SAMPLES, seed=4, stall=0.1, count=260)


@pytest.mark.long
def test_answers_and_effects_of_more_chips_equal_the_model(testbench):
    run(testbench, "requests", MORE, seed=3, stall=0.5, count=500)


def test_speed(testbench):
    run(testbench, "speed")
