"""What the measurements conclude from counts, on counts made up."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from popflip.host.device import GoldenDevice
from popflip.host.experiment import prepare
from popflip.host.run import accuracy, train
from popflip.host.settings import Settings

BENCH = Path(__file__).parents[1] / "bench"


def script(name: str) -> ModuleType:
    """``bench/{name}.py``, which is a script of no package."""
    spec = importlib.util.spec_from_file_location(name, BENCH / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclass looks for it
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def utilisation() -> ModuleType:
    return script("utilisation")


def measured(module: ModuleType, forward: int, learn: int):
    """10 samples of 8 bytes in 1000 steady cycles, after 40 of filling, and 200 at the end of batches."""
    cycles = {"total": 1240, "forward_busy": forward, "learn_busy": learn, "forward_stall": 5, "learn_stall": 4}
    return module.Measurement(2, 16, 10, 8, {**cycles, "select": 150, "flip": 50}, 40, 0.001)


@pytest.mark.parametrize(
    ("forward", "learn", "bottleneck", "missed"),
    [
        (850, 191, "forward", []),
        (849, 500, "forward", ["2×16: MAC array busy in 84.9% of the steady cycles, goal 85%"]),
        (500, 849, "learn", []),
        (850, 190, "forward", ["2×16: forward and learning do not overlap"]),
        (79, 70, "link", ["2×16: forward and learning do not overlap"]),
    ],
)
def test_goals(utilisation, forward, learn, bottleneck, missed):
    measurement = measured(utilisation, forward, learn)
    assert (measurement.in_batch, measurement.steady) == (1040, 1000)
    assert measurement.bottleneck == bottleneck
    assert measurement.missed() == missed


def test_a_row_fits_its_columns(utilisation):
    row = measured(utilisation, 850, 191).row()
    widths = [width for _, width in utilisation.COLUMNS]
    assert len(utilisation.line(row)) == sum(widths) + len(widths) - 1
    assert row[1:5] == ("10", "1240", "1040", "1000")
    assert row[11:] == ("124.0", "81.7%", "85.0%", "19.1%", "forward", "1.24")


def test_golden_speed_says_why_it_is_skipped():
    ran = subprocess.run(
        [sys.executable, BENCH / "golden_speed.py"], env={}, capture_output=True, text=True, check=True
    )
    assert ran.stdout == "skipped: MNIST is needed; say where it is with --data-dir D or POPFLIP_DATA=D, for D/mnist/\n"


def test_lbe_measures_what_train_prints(capsys, monkeypatch):
    """Two counter widths, two seeds of an epoch of digits."""
    monkeypatch.delenv("POPFLIP_DATA", raising=False)
    lbe = script("lbe")
    assert lbe.main(["digits", "mnist", "--bits", "8,6", "--seeds", "2", "--epochs", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Test accuracy in percent: mean (lowest – highest) of 2 seeds."
    cells = [cell.strip() for cell in lines[4].strip("|").split("|")]
    assert cells[:4] == ["digits", "256-128", "group 32, margin 16, n 2", "1"]
    assert lines[5].startswith("mnist: left out; ")
    for cell, mmax in zip(cells[4:6], (127, 31), strict=True):
        right = []
        for seed in (1, 2):
            experiment = prepare(Settings(preset="digits-lbe", mmax=mmax, seed=seed, epochs=1))
            device = GoldenDevice(experiment.config)
            train(device, experiment.x_train, experiment.y_train)
            right.append(100 * accuracy(device.infer(experiment.x_test), experiment.y_test))
        assert cell == f"{sum(right) / 2:.2f} ({min(right):.2f} – {max(right):.2f})"
