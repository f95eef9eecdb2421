"""Imports go one way: golden ← hw ← {constraints, sim} ← popflip, and within popflip devices ← training ← classifier ←
cli. No two modules import each other, directly or through others.

The imports are read from the sources. One inside a function counts like any other: it hides a circle, it breaks none.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from paths import ROOT

FOLDERS = ("golden", "hw", "constraints", "sim")  # each is the package popflip.<folder>

LEVELS = {
    "popflip.golden": 0,
    "popflip.hw": 1,
    "popflip.constraints": 2,
    "popflip.sim": 2,
    "popflip.devices": 3,
    "popflip.training": 4,
    "popflip.classifier": 5,
    "popflip.cli": 6,
}
"""A module imports from its own layer and from lower levels."""
PACKAGE = 3
"""Least level of what is left: the other modules of popflip, which have no order of their own."""
TORCH = "popflip.torch"
"""The one package that imports PyTorch. No other module imports it, so all else works without PyTorch."""
ENTRY = "popflip.__main__"
"""The one module outside the command line that imports it."""

APART = (
    ("popflip.golden.gft", "popflip.golden.lbe"),
    ("popflip.hw.gft", "popflip.hw.lbe"),
)
"""The two rules meet in the trainer only."""

BENCH_ROOMS = ("bench", "common", "conv", "gft", "lbe", "memory", "link", "lib", "serial")
"""Folders of sim/ with testbenches and their tools, which are in no wheel."""

Imports = dict[str, set[str]]


def modules(root: Path) -> dict[str, Path]:
    """The modules of the package below ``root``, by name; a package's ``__init__`` has the package's name."""
    found = {}
    for folder in ("popflip", *FOLDERS):
        for path in (root / folder).rglob("*.py"):
            parts = path.relative_to(root).with_suffix("").parts
            parts = parts if folder == "popflip" else ("popflip", *parts)
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


def imports(root: Path) -> Imports:
    """For each module below ``root``, the modules of the package that it imports.

    Without ``popflip`` itself, which imports nothing until one of its names is used.
    """
    paths = modules(root)
    known = paths.keys() - {"popflip"}
    return {name: imported_by(path.read_text(encoding="utf-8")) & known - {name} for name, path in paths.items()}


def imported_by(source: str) -> set[str]:
    """Names that ``source`` imports anywhere; of ``from a import b`` both ``a`` and ``a.b``, which may be a module."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def within(module: str, packages: tuple[str, ...]) -> str | None:
    """The one of ``packages`` that ``module`` is or lies in."""
    return next((package for package in packages if f"{module}.".startswith(f"{package}.")), None)


def is_bench(module: str) -> bool:
    """Whether ``module`` is a testbench or one of their tools."""
    rooms = tuple(f"popflip.sim.{room}" for room in BENCH_ROOMS)
    return within(module, rooms) is not None or module.startswith("popflip.sim.tb_")


def goes_up(importer: str, imported: str) -> bool:
    """Whether the import goes to a higher layer, or to the one beside."""
    own, other = within(importer, tuple(LEVELS)), within(imported, tuple(LEVELS))
    if own == other or importer == ENTRY:
        return False
    if own is None or other is None:
        return other == "popflip.cli" or LEVELS.get(own or "", PACKAGE) < PACKAGE
    return LEVELS[other] >= LEVELS[own]


def complaints(graph: Imports) -> list[str]:
    """Every import that breaks a rule, and every circle, one line each."""
    lines = []
    for importer, imported in sorted((a, b) for a, names in graph.items() for b in names):
        if goes_up(importer, imported):
            lines.append(f"{importer} imports {imported}, which is not below it")
        if any({within(importer, pair), within(imported, pair)} == set(pair) for pair in APART):
            lines.append(f"{importer} imports {imported}, of the other rule")
        if within(imported, (TORCH,)) and not within(importer, (TORCH,)):
            lines.append(f"{importer} imports {imported}, which needs PyTorch")
        if is_bench(imported) and not is_bench(importer):
            lines.append(f"{importer} imports {imported}, which is a testbench's")
    return lines + [f"{' → '.join(circle)} is a circle" for circle in circles(graph)]


def circles(graph: Imports) -> list[list[str]]:
    """Circles of imports; each starts and ends with the same module. None is left if those found are opened."""
    done: set[str] = set()
    found = []

    def visit(module: str, path: list[str]) -> None:
        if module in path:
            found.append([*path[path.index(module) :], module])
        elif module not in done:
            for imported in sorted(graph[module]):
                visit(imported, [*path, module])
            done.add(module)

    for module in sorted(graph):
        visit(module, [])
    return found


@pytest.fixture(scope="module")
def package() -> Imports:
    """The imports of all modules of the package."""
    return imports(ROOT)


def test_imports_go_one_way(package):
    assert complaints(package) == []


def imports_torch(source: str) -> bool:
    """Whether ``source`` imports PyTorch anywhere."""
    return any(within(name, ("torch",)) for name in imported_by(source))


def test_only_one_package_imports_torch():
    importers = {name for name, path in modules(ROOT).items() if imports_torch(path.read_text(encoding="utf-8"))}
    assert {within(name, (TORCH,)) for name in importers} == {TORCH}
    assert len(importers) >= 6


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import torch", True),
        ("def f():\n    from torch import nn", True),
        ("import torch.nn.functional as F", True),
        ("from popflip.torch import GFT", False),
        ("import torchmetrics", False),
    ],
)
def test_imports_of_torch_are_found(source, expected):
    assert imports_torch(source) is expected


def test_all_folders_are_read(package):
    assert len(package) > 150
    assert {within(module, tuple(LEVELS)) for module in package} >= {*LEVELS, None}
    assert "popflip.golden.common.prng" in package["popflip.golden.common.mask"]


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("popflip.golden.trainer", "popflip.hw.config"),
        ("popflip.hw.top", "popflip.sim.chip"),
        ("popflip.hw.top", "popflip.report"),
        ("popflip.sim.chip", "popflip.constraints"),
        ("popflip.constraints", "popflip.sim.chip"),
        ("popflip.sim.chip", "popflip.sim.bench.runner"),
        ("popflip.cli.main", "popflip.sim.common.tb_trainer"),
        ("popflip.devices.base", "popflip.training"),
        ("popflip.training", "popflip.cli.main"),
        ("popflip.report", "popflip.cli.main"),
        ("popflip.report", "popflip.torch.layer"),
        ("popflip.cli.main", "popflip.torch"),
        ("popflip.golden.lbe.winner", "popflip.golden.gft.select"),
        ("popflip.hw.gft.flip", "popflip.hw.lbe.winner"),
    ],
)
def test_a_wrong_import_is_found(package, importer, imported):
    graph = dict(package)
    graph[importer] = {*graph[importer], imported}
    assert any(line.startswith(f"{importer} imports {imported}, ") for line in complaints(graph))


def test_a_circle_is_found(package):
    assert circles({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == [["b", "c", "b"]]
    graph = dict(package)
    graph["popflip.golden.errors"] = {"popflip.golden.common.mask"}
    assert any("popflip.golden.errors → popflip.golden.common.mask" in line for line in complaints(graph))


def test_imports_are_read_wherever_they_are(tmp_path):
    (tmp_path / "golden").mkdir()
    (tmp_path / "golden" / "errors.py").touch()
    (tmp_path / "golden" / "a.py").write_text("def f():\n    from popflip.golden import errors, numpy\n")
    assert imports(tmp_path) == {"popflip.golden.errors": set(), "popflip.golden.a": {"popflip.golden.errors"}}
