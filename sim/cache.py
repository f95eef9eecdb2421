"""A cache of built artefacts under the hash of their sources. An entry is complete or absent, and is built once.

An entry holds the SHA-256 of each of its files, in the format of ``sha256sum``, and every use checks them. An entry
with a file that differs, is cut short or is missing is built again. The digests detect damage by a disk, a full file
system or a stray write. They do not protect against somebody who may write to the cache.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import TypeVar

import platformdirs

from popflip.sim.errors import SimulatorError

try:
    import fcntl
except ImportError:  # Windows: two processes may build the same entry, and the second finds it there
    fcntl = None  # type: ignore[assignment]

DIGESTS = "SHA256SUMS"
"""File in each entry with the digests of the others: ``cd ENTRY && sha256sum -c SHA256SUMS`` checks them by hand."""

T = TypeVar("T")


class Damaged(Exception):
    """An entry is missing, or is not as it was built. It never leaves this module."""


def cache_directory() -> Path:
    """Folder of the cache: ``$POPFLIP_CACHE``, or ``popflip`` in the system's folder for caches.

    Raises :class:`SimulatorError` if it lies in a home folder that is not known.
    """
    given = os.environ.get("POPFLIP_CACHE")
    try:
        folder = Path(given or platformdirs.user_cache_dir("popflip")).expanduser()
    except (RuntimeError, KeyError):
        folder = None
    if folder is None or "\0" in str(folder) or str(folder).startswith("~"):
        raise SimulatorError("the simulated chip needs a folder, and there is no home folder; set POPFLIP_CACHE")
    return folder


def content_hash(*parts: str | bytes) -> str:
    """The first 16 hex digits of a SHA-256 over ``parts`` and their lengths."""
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode() if isinstance(part, str) else part
        digest.update(len(encoded).to_bytes(8, "little") + encoded)
    return digest.hexdigest()[:16]


def versions(*packages: str) -> str:
    """Installed versions of ``packages``, one per line."""
    return "\n".join(f"{package} {metadata.version(package)}" for package in packages)


def built(kind: str, key: str, build: Callable[[Path], None]) -> Path:
    """Folder ``kind/key`` of the cache, all of whose files have their digests. ``build(folder)`` fills a missing one.

    Concurrent processes wait for the first one to build it. A build that raises leaves no folder.
    """

    def check(folder: Path) -> Path:
        digests = _digests(folder)
        if digests.keys() != _files(folder):
            raise Damaged
        for name in digests:
            _contents(folder, name, digests)
        return folder

    return _entry(kind, key, build, check)


def built_file(kind: str, key: str, build: Callable[[Path], None], name: str) -> bytes:
    """Contents of file ``name`` of folder ``kind/key``, which is built as by :func:`built`.

    The digest is that of the returned bytes. What happens to the file later, by a process that writes to it, cuts it
    short or builds it again, does not matter.
    """
    return _entry(kind, key, build, lambda folder: _contents(folder, name, _digests(folder)))


def _entry(kind: str, key: str, build: Callable[[Path], None], read: Callable[[Path], T]) -> T:
    """``read(folder)``; if it raises :class:`Damaged`, ``build`` fills a temporary folder, which takes its place."""
    parent = cache_directory() / kind
    folder = parent / key
    with suppress(Damaged):
        return read(folder)
    parent.mkdir(parents=True, exist_ok=True)
    with _lock(parent / f"{key}.lock"):
        with suppress(Damaged):
            return read(folder)  # built by the process that held the lock
        for leftover in (folder, *parent.glob(f"{key}.*/")):  # damaged, or left by a killed build
            _remove(leftover)
        with tempfile.TemporaryDirectory(prefix=f"{key}.", dir=parent, ignore_cleanup_errors=True) as temporary:
            filled = Path(temporary) / "complete"
            filled.mkdir()
            build(filled)
            _write_digests(filled)
            filled.rename(folder)
        try:
            return read(folder)
        except Damaged:
            raise OSError(errno.EIO, "a file reads back other than it was written", str(folder)) from None


def _files(folder: Path) -> set[str]:
    """Names of the files of an entry, but for the list of digests."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {DIGESTS}


def _write_digests(folder: Path) -> None:
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in sorted(_files(folder))]
    (folder / DIGESTS).write_text("".join(lines), encoding="utf-8")


def _digests(folder: Path) -> dict[str, str]:
    """SHA-256, in hexadecimal, of each file of an entry. Raises :class:`Damaged` if the list cannot be read."""
    try:
        lines = (folder / DIGESTS).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise Damaged from None
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def _contents(folder: Path, name: str, digests: dict[str, str]) -> bytes:
    """Contents of a file of an entry. Raises :class:`Damaged` if they do not have the file's digest."""
    try:
        contents = (folder / name).read_bytes()
    except (OSError, ValueError):  # ValueError: a damaged list with a NUL in a name
        raise Damaged from None
    if hashlib.sha256(contents).hexdigest() != digests.get(name):
        raise Damaged
    return contents


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
