"""What a chip was built from, as a few bytes it can tell."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import popflip.golden.config
from popflip.hw.config import ChipConfig

HASH_BYTES = 8


def build_hash(chip: ChipConfig) -> bytes:
    """First bytes of the SHA-256 over the shape, the sources of the hardware and Amaranth's version.

    Independent of where the sources lie, of the time, and of line endings.
    """
    digest = hashlib.sha256()
    for part in (repr(sorted(asdict(chip).items())), version("amaranth")):
        digest.update(part.encode() + b"\0")
    root = Path(__file__).parent
    sources = {path.relative_to(root).as_posix(): path for path in root.rglob("*.py")}
    sources["golden/config.py"] = Path(popflip.golden.config.__file__)  # the only module hw takes from elsewhere
    for name, path in sorted(sources.items()):
        digest.update(name.encode() + b"\0" + path.read_bytes().replace(b"\r\n", b"\n") + b"\0")
    return digest.digest()[:HASH_BYTES]
