"""Write files whole or not at all, and check before a long run that they can be written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from popflip.errors import FileError


def reason(error: OSError) -> str:
    """The system's message for ``error`` in lower case, without its number or path."""
    return (error.strerror or str(error)).lower()


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a binary file that replaces ``path`` only if the block ends without an error.

    Raises :class:`FileError` if it cannot be written.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise FileError(f"{path}: cannot be written: {reason(error)}") from None
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise FileError(f"{path}: cannot be written: {reason(error)}") from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def check_writable(**paths: Path | None) -> None:
    """Raise :class:`FileError`, which starts with the parameter's name, unless each file can be written later."""
    seen: dict[Path, str] = {}
    for name, path in paths.items():
        if path is None:
            continue
        if path.is_dir():
            raise FileError(f"{name}: {path} is a folder, not a file")
        if not path.parent.is_dir():
            raise FileError(f"{name}: there is no folder {path.parent} for {path.name}; create it first")
        other = seen.setdefault(path.resolve(), name)
        if other != name:
            raise FileError(f"{name}: {path} is also the file of {other}")
        try:
            with tempfile.TemporaryFile(dir=path.parent):
                pass
        except OSError as error:
            raise FileError(f"{name}: {path} cannot be written: {reason(error)}") from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
