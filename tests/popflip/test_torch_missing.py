"""Without PyTorch, or with an old one, ``import popflip.torch`` says in one line what to install; all else works."""

from __future__ import annotations

import subprocess
import sys

import pytest
from paths import ROOT

NEEDED = "popflip.torch needs PyTorch 2.4 or newer"
INSTALL = "pip install 'popflip[torch]'"


def python(script: str) -> str:
    """What a new Python prints."""
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()


def importing(before: str) -> str:
    """The error of ``import popflip.torch`` in a new Python, after ``before``."""
    return python(
        f"import sys, types\n{before}\n"
        "from popflip.errors import PopflipError\n"
        "try:\n    import popflip.torch\n"
        "except PopflipError as error:\n    print(type(error).__name__, isinstance(error, ImportError), error)\n"
    )


def test_it_is_not_installed():
    assert importing("sys.modules['torch'] = None") == f"TorchMissing True {NEEDED}, which is not installed: {INSTALL}"


@pytest.mark.parametrize("version", ["2.3.1+cpu", "1.13.0", "2.3"])
def test_it_is_too_old(version):
    found = importing(f"sys.modules['torch'] = types.SimpleNamespace(__version__='{version}')")
    assert found == f"TorchMissing True {NEEDED}, but {version} is installed: {INSTALL}"


@pytest.mark.parametrize("version", ["2.4.0", "2.10.0a0+git12", "3.0.0+cpu"])
def test_it_is_new_enough(version):
    assert importing(f"sys.modules['torch'] = types.SimpleNamespace(__version__='{version}')") == ""


@pytest.mark.parametrize("name", ["mnist_hybrid", "nanogpt", "vit"])
def test_an_experiment_that_needs_it_is_one_line(name):
    script = f"import sys\nsys.modules['torch'] = None\nsys.path.insert(0, {str(ROOT / 'examples')!r})\nimport {name}\n"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, f"{NEEDED}, which is not installed: {INSTALL}\n")


def without(missing: str) -> str:
    """Source that makes importing PyTorch fail because a module ``missing`` is."""
    return (
        "import sys, importlib.abc\n"
        "class Without(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        f"        if name == 'torch':\n            raise ModuleNotFoundError('none here', name='{missing}')\n"
        "sys.meta_path.insert(0, Without())\n"
    )


def test_a_part_of_it_that_is_missing_is_named():
    """A damaged installation is not one that is missing."""
    script = (
        "try:\n    import popflip.torch\nexcept ModuleNotFoundError as error:\n    print(type(error).__name__, error)"
    )
    assert python(without("part") + script) == "ModuleNotFoundError none here"


def test_all_else_works_without_it():
    script = (
        "from popflip import Classifier, boards\n"
        "import popflip.cli.main, popflip.cli.train\n"
        "Classifier(epochs=1).fit([[0, 1], [1, 0], [1, 1]], [0, 1, 1]).predict([[0, 0]])\n"
        "print('icebreaker' in boards())"
    )
    assert python(without("torch") + script) == "True"
