"""Load a shared library from its contents in memory, not from the file that they were read from.

The system's loader maps a file: it reads each page when the program first uses it, which may be hours later. A file
that changes or shrinks meanwhile changes the code that runs, or ends the process with SIGBUS. A private copy cannot
change, so the bytes that were checked are the bytes that run.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import tempfile
from pathlib import Path

_loaded: dict[str, ctypes.CDLL] = {}
"""Libraries of this process by the SHA-256 of their contents. Python never unloads a library."""


def load(contents: bytes) -> ctypes.CDLL:
    """The library with these ``contents``. Raises OSError if they are no shared library."""
    digest = hashlib.sha256(contents).hexdigest()
    if digest not in _loaded:
        try:
            _loaded[digest] = _from_memory(contents)
        except (AttributeError, OSError):  # no such call (macOS), no /proc, or memory files may not be executed
            _loaded[digest] = _from_file(contents, digest)
    return _loaded[digest]


def _from_memory(contents: bytes) -> ctypes.CDLL:
    """Load a file that lies in memory (Linux).

    The file stays open. The loader takes a path that it knows for the library that it has, so no later library may
    get the same number and path.
    """
    number = os.memfd_create("popflip-chip")
    try:
        with open(number, "wb", closefd=False) as file:
            file.write(contents)
        return ctypes.CDLL(f"/proc/self/fd/{number}", use_errno=True)
    except OSError:
        os.close(number)
        raise


def _from_file(contents: bytes, digest: str) -> ctypes.CDLL:
    """Load a file in a folder of its own, which no other user may enter, and remove both."""
    with tempfile.TemporaryDirectory(prefix="popflip-") as folder:
        path = Path(folder) / f"{digest}.so"
        path.write_bytes(contents)
        return ctypes.CDLL(str(path), use_errno=True)
