"""The examples run as their first lines say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from paths import ROOT
from simulated import need_compiler

EXAMPLES = ROOT / "examples"


def run(folder: Path, name: str, *arguments: str, code: int = 0) -> str:
    """What the example prints, run in ``folder``."""
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == code, done.stdout
    return done.stdout


def test_quickstart(tmp_path):
    lines = run(tmp_path, "quickstart.py", "golden", "--epochs", "2").splitlines()
    assert [line.partition(":")[0] for line in lines[-3:]] == [
        "test accuracy after fit",
        "test accuracy after partial_fit",
        "digits.npz",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["digits.npz"]


def test_own_data(tmp_path):
    first = run(tmp_path, "own_data.py", "--epochs", "5")
    assert first.startswith("wine.csv: 178 samples, 13 features, labels class_0, class_1, class_2\n")
    assert run(tmp_path, "own_data.py", "wine.csv", "--epochs", "5") == first


def test_personalise(tmp_path):
    """The network from the desk knows A, and after a few samples of B also B, better than B alone teaches."""
    lines = run(tmp_path, "personalise.py", "golden").splitlines()[-3:]
    (a, b), (a_after, b_after), (_, b_alone) = (
        [float(part.rstrip("%")) for part in line.split() if part.endswith("%")] for line in lines
    )
    assert a > 90 > 80 > b
    assert b_after > b + 5 and b_after > b_alone and a_after > b
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alone.npz", "b.csv", "desk.npz", "personal.npz"]


def test_board_without_a_board(tmp_path):
    need_compiler()
    output = run(tmp_path, "board.py", "--epochs", "1")
    assert "test accuracy on sim: " in output
    assert output.splitlines()[-1].startswith("every weight and counter equals the golden model: ")


def test_a_board_that_is_not_there_is_one_line(tmp_path):
    output = run(tmp_path, "board.py", "/nowhere/ttyUSB1", code=1)
    assert output.startswith("/nowhere/ttyUSB1: there is no such port; ")
    assert output.count("\n") == 1


def test_every_example_has_a_test():
    """The experiments of the paper in a file of their own; modules that only they use start with an underscore."""
    text = Path(__file__).read_text() + Path(__file__).with_name("test_paper_examples.py").read_text()
    scripts = [path for path in EXAMPLES.glob("*.py") if not path.name.startswith("_")]
    assert all(f'"{path.name}"' in text or f'"{path.stem}"' in text for path in scripts)
