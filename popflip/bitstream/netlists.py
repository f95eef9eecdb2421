"""The netlists of a build, kept beside its bitstream: Yosys's after synthesis, and nextpnr's after routing.

Both are JSON in Yosys's format. The build's report holds their SHA-256, so that netlists of another build are noticed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from popflip.errors import BuildError
from popflip.files import reason, whole_file

LEVELS = ("synthesis", "route")
"""The steps of a build that leave a netlist, in order."""


def folder_of(bitstream: Path) -> Path:
    """The folder for the netlists of ``bitstream``: ``icebreaker-netlists`` beside ``icebreaker.bin``."""
    return bitstream.with_name(f"{bitstream.stem}-netlists")


def path_of(bitstream: Path, level: str) -> Path:
    """The file of the netlist after step ``level`` of :data:`LEVELS`."""
    return folder_of(bitstream) / f"{level}.json"


def digests(netlists: Mapping[str, bytes]) -> dict[str, str]:
    """SHA-256 of each netlist, by the step that wrote it."""
    return {level: hashlib.sha256(content).hexdigest() for level, content in netlists.items()}


def keep(netlists: Mapping[str, bytes], bitstream: Path) -> None:
    """Write ``netlists``, by step, beside ``bitstream``. Raises :class:`BuildError` if their folder cannot be made."""
    folder = folder_of(bitstream)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise BuildError(f"output: {folder}: {reason(error)}") from None
    for level, content in netlists.items():
        with whole_file(path_of(bitstream, level)) as file:
            file.write(content)


def load(bitstream: Path, report: Mapping[str, Any], level: str) -> bytes:
    """The netlist after step ``level`` that the build of ``bitstream``, with its ``report``, kept.

    Raises :class:`BuildError` if it kept none, or if the file is missing or of another build.
    """
    kept = report.get("netlists")
    if not isinstance(kept, dict) or level not in kept:
        raise BuildError(f"level: the build of {bitstream} kept no netlists; build it again with --keep")
    path = path_of(bitstream, level)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BuildError(f"level: {path}: {reason(error)}; build it again with --keep") from None
    if hashlib.sha256(content).hexdigest() != kept[level]:
        raise BuildError(f"level: {path} is damaged or of another build; build it again with --keep")
    return content
