"""The hash of a build covers every module that shapes the chip, and of these only the code."""

from __future__ import annotations

import ast
import io
import shutil
import subprocess
import sys
import tokenize
from collections.abc import Set
from pathlib import Path

import pytest
from paths import ROOT

from popflip.golden.config import Precision
from popflip.hw.config import ChipConfig
from popflip.hw.fingerprint import FOLDERS, HASH_BYTES, build_hash, code_of, source_hash, sources

CHIP = ChipConfig((8, 4, 2), Precision.TERNARY, 127, 1, 2, 8)

SAME = {
    "comment": ("golden/common/prng.py", "_STRIDE = 6", "_STRIDE = 6  # of something else\n# and a line of its own"),
    "module docstring": ("golden/common/prng.py", '"""The only source', '"""The one source\n\n'),
    "docstring of a function": ("golden/common/prng.py", '"""The next word."""', '"""Another word."""'),
    "no docstring": ("golden/common/prng.py", '"""The next word."""', ""),
    "blank lines": ("hw/config.py", "MAX_ROWS = 1024\n", "\n\nMAX_ROWS = 1024   \n\n"),
    "module that is not imported": ("hw/new.py", "", "x = 1"),
}
OTHER = {
    "constant of golden": ("golden/common/prng.py", "0x9E3779B9", "0x9E3779B8"),
    "constant of golden's parameters": ("golden/network.py", "WORD = 32", "WORD = 64"),
    "constant of hw": ("hw/config.py", "MAX_ROWS = 1024", "MAX_ROWS = 2048"),
    "code of a package": ("hw/__init__.py", '"""', "x = 1\n"),
    "indentation": ("hw/lib/lookup.py", "    return Array", "        return Array"),
    "new import": ("hw/new.py", "", "x = 1", "import popflip.hw.new\n"),
}


def edited(folder: Path, path: str, old: str, new: str, top: str = "") -> str:
    """The hash of a copy of the sources in ``folder`` with one edit, and ``top`` in front of ``hw/top.py``."""
    for name in ("golden", "hw"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    file = folder / path
    text = file.read_text() if file.exists() else ""
    assert old in text
    file.write_text(text.replace(old, new) if old else new)
    (folder / "hw" / "top.py").write_text(top + (folder / "hw" / "top.py").read_text())
    return source_hash({"popflip.golden": folder / "golden", "popflip.hw": folder / "hw"})


def test_sources_are_all_modules_that_the_chip_loads():
    program = "import sys, popflip.hw.top; print(*(name for name in sys.modules if name.startswith('popflip.')))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert set(sources(FOLDERS)) == set(loaded)
    assert {"popflip.golden.common.prng", "popflip.golden.config", "popflip.hw.top"} < set(loaded)


@pytest.mark.parametrize("edit", SAME.values(), ids=SAME)
def test_comments_and_docstrings_do_not_change_the_hash(tmp_path, edit):
    assert edited(tmp_path, *edit) == source_hash(FOLDERS)


@pytest.mark.parametrize("edit", OTHER.values(), ids=OTHER)
def test_code_changes_the_hash(tmp_path, edit):
    assert edited(tmp_path, *edit) != source_hash(FOLDERS)


def test_line_endings_change_nothing(tmp_path):
    expected = edited(tmp_path, "hw/new.py", "", "x = 1")
    for path in tmp_path.rglob("*.py"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert source_hash({"popflip.golden": tmp_path / "golden", "popflip.hw": tmp_path / "hw"}) == expected


def test_shape_and_amaranth_count(monkeypatch):
    known = build_hash(CHIP)
    assert len(known) == HASH_BYTES
    assert build_hash(ChipConfig((8, 4, 2), Precision.TERNARY, 127, 1, 2, 8, slots=2)) != known
    monkeypatch.setattr("popflip.hw.fingerprint.version", lambda package: "0")
    assert build_hash(CHIP) != known


def tokens_of(source: str, docstrings: Set[tuple[int, int]] = frozenset()) -> list[str]:
    """The tokens of ``source`` but for comments, blank lines and the ``docstrings`` that start there."""
    tokens, skips = [], False
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        skips = token.start in docstrings or (skips and token.type != tokenize.NEWLINE)
        if token.type not in (tokenize.COMMENT, tokenize.NL) and not skips and token.string.strip():
            tokens.append(token.string)
    return tokens


def docstrings_of(source: str) -> set[tuple[int, int]]:
    """Line and column of every string in ``source`` that is a statement of its own."""
    return {
        (node.lineno, node.col_offset)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    }


@pytest.mark.parametrize("folder", ["golden", "hw"])
def test_code_equals_python_s_tokens(folder):
    for path in (ROOT / folder).rglob("*.py"):
        check(path.read_text())


def check(source: str) -> None:
    code = code_of(source)
    assert "\n\n" not in code
    assert tokens_of(code) == tokens_of(source, docstrings_of(source))
    assert not any(token.type == tokenize.COMMENT for token in tokenize.generate_tokens(io.StringIO(code).readline))


def test_strings_are_kept_as_they_are():
    source = 'x = """a  # b\n\n  c"""  # d\n\nf(\n    """e""",  # g\n\n    "#h",\n)\n"""i"""  # j\n'
    assert code_of(source) == 'x = """a  # b\n\n  c"""\nf(\n    """e""",\n    "#h",\n)'
