"""Built things, kept by the hash of what they are built from: whole or not there at all, and built once."""

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
    """Where built things are kept: ``$POPFLIP_CACHE``, or the system's place for caches."""
    return Path(os.environ.get("POPFLIP_CACHE") or platformdirs.user_cache_dir("popflip"))


def content_hash(*parts: str | bytes) -> str:
    """16 hex digits that name ``parts``: two lists that differ anywhere, also in where a part ends, differ here."""
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode() if isinstance(part, str) else part
        digest.update(len(encoded).to_bytes(8, "little") + encoded)
    return digest.hexdigest()[:16]


def versions(*packages: str) -> str:
    """Installed versions of ``packages``, one a line."""
    return "\n".join(f"{package} {metadata.version(package)}" for package in packages)


def built(kind: str, key: str, build: Callable[[Path], None]) -> Path:
    """The folder of ``kind`` named ``key``; on first use ``build(folder)`` fills a temporary one, then renamed.

    Processes that want the same folder at the same time wait for the first of them. A build that raises leaves nothing.
    """
    parent = cache_directory() / kind
    folder = parent / key
    if folder.is_dir():
        return folder
    parent.mkdir(parents=True, exist_ok=True)
    with _lock(parent / f"{key}.lock"):
        if not folder.is_dir():
            for leftover in parent.glob(f"{key}.*/"):  # of a build that was killed; no other can be running
                shutil.rmtree(leftover, ignore_errors=True)
            with tempfile.TemporaryDirectory(prefix=f"{key}.", dir=parent, ignore_cleanup_errors=True) as temporary:
                filled = Path(temporary) / "whole"
                filled.mkdir()
                build(filled)
                filled.rename(folder)
    return folder


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
