"""Which tests look at a module: found from imports, nearest first.

A test file reaches a module if it imports it, directly or through the package, or if it names a testbench that does.
"""

from __future__ import annotations

import ast
import re
from collections import deque
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


class CoveringTests:
    """The tests of the tree at ``root``."""

    def __init__(self, root: Path):
        sources = [path for folder in FOLDERS for path in sorted((root / folder).rglob("*.py"))]
        tests = sorted((root / "tests").rglob("*.py"))
        names = {_name(root, path): path for path in sources if path.stem != "__init__"}
        names |= {path.stem: path for path in tests if path.parent.name == "support"}
        self._root = root
        self._importers: dict[Path, list[Path]] = {path: [] for path in (*sources, *tests)}
        for path in self._importers:
            for name in _imports(path):
                if name in names:
                    self._importers[names[name]].append(path)

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
        distances, pending = {source: 0}, deque([source])
        while pending:
            path = pending.popleft()
            for importer in self._importers[path]:
                if importer not in distances:
                    distances[importer] = distances[path] + 1
                    pending.append(importer)
        names = {path.relative_to(self._root).as_posix(): distance for path, distance in distances.items()}
        return {
            name: distance
            for name, distance in names.items()
            if name.startswith("tests/") and "/test_" in name and not name.startswith(LEFT_OUT)
        }


def _imports(path: Path) -> list[str]:
    """Names of the modules that a file imports, and of the testbenches that it names."""
    text = path.read_text(encoding="utf-8")
    names = [f"popflip.sim.{name}" for name in TESTBENCH.findall(text)]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names


def _name(root: Path, path: Path) -> str:
    return ".".join(("popflip", *path.relative_to(root).with_suffix("").parts))
