"""Shared by the tests of hardware stages: chips in one line, and the run of a testbench on several of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from amaranth.lib import wiring

from popflip.golden.config import Precision, Rule
from popflip.hw.config import ChipConfig
from popflip.sim.bench.parts import SideBySide

BINARY, TERNARY = Precision.BINARY, Precision.TERNARY


def chip(
    *layers: int | str,
    precision: Precision = TERNARY,
    rows: int = 2,
    lanes: int = 8,
    mmax: int = 127,
    dclip: int = 1,
    slots: int = 4,
    learn_rows: int = 1,
    compact: bool = False,
    mmaxes: tuple[int, ...] = (),
) -> ChipConfig:
    """A chip of ``layers`` whose array takes ``rows`` × ``lanes`` synapses."""
    options = {"learn_rows": learn_rows, "compact": compact, "mmaxes": mmaxes}
    return ChipConfig(layers, precision, max(mmaxes, default=mmax), dclip, rows, lanes, slots, **options)


def lbe_chip(*layers: int, classes: int, rows: int = 2, lanes: int = 8, mmax: int = 127, slots: int = 4) -> ChipConfig:
    """A chip that learns ``layers`` by LBE."""
    return ChipConfig(layers, BINARY, mmax, 1, rows, lanes, slots, Rule.LBE, classes)


def run_on_chips(
    testbench: Callable[..., None],
    component: Callable[[ChipConfig], wiring.Component],
    chips: Mapping[str, ChipConfig],
    module: str,
    **parameters: Any,
) -> None:
    """Run ``module`` of :mod:`popflip.sim` on a ``component`` for each of ``chips``, all in one netlist."""
    parts = {name: {"chip": asdict(chip)} for name, chip in chips.items()}
    dut = SideBySide({name: component(chip) for name, chip in chips.items()})
    testbench(dut, f"popflip.sim.{module}", {"parts": parts, **parameters})
