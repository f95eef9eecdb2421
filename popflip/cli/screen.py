"""Standard output and error that may be closed, full, or of an encoding with few characters."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from popflip.cli.display import printable
from popflip.files import reason


class Screen:
    """Standard output that notes its first failure and drops what follows, so that no result is lost with it."""

    def __init__(self, stream: TextIO):
        self._stream = stream
        self.failure: str | None = None

    def write(self, text: str) -> int:
        """Write ``text``, or drop it if an earlier write failed."""
        self._try(self._stream.write, text)
        return len(text)

    def flush(self) -> None:
        """Flush what was written."""
        self._try(self._stream.flush)

    def _try(self, work: Any, *arguments: Any) -> None:
        if self.failure is not None:
            return
        try:
            work(*arguments)
        except OSError as error:
            self.failure = reason(error)
            with suppress(OSError, ValueError):  # Python flushes the stream again when it exits
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def complain(message: object) -> None:
    """Print ``message`` as one line on standard error, if there is one."""
    shown = printable(" ".join(str(message).split()))
    if sys.stderr is None:
        return
    with suppress(OSError):
        print("popflip:", shown, file=sys.stderr, flush=True)


@contextmanager
def screen() -> Iterator[Screen]:
    """Replace standard output by a :class:`Screen` within the block.

    Characters that the encoding lacks appear as escapes. Nothing is printed where the user closed the stream; its
    descriptor is taken, so that no file that is opened later becomes the standard output.
    """
    closed = sys.stdout is None
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
    before = sys.stdout
    stream = open(1, "w", closefd=False) if closed else before  # noqa: SIM115
    for each in (stream, sys.stderr):
        if hasattr(each, "reconfigure"):
            each.reconfigure(errors="backslashreplace")
    sys.stdout = out = Screen(stream)  # type: ignore[assignment]
    try:
        yield out
    finally:
        out.flush()
        sys.stdout = stream
