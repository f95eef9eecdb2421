"""A cache of built artefacts under the hash of their sources. An entry is complete or absent, and is built once."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import platformdirs


def cache_directory() -> Path:
    """Folder of the cache: ``$POPFLIP_CACHE``, or ``popflip`` in the system's folder for caches."""
    return Path(os.environ.get("POPFLIP_CACHE") or platformdirs.user_cache_dir("popflip"))


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
    """Folder ``kind/key`` of the cache. If it is missing, ``build(folder)`` fills a temporary one, which is renamed.

    Concurrent processes wait for the first one to build it. A build that raises leaves no folder.
    """
    parent = cache_directory() / kind
    folder = parent / key
    if folder.is_dir():
        return folder
    parent.mkdir(parents=True, exist_ok=True)
    with _lock(parent / f"{key}.lock"):
        if not folder.is_dir():
            for leftover in parent.glob(f"{key}.*/"):  # left by a killed build; this process holds the lock
                shutil.rmtree(leftover, ignore_errors=True)
            with tempfile.TemporaryDirectory(prefix=f"{key}.", dir=parent, ignore_cleanup_errors=True) as temporary:
                filled = Path(temporary) / "complete"
                filled.mkdir()
                build(filled)
                filled.rename(folder)
    return folder


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
