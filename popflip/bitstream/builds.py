"""The builds of this machine: make one, find out whether it is still that of the sources, and know its chip again.

The report beside a bitstream gets two more entries: ``inputs``, a hash of all that shapes the bitstream but its tools,
whose versions are there already; and ``identity``, what the chip answers to IDENTIFY. The cache keeps the identity of
every build with the name of its board, so that ``popflip info`` can name the board of a chip that answers.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from popflip import constraints, hw
from popflip.bitstream import build as bitstreams
from popflip.bitstream import families, margin, reports
from popflip.bitstream.families import family_of
from popflip.constraints import base
from popflip.constraints.base import Board, Fit
from popflip.constraints.links import UartLink, UsbLink
from popflip.errors import PopflipError
from popflip.files import read_input, whole_file
from popflip.hw.config import ChipConfig
from popflip.hw.fingerprint import build_hash, code_of
from popflip.hw.link.buffer import buffer_bytes
from popflip.hw.link.identity import Identity
from popflip.report import write
from popflip.sim.cache import cache_directory, content_hash

KIND = "builds"
"""Folder of the cache that holds a file for each build's identity and board."""
NOTE = {"identity": str, "board": str, "link": str, "baud": int}
"""The members of such a file."""
HARDWARE = Path(str(hw.__file__)).parent
USB_SOURCES = ("usb_top.py", "link/usb.py", "link/usb_names.py")
"""Sources of a bitstream with USB that the hash of the chip's sources leaves out: a chip knows no kind of link."""
MOST_REPORT = 2**20
"""Bytes of a report that are read at most."""

Announce = Callable[[str], object]


def make(
    board: Board, fit: Fit, chip: ChipConfig, output: Path, announce: Announce, keep: bool = False
) -> list[tuple[str, str]]:
    """:func:`popflip.bitstream.build.build`, and a note of the build in its report and in the cache.

    Parameters, result and errors are those of that function.
    """
    rows = bitstreams.build(board, fit, chip, output, announce, keep)
    report = json.loads((output / f"{board.name}.json").read_text(encoding="utf-8"))
    found = identity_of(board, fit, chip).pack()
    write(output / f"{board.name}.json", report | {"inputs": inputs_of(board, fit, chip), "identity": found.hex()})
    _note(found, board)
    return rows


def file_of(board: Board, output: Path) -> Path:
    """Where the folder ``output`` holds the bitstream of ``board``."""
    return output / f"{board.name}.{family_of(board.platform()).suffix}"


def stale(board: Board, fit: Fit, chip: ChipConfig, output: Path) -> str | None:
    """Why the bitstream of ``board`` in ``output`` is not one of ``chip``, as the sources and tools would build it now.

    None if it is.
    """
    file = file_of(board, output)
    if not file.exists():
        return f"{file} is not there"
    report = report_of(file)
    if report is None:
        return f"{file} has no report of its build beside it"
    if report.get("inputs") != inputs_of(board, fit, chip):
        return f"{file} was built from other settings or sources"
    for package, version in report["tools"].items():
        with suppress(metadata.PackageNotFoundError):  # what is not installed cannot build a better one
            if metadata.version(package) != version:
                return f"{file} was built with {package} {version}"
    return None


def report_of(file: Path) -> dict[str, Any] | None:
    """The report beside the bitstream ``file``; None if it is missing, damaged, or of another bitstream."""
    try:
        report = json.loads(read_input(file.with_suffix(".json"), MOST_REPORT, "a report"))
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
    except (OSError, ValueError, RecursionError, PopflipError):
        return None
    known = isinstance(report, dict) and isinstance(report.get("tools"), dict) and isinstance(report.get("board"), str)
    return report if known and report.get("sha256") == digest else None


def inputs_of(board: Board, fit: Fit, chip: ChipConfig) -> str:
    """A hash of all that shapes the bitstream of ``chip``, but for the tools: its design, board, and settings.

    It changes with some sources that change no bitstream.
    """
    own = importlib.import_module(f"popflip.constraints.{board.name}")
    files = [Path(str(module.__file__)) for module in (bitstreams, families, margin, reports, base, own)]
    if isinstance(board.link, UsbLink):
        files += [HARDWARE / name for name in USB_SOURCES]
    sources = (code_of(file.read_text(encoding="utf-8")) for file in files)
    link = f"{board.link.kind} {board.baud}"
    return content_hash(identity_of(board, fit, chip).pack(), repr(fit), board.name, link, *sources)


def identity_of(board: Board, fit: Fit, chip: ChipConfig) -> Identity:
    """What ``chip`` on ``board`` answers to IDENTIFY."""
    hz = _clock_hz(replace(board, links=(), buffer=0), fit.clock_hz)  # one search for all its links
    return Identity.of(chip, buffer_bytes(chip, board.buffer), hz, build_hash(chip))


@cache
def _clock_hz(board: Board, wanted: float) -> int:
    """The whole hertz of the clock nearest ``wanted`` that ``board`` makes. A search for a PLL's setting takes long."""
    return round(board.clock(board.platform(), wanted)[1])


def boards_of(identity: Identity) -> list[str]:
    """The boards whose chip has ``identity``: those of the networks that fit them, and of the builds in the cache.

    Raises :class:`ConfigError` if this version does not know the chip's rule or precision.
    """
    names, chip = _noted(identity.pack()), identity.chip()
    for name, board in constraints.boards().items():
        for each in (board.linked(link.kind) for link in board.links):
            if any(each.chip(fit) == chip and identity_of(each, fit, chip) == identity for fit in each.fits):
                names.add(name)
    return sorted(names)


# The cache ------------------------------------------------------------------------------------------------------------


def _note(identity: bytes, board: Board) -> None:
    """Keep the board of a build. A machine without a folder for caches keeps none."""
    with suppress(PopflipError, OSError):
        folder = cache_directory() / KIND
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(folder / f"{content_hash(identity)}-{board.name}.json") as file:
            note = {"identity": identity.hex(), "board": board.name, "link": board.link.kind, "baud": board.baud}
            file.write(json.dumps(note).encode())


def _noted(identity: bytes) -> set[str]:
    """The boards of the builds with ``identity``."""
    notes = _notes(f"{content_hash(identity)}-*.json")
    return {note["board"] for note in notes if note["identity"] == identity.hex()}


def noted_speeds() -> list[int]:
    """The baud rates of the UARTs of the builds in the cache, without repetitions."""
    return sorted({note["baud"] for note in _notes("*.json") if note["link"] == UartLink.kind})


def _notes(pattern: str) -> Iterator[dict[str, Any]]:
    """The notes whose files match ``pattern``. A damaged one is left out."""
    with suppress(PopflipError, OSError):
        for path in (cache_directory() / KIND).glob(pattern):
            with suppress(PopflipError, ValueError, RecursionError):
                note = json.loads(read_input(path, MOST_REPORT, "a note"))
                if isinstance(note, dict) and all(type(note.get(name)) is kind for name, kind in NOTE.items()):
                    yield note
