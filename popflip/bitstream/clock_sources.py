"""The source of every clock in a netlist: a glitch on a clock is a wrong state that no simulation of the RTL shows.

A clock may come from a pin, a PLL or a flip-flop, and pass through clock buffers and the FPGA's own clock gates. It
must not come from a LUT: while two of its inputs change, its output may have a pulse that some registers take for an
edge. Whether it does depends on routing. So a build refuses such a netlist, whatever its timing report says.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from popflip.errors import BuildError

CLOCK_PINS = {
    "SB_DFF": ("C",),
    "SB_RAM40_4K": ("RCLK", "WCLK", "RCLKN", "WCLKN"),
    "SB_SPRAM256KA": ("CLOCK",),
    "SB_IO": ("INPUT_CLK", "OUTPUT_CLK"),
    "TRELLIS_FF": ("CLK",),
    "TRELLIS_DPR16X4": ("WCK",),
    "DP16KD": ("CLKA", "CLKB"),
    "IFS1P3": ("SCLK",),
    "OFS1P3": ("SCLK",),
    "ODDRX1F": ("SCLK",),
}
"""Clock inputs by cell type. A type stands for all whose names begin with it."""

THROUGH = {"SB_GB": "USER_SIGNAL_TO_GLOBAL_BUFFER", "DCCA": "CLKI"}
"""Clock buffers and gates, and the input that their output follows. A closed DCCA opens between two pulses."""

SOURCES = {
    "SB_DFF": ("Q",),
    "SB_PLL40": ("PLLOUTCORE", "PLLOUTGLOBAL"),
    "SB_IO": ("D_IN_0",),
    "TRELLIS_FF": ("Q",),
    "EHXPLLL": ("CLKOP", "CLKOS", "CLKOS2", "CLKOS3"),
    "TRELLIS_IO": ("O",),
}
"""Outputs without glitches, by cell type as in :data:`CLOCK_PINS`."""


def check(netlist: dict[str, Any]) -> None:
    """Raise :class:`BuildError` if a clock has a source that can have glitches. ``netlist`` is Yosys's JSON, flat."""
    module = next(module for module in netlist["modules"].values() if "top" in module["attributes"])
    drivers = {bit: (name, port) for name, cell in module["cells"].items() for port, bit in _outputs(cell)}
    pins = {bit for port in module["ports"].values() if port["direction"] == "input" for bit in port["bits"]}
    for name, cell in module["cells"].items():
        for port in _matching(CLOCK_PINS, cell["type"]):
            for bit in cell["connections"].get(port, ()):
                if isinstance(bit, int) and bit not in pins:
                    _check_source(module["cells"], drivers, pins, bit, f"{name} ({cell['type']})")


def _check_source(
    cells: dict[str, Any], drivers: dict[int, tuple[str, str]], pins: set[int], bit: int, clocked: str
) -> None:
    while bit not in pins:
        if bit not in drivers:
            raise BuildError(f"the clock of {clocked} has no driver")
        name, port = drivers[bit]
        kind = cells[name]["type"]
        if port in _matching(SOURCES, kind):
            return
        if kind not in THROUGH:
            raise BuildError(f"the clock of {clocked} comes from {name} ({kind}.{port}), which can have glitches")
        (bit,) = cells[name]["connections"][THROUGH[kind]]


def _outputs(cell: dict[str, Any]) -> Iterator[tuple[str, int]]:
    for port, direction in cell["port_directions"].items():
        if direction == "output":
            for bit in cell["connections"][port]:
                yield port, bit


def _matching(table: dict[str, tuple[str, ...]], kind: str) -> tuple[str, ...]:
    return next((ports for prefix, ports in table.items() if kind.startswith(prefix)), ())
