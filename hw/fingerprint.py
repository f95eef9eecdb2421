"""The build hash: a few bytes that identify a chip's shape, its sources, and the version of Amaranth.

The sources are all modules of Popflip that :mod:`popflip.hw.top` imports, directly or not. Only their code counts:
docstrings, comments and blank lines shape no netlist.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from pathlib import Path

import popflip.golden
from popflip.hw.config import ChipConfig

HASH_BYTES = 8

TOP = "popflip.hw.top"
"""The module at the top: the hash covers it and everything that it imports."""
FOLDERS = {"popflip.golden": Path(popflip.golden.__file__).parent, "popflip.hw": Path(__file__).parent}
"""Packages that hold sources of the hardware, and their folders."""

_TOKEN = re.compile(  # comments and strings; every alternative starts with a literal, which makes the search fast
    r""""{3}[^"\\]*(?:(?:\\.|"(?!""))[^"\\]*)*"{3}|'{3}[^'\\]*(?:(?:\\.|'(?!''))[^'\\]*)*'{3}"""
    r"""|"[^"\\\n]*(?:\\.[^"\\\n]*)*"|'[^'\\\n]*(?:\\.[^'\\\n]*)*'|\#[^\n]*""",
    re.DOTALL,
)
_IMPORT = re.compile(
    r"^[ \t]*(?:from (?P<package>popflip[\w.]*) import (?P<names>\([^)]*\)|[^\n]*)"
    r"|import (?P<module>popflip[\w.]*))",
    re.MULTILINE,
)


def build_hash(chip: ChipConfig) -> bytes:
    """First bytes of the SHA-256 over the shape, the sources of the hardware and Amaranth's version.

    Independent of the Python version, of where the sources lie, and of line endings.
    """
    shape = repr(sorted(asdict(chip).items()))
    return hashlib.sha256(f"{shape}\0{version('amaranth')}\0{_own_sources()}".encode()).digest()[:HASH_BYTES]


@cache
def _own_sources() -> str:
    return source_hash(FOLDERS)


def source_hash(folders: Mapping[str, Path]) -> str:
    """SHA-256, in hexadecimal, over name and code of every module that :data:`TOP` is built from."""
    digest = hashlib.sha256()
    for name, code in sorted(sources(folders).items()):
        digest.update(f"{name}\0{code}\0".encode())
    return digest.hexdigest()


def sources(folders: Mapping[str, Path]) -> dict[str, str]:
    """The code of :data:`TOP` and of all modules and packages in ``folders`` that it imports, directly or not."""
    found: dict[str, str] = {}
    pending = [TOP]
    while pending:
        name = pending.pop()
        path = _path(name, folders)
        if name in found or path is None:
            continue
        found[name] = code_of(path.read_text(encoding="utf-8"))
        pending += [name.rpartition(".")[0], *_imports(found[name])]
    return found


def _path(name: str, folders: Mapping[str, Path]) -> Path | None:
    """The file of module ``name``; None if it is not in ``folders``."""
    for package, folder in folders.items():
        if f"{name}.".startswith(f"{package}."):
            place = folder.joinpath(*name[len(package) + 1 :].split("."))
            files = (place / "__init__.py", place.with_suffix(".py"))
            return next((path for path in files if path.is_file()), None)
    return None


def _imports(code: str) -> list[str]:
    """Names of Popflip that ``code`` imports; of ``from a import b`` both ``a`` and ``a.b``, which may be a module."""
    names = []
    for match in _IMPORT.finditer(code):
        package = match["package"]
        names += [match["module"]] if package is None else [package]
        names += [f"{package}.{name}" for name in re.findall(r"\w+", match["names"] or "")]
    return names


def code_of(source: str) -> str:
    """``source`` without comments, docstrings, blank lines and blanks at the end of lines.

    A docstring is any string in triple quotes that is a statement of its own. A regular expression finds it, because
    Python's own tokenizer takes a second for all of ``hw``; the tests compare the two.
    """
    kept, gap, position = [], "", 0  # ``gap``: code since the last string that was kept; ``position``: its end
    for token in _TOKEN.finditer(source):
        gap += source[position : token.start()]
        position = token.end()
        if not token[0].startswith("#") and not _is_docstring(source, token, gap):
            kept += [_compact(gap), token[0]]
            gap = ""
    return "".join([*kept, _compact(gap + source[position:])]).strip("\n")


def _is_docstring(source: str, token: re.Match, gap: str) -> bool:
    """Whether a string in triple quotes is alone on its lines, and the code before it, ``gap``, is complete."""
    if not token[0].startswith(('"""', "'''")):
        return False
    before, after = gap[gap.rfind("\n") + 1 :], source[token.end() : source.find("\n", token.end())].lstrip()
    alone = not before.strip() and (not after or after.startswith("#"))
    return alone and not gap.rstrip().endswith(("(", "[", "{", ",", "=", "+", "%", "\\"))


def _compact(code: str) -> str:
    return re.sub(r"\s*\n", "\n", code)
