"""Sources of clocks, in netlists of a few cells."""

from __future__ import annotations

from typing import Any

import pytest

from popflip.bitstream.clock_sources import check
from popflip.errors import BuildError

PIN, SOURCE, READY, GATED, CLOCK = range(2, 7)


def cell(kind: str, output: str = "", **connections: int | str) -> dict[str, Any]:
    return {
        "type": kind,
        "port_directions": {port: "output" if port == output else "input" for port in connections},
        "connections": {port: [bit] for port, bit in connections.items()},
    }


def netlist(**cells: dict[str, Any]) -> dict[str, Any]:
    ports = {"pin": {"direction": "input", "bits": [PIN]}}
    top = {"attributes": {"top": 1}, "ports": ports, "cells": cells}
    return {"modules": {"library": {"attributes": {}, "ports": {}, "cells": {}}, "popflip": top}}


PLL = cell("SB_PLL40_PAD", "PLLOUTGLOBAL", PACKAGEPIN=PIN, PLLOUTGLOBAL=SOURCE)
BUFFER = cell("SB_GB", "GLOBAL_BUFFER_OUTPUT", USER_SIGNAL_TO_GLOBAL_BUFFER=GATED, GLOBAL_BUFFER_OUTPUT=CLOCK)
CLOCKED = cell("SB_DFFE", "Q", C=CLOCK, D="0", Q=9)


def test_a_clock_from_a_flip_flop_is_sound():
    half = cell("SB_DFFSR", "Q", C=SOURCE, D="1", Q=GATED)
    check(netlist(pll=PLL, half=half, buffer=BUFFER, clocked=CLOCKED))


def test_an_ecp5_s_gate_and_pll_are_sound():
    pll = cell("EHXPLLL", "CLKOS", CLKI=PIN, CLKOS=SOURCE)
    gate = cell("DCCA", "CLKO", CLKI=SOURCE, CE=READY, CLKO=CLOCK)
    ready = cell("TRELLIS_FF", "Q", CLK=SOURCE, DI="1", Q=READY)
    check(netlist(pll=pll, gate=gate, ready=ready, memory=cell("DP16KD", CLKA=CLOCK, CLKB="0")))


def test_a_clock_from_a_pin_is_sound():
    check(netlist(memory=cell("SB_RAM40_4KNW", RCLK=PIN, WCLKN=PIN)))


@pytest.mark.parametrize("buffer", [cell("SB_IO", "D_IN_0", D_IN_0=CLOCK), cell("TRELLIS_IO", "O", O=CLOCK)])
def test_a_clock_from_the_buffer_of_a_pin_is_sound(buffer):
    check(netlist(buffer=buffer, clocked=cell("TRELLIS_FF", CLK=CLOCK)))


@pytest.mark.parametrize(
    ("kind", "port"), [("SB_RAM40_4K", "WCLK"), ("SB_SPRAM256KA", "CLOCK"), ("SB_DFFNE", "C"), ("SB_IO", "INPUT_CLK")]
)
def test_a_clock_from_a_lut_is_refused(kind, port):
    """The gate of version 0.1.0: clock AND ready."""
    gate = cell("SB_LUT4", "O", I0=SOURCE, I1=READY, O=GATED)
    ready = cell("SB_DFFN", "Q", C=SOURCE, D="1", Q=READY)
    with pytest.raises(BuildError) as error:
        check(netlist(pll=PLL, gate=gate, ready=ready, buffer=BUFFER, clocked=cell(kind, **{port: CLOCK})))
    assert str(error.value) == f"the clock of clocked ({kind}) comes from gate (SB_LUT4.O), which can have glitches"


def test_a_memory_s_output_is_no_clock():
    memory = cell("TRELLIS_DPR16X4", "DO", DO=CLOCK)
    with pytest.raises(BuildError, match=r"^the clock of clocked \(TRELLIS_FF\) comes from memory "):
        check(netlist(memory=memory, clocked=cell("TRELLIS_FF", CLK=CLOCK)))


def test_a_clock_without_a_driver_is_refused():
    with pytest.raises(BuildError) as error:
        check(netlist(buffer=BUFFER, clocked=CLOCKED))
    assert str(error.value) == "the clock of clocked (SB_DFFE) has no driver"
