"""The report of a build, from recorded files of the tools."""

from __future__ import annotations

import json

import pytest
from paths import DATA

from popflip.bitstream.families import ECP5, ICE40
from popflip.bitstream.reports import clocks, critical_path, signal_name, uses, utilisation

RECORDED = DATA / "build"


def recorded(name: str) -> str:
    return (RECORDED / name).read_text()


def test_uses_of_an_ice40():
    used = utilisation(recorded("ice40.tim"))
    assert used["ICESTORM_LC"] == (86, 5280)
    assert len(used) == 15
    assert uses(ICE40, used, json.loads(recorded("ice40_cells.json"))) == {
        "luts": {"used": 80, "available": 5280},
        "flip_flops": {"used": 36, "available": 5280},
        "logic_cells": {"used": 86, "available": 5280},
        "block_rams": {"used": 0, "available": 30},
        "sprams": {"used": 0, "available": 4},
    }


def test_memories_that_the_part_lacks_are_left_out():
    """An HX8K has no single-port RAM, and place and route says nothing of it."""
    used = utilisation(recorded("ice40.tim"))
    del used["ICESTORM_SPRAM"]
    assert "sprams" not in uses(ICE40, used, json.loads(recorded("ice40_cells.json")))


def test_uses_of_an_ecp5():
    assert uses(ECP5, utilisation(recorded("ecp5.tim")), {"design": {"num_cells_by_type": {}}}) == {
        "luts": {"used": 13627, "available": 83640},
        "flip_flops": {"used": 4632, "available": 83640},
        "block_rams": {"used": 34, "available": 208},
    }


def test_clocks_and_the_slowest_path():
    timing = json.loads(recorded("ice40_timing.json"))
    assert clocks(timing) == {
        "clk": {"fmax_mhz": 66.89, "needed_mhz": 12.0},
        "clock.start_clk_$glb_clk": {"fmax_mhz": 103.57, "needed_mhz": 12.0},
    }
    assert critical_path(timing) == {"clock": "clk", "source": "c", "sink": "b.o", "nanoseconds": 14.95}


def test_the_slowest_path_is_the_one_with_the_least_slack_for_its_clock():
    """A path of 20 ns leaves most of a period of 12 MHz; one of 9 ns nearly none of 98 MHz."""

    def path(clock: str, delay: float) -> dict:
        ends = ({"cell": f"{clock}.first"}, {"cell": f"{clock}.last"})
        segment = {"delay": delay, "from": ends[0], "to": ends[1]}
        return {"from": f"posedge {clock}", "to": f"posedge {clock}", "path": [segment]}

    fmax = {"chip": {"achieved": 111, "constraint": 98}, "usb12": {"achieved": 50, "constraint": 12}}
    timing = {"fmax": fmax, "critical_paths": [path("usb12", 20.0), path("chip", 9.0)]}
    assert critical_path(timing) == {
        "clock": "chip",
        "source": "chip.first",
        "sink": "chip.last",
        "nanoseconds": 9.0,
    }


def test_over_constraint_does_not_raise_the_needed_clock():
    timing = {"fmax": {"chip": {"achieved": 67.2, "constraint": 67.67}, "pll": {"achieved": 300, "constraint": 67}}}
    assert clocks(timing, 1.01, 67.0) == {
        "chip": {"fmax_mhz": 67.2, "needed_mhz": 67.0},
        "pll": {"fmax_mhz": 300, "needed_mhz": 67},
    }


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        ("chip.link.index_SB_DFFESR_Q_1_D_SB_LUT4_O_LC", "chip.link.index"),
        ("chip.trainer.sum_TRELLIS_FF_Q_3", "chip.trainer.sum"),
        ("chip.weights.bank0.0.0_DP16KD_DOA", "chip.weights.bank0.0.0"),
        ("uart.shift_DFFLC", "uart.shift"),
        ("$nextpnr_iobuf", "$nextpnr_iobuf"),
    ],
)
def test_cell_names_become_signal_names(cell, name):
    assert signal_name(cell) == name
