"""Which tests look at a module: found from imports, nearest first.

A test file reaches a module if it imports it, directly or through the package, or if it names a testbench that does.
"""

from __future__ import annotations

import ast
import re
from collections import deque
from functools import cache
from pathlib import Path

FOLDERS = ("golden", "hw", "sim", "constraints")
TESTBENCH = re.compile(r"""["'](?:popflip\.sim\.)?((?:common|gft|lbe|memory|link|lib|bench)\.tb_\w+)["']""")
NEAREST = 4
"""Test files of the first line: the nearest ones."""
SECOND_LINE = {
    "golden": ("tests/test_trainer.py", "tests/system/test_vectors.py", "tests/popflip/test_golden_device.py"),
    "hw": ("tests/test_trainer.py", "tests/popflip/test_chip_device.py"),
}
"""Test files with whole batches, by the folder of the source."""
LATE = ("tests/system", "tests/popflip")
"""Folders with tests of many modules together."""
LEFT_OUT = ("tests/mutants", "tests/proofs")
"""Folders whose tests ``make test`` does not run, or that test these tools."""


class Tests:
    """The tests of the tree at ``root``."""

    def __init__(self, root: Path):
        self._root = root
        self._files = {path.relative_to(root).as_posix(): path for path in sorted((root / "tests").rglob("*.py"))}
        self._names = {_name(root, path): path for path in _sources(root)}
        self._names |= {path.stem: path for path in sorted((root / "tests" / "support").glob("*.py"))}

    def of(self, source: str) -> list[str]:
        """Test files for ``source``, a path from the root: those of its name and the nearest, then whole batches."""
        folder, *rooms = Path(source).parts
        near = self._near(self._root / source)
        name = f"test_{rooms[-1]}"
        same = "/".join(("tests", *rooms[:-1], name))

        def order(test: str) -> tuple:
            return test != same, not test.endswith(f"/{name}"), test.startswith(LATE), near[test], test

        first = sorted(near, key=order)[:NEAREST]
        return list(dict.fromkeys([*first, *SECOND_LINE[folder]]))

    def _near(self, source: Path) -> dict[str, int]:
        """Test files that reach ``source``, and the number of imports on the way."""
        found = {}
        for name, path in self._files.items():
            if path.name.startswith("test_") and not name.startswith(LEFT_OUT):
                distance = self._distance(path, source)
                if distance is not None:
                    found[name] = distance
        return found

    def _distance(self, start: Path, goal: Path) -> int | None:
        distances, pending = {start: 0}, deque([start])
        while pending:
            path = pending.popleft()
            if path == goal:
                return distances[path]
            for other in self._imports(path):
                if other not in distances:
                    distances[other] = distances[path] + 1
                    pending.append(other)
        return None

    @cache  # noqa: B019  one object lives as long as the program
    def _imports(self, path: Path) -> list[Path]:
        text = path.read_text(encoding="utf-8")
        names = [f"popflip.sim.{name}" for name in TESTBENCH.findall(text)]
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                names += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        return [self._names[name] for name in names if name in self._names]


def _sources(root: Path) -> list[Path]:
    return [path for folder in FOLDERS for path in sorted((root / folder).rglob("*.py")) if path.stem != "__init__"]


def _name(root: Path, path: Path) -> str:
    return ".".join(("popflip", *path.relative_to(root).with_suffix("").parts))
