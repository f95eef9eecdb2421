"""The chip's end of the link, against its model: every command, every reason to refuse, damaged bytes, stalls."""

from __future__ import annotations

from dataclasses import asdict

import pytest
from chips import BINARY, chip

from popflip.hw.link.buffer import buffer_bytes
from popflip.hw.link.frames import Identity
from popflip.hw.link.link import Link
from popflip.sim.parts import SideBySide

CHIPS = {
    "narrow": chip(5, 3, rows=1, lanes=4),
    "wide": chip(13, 9, 260, rows=4, lanes=8, mmax=9),
    "binary": chip(32, 20, 4, rows=2, lanes=64, precision=BINARY),
    "banks": chip(40, 20, 4, rows=8, lanes=16, learn_rows=4),
}
BUFFER = 64


def run(testbench, check: str, **parameters) -> None:
    told = {name: Identity.of(shape, buffer_bytes(shape, BUFFER), 1, b"a build.") for name, shape in CHIPS.items()}
    links = {name: Link(CHIPS[name], identity) for name, identity in told.items()}
    parts = {name: {"chip": asdict(CHIPS[name]), "identity": told[name].pack().hex()} for name in CHIPS}
    testbench(SideBySide(links), "popflip.sim.tb_controller", {"parts": parts, "check": check, **parameters})


@pytest.mark.parametrize(("seed", "stall"), [(1, 0), (2, 0.5)])
def test_answers_and_effects_equal_the_model(testbench, seed, stall):
    run(testbench, "requests", seed=seed, stall=stall, count=500)


def test_speed(testbench):
    run(testbench, "speed")
