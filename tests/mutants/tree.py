"""A temporary copy of the repository, in which a mutation is planted and the tests run."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mutations import Mutation

CPU_SECONDS = 240
"""A process that computes longer is taken to hang. CPU time, so that a busy computer does not decide."""
WALL_SECONDS = 3600
"""Limit for one mutant: a process may also wait for ever."""
MEMORY = 6 << 30  # bytes of one process
PACKAGES = ("golden", "hw", "sim", "constraints")
FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+?(?:\[.*?\])?)(?: - .*)?$", re.MULTILINE)


@dataclass(frozen=True)
class Run:
    """How a run of the tests ended: ``passed``, ``failed``, ``import`` (no test could start) or ``time``."""

    verdict: str
    by: str
    """The test that failed."""
    output: str


class Tree:
    """A copy of the sources at ``root`` in ``folder``, with a cache of built chips of its own."""

    def __init__(self, root: Path, folder: Path):
        self.folder = folder
        self._writes = 0
        self._process: subprocess.Popen | None = None
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        )
        for name in filter(None, listed.stdout.split("\0")):
            if (root / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(root / name, folder / name)
        package = folder / "build" / "packages" / "popflip"  # the layout of the installed package
        package.mkdir(parents=True)
        for part in (*sorted((folder / "popflip").iterdir()), *(folder / name for name in PACKAGES)):
            (package / part.name).symlink_to(part)

    def run(self, tests: Sequence[str], mutation: Mutation | None = None) -> Run:
        """Run ``tests`` up to the first failure, with ``mutation`` planted or on the sources as they are."""
        if mutation is None:
            return self._pytest(tests, {})
        planted = self.folder / mutation.path
        original, times = planted.read_bytes(), planted.stat()
        # Python tells stale byte code by the seconds of a source's time, so each mutant gets a second of its own.
        self._writes += 1
        own = {
            "POPFLIP_CACHE": str(self.folder / "build" / "cache"),
            "CXXFLAGS": "-O0",  # of testbenches: most of them run for less time than it takes to optimise them
            "TESTBENCHES": "first" if mutation.path.startswith("hw/") else "last",
        }
        try:
            planted.write_bytes(mutation.apply(original))
            os.utime(planted, (self._writes, self._writes))
            return self._pytest(tests, own)
        finally:
            planted.write_bytes(original)
            os.utime(planted, ns=(times.st_atime_ns, times.st_mtime_ns))

    def _pytest(self, tests: Sequence[str], environment: dict[str, str]) -> Run:
        plugin = self.folder / "tests" / "mutants"
        path = os.pathsep.join(map(str, (plugin.parents[1] / "build" / "packages", plugin)))
        options = ("-x", "-q", "-n", "0", "--tb=short", "-rfE", "-p", "testbench_order", "--hypothesis-seed=1")
        chosen = ("-m", "not proof and not kills and not silicon")
        process = self._process = subprocess.Popen(
            [sys.executable, "-m", "pytest", *options, *chosen, *tests],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1", **environment},  # not the current folder
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            preexec_fn=_limit,
        )
        try:
            output, _ = process.communicate(timeout=WALL_SECONDS)
        except subprocess.TimeoutExpired:
            self.stop()
            return Run("time", f"{WALL_SECONDS} s", process.communicate()[0])
        return _judge(process.returncode, output)

    def stop(self) -> None:
        """End the tests that run, and all their simulators and compilers."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)


def _limit() -> None:
    """Limits of a process and of each process that it starts."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))


def _judge(code: int, output: str) -> Run:
    """The run that ended with exit ``code`` of pytest."""
    failed = FAILED.search(output)
    by = failed[1] if failed else ""
    if code == 0:
        return Run("passed", "", output)
    if code == 1 and failed:
        return Run("failed", by, output)
    if code == 2 and "error during collection" in output:
        return Run("import", by, output)
    if code < 0:
        return Run(
            "time" if -code in (signal.SIGXCPU, signal.SIGKILL) else "failed", signal.Signals(-code).name, output
        )
    raise RuntimeError(f"pytest ended with {code}:\n{output[-3000:]}")
