"""The package: its imports, its public names, the command, and the content of its wheel."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from paths import ROOT

import popflip
from popflip.hw.fingerprint import source_hash

NAMES = ["Classifier", "PopflipError", "__version__", "boards", "load", "open_device"]
PARTS = ("popflip", "golden", "hw", "sim", "constraints")
SIM_ROOMS = {"popflip.sim", "popflip.sim.cxxrtl"}
"""What of ``sim/`` is in the wheel: the simulated chip. Testbenches and their tools are not."""


def python(*arguments: str, **options) -> str:
    """What Python prints, run with ``arguments``."""
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=True, **options
    ).stdout.strip()


# Names ----------------------------------------------------------------------------------------------------------------


def test_importing_it_imports_nothing_else():
    script = "import sys; import popflip; print(*sys.modules)"
    modules = set(python("-c", script).split())
    assert not {"numpy", "sklearn", "amaranth", "typer", "rich", "serial"} & modules
    assert {name for name in modules if name.startswith("popflip")} == {"popflip"}


def test_the_golden_model_needs_no_amaranth():
    script = (
        "import sys; from popflip import Classifier, PopflipError, load, open_device;"
        "Classifier(epochs=1).fit([[0, 1], [1, 0], [1, 1]], [0, 1, 1]).predict([[0, 0]]); print(*sys.modules)"
    )
    assert not {"amaranth", "serial", "typer"} & set(python("-c", script).split())


def test_every_public_name_is_there():
    assert sorted(popflip.__all__) == NAMES
    assert set(NAMES) <= set(dir(popflip))
    for name in NAMES:
        assert getattr(popflip, name) is not None
    assert "icebreaker" in popflip.boards()


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"^module 'popflip' has no attribute 'Clasifier'$"):
        popflip.Clasifier  # noqa: B018


def test_the_version_is_that_of_the_package():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert popflip.__version__ == metadata.version("popflip") == declared


def test_python_m_runs_the_command():
    assert python("-m", "popflip", "--version") == f"popflip {popflip.__version__}"


# Wheel ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A copy of all that the wheel is built from."""
    folder = tmp_path_factory.mktemp("source")
    for part in PARTS:
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, folder)
    return folder


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory) -> Path:
    """A folder with the content of the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    build = ("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index")
    python(*build, "--wheel-dir", str(folder), str(source))
    (archive,) = folder.glob("*.whl")
    assert archive.name == f"popflip-{metadata.version('popflip')}-py3-none-any.whl"
    content = folder / "content"
    zipfile.ZipFile(archive).extractall(content)
    return content


def packages(root: Path) -> set[str]:
    """Every package below the folders of ``root`` that the repository has, by name."""
    found = set()
    for part in PARTS:
        for path in (root / part).rglob("__init__.py"):
            name = ".".join(path.parent.relative_to(root).parts)
            found.add(name if part == "popflip" else f"popflip.{name}")
    return found


def test_the_wheel_has_every_package_but_testbenches(source, wheel):
    in_wheel = {".".join(path.parent.relative_to(wheel).parts) for path in wheel.rglob("__init__.py")}
    in_tree = {name for name in packages(source) if not name.startswith("popflip.sim") or name in SIM_ROOMS}
    assert in_wheel == in_tree


def test_the_wheel_has_no_testbench(wheel):
    names = {path.relative_to(wheel).as_posix() for path in wheel.rglob("*") if path.is_file()}
    assert not [name for name in names if "/tb_" in name or "/bench/" in name or "test" in name]
    for name in ("py.typed", "data/mnist_tiles.txt", "sim/cxxrtl/shim.cc", "sim/cxxrtl/values.h"):
        assert f"popflip/{name}" in names


def test_the_wheel_works_without_the_repository(source, wheel, tmp_path):
    """It learns, and its chips are made from the same code."""
    script = (
        "import popflip, popflip.sim.chip, popflip.devices.chip, popflip.cli.main;"
        "from popflip.hw.fingerprint import FOLDERS, source_hash;"
        "popflip.Classifier(epochs=1).fit([[0, 1], [1, 0], [1, 1]], [0, 1, 1]);"
        "print(popflip.__file__, source_hash(FOLDERS))"
    )
    file, code = python("-c", script, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(wheel)}).split()
    assert file == str(wheel / "popflip" / "__init__.py")
    assert code == source_hash({f"popflip.{part}": source / part for part in ("golden", "hw")})
