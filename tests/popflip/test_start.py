"""The start of the program: signals during imports, closed streams, any encoding, and imports of child processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from popflip.cli.start import STOPPED
from popflip.sim.cxxrtl.translate import _cxxrtl

MAIN = "from popflip.__main__ import main; main()"
AT_IMPORT = """
import os, signal, sys, time
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.{signal})
            time.sleep(9)
sys.meta_path.insert(0, Interrupt())
"""


def program(*arguments: str, script: str = MAIN, **options) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-c", script, *arguments], stderr=subprocess.PIPE, timeout=120, **options)


@pytest.mark.parametrize(
    ("module", "number"), [("typer", "SIGINT"), ("numpy", "SIGINT"), ("numpy.linalg", "SIGTERM"), ("sklearn", "SIGINT")]
)
def test_a_signal_during_an_import_is_one_line(tmp_path, module, number):
    script = AT_IMPORT.format(module=module, signal=number) + MAIN
    ended = program("train", "--save", "m.npz", script=script, cwd=tmp_path, stdout=subprocess.PIPE)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, b"", STOPPED)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("encoding", "arguments"),
    [("ascii", ["info"]), ("cp1252", ["info"]), ("ascii", ["train", "--help"]), ("cp1252", ["--help"])],
)
def test_every_encoding_prints(encoding, arguments):
    ended = program(*arguments, stdout=subprocess.PIPE, env=os.environ | {"PYTHONIOENCODING": encoding})
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert b"digits" in ended.stdout or b"train" in ended.stdout


def test_no_arguments_print_the_help():
    ended, asked = (program(*arguments, stdout=subprocess.PIPE) for arguments in ([], ["--help"]))
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, asked.stdout, b"")


@pytest.mark.parametrize(("closed", "code"), [("<&-", 0), ("2>&-", 0), (">&-", 0), ("<&- >&- 2>&-", 0)])
def test_closed_streams_cost_no_result(tmp_path, closed, code):
    flags = "train --layers 256,4,10 --limit-batches 1 --report r.json"
    command = f'exec "{sys.executable}" -c "{MAIN}" {flags} {closed}'
    assert subprocess.run(["sh", "-c", command], cwd=tmp_path, timeout=120).returncode == code
    report = (tmp_path / "r.json").read_text()
    assert report.startswith('{\n "test_accuracy": ') and report.endswith("}\n")


def test_yosys_imports_nothing_from_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "struct.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    assert "struct p_top" in _cxxrtl("module \\top\nend\n", waves=False)


def test_children_of_the_program_import_nothing_from_the_current_folder(tmp_path):
    Path(tmp_path, "struct.py").write_text("raise SystemExit('imported')")
    script = (
        "from popflip.cli.start import prepare; prepare()\n"
        "import subprocess, sys; subprocess.run([sys.executable, '-m', 'zipfile', '-h'], check=True)"
    )
    assert program(script=script, cwd=tmp_path, stdout=subprocess.DEVNULL).returncode == 0
