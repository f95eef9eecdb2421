"""What the measurements conclude from counts, on counts made up."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCH = Path(__file__).parents[1] / "bench"


@pytest.fixture(scope="module")
def utilisation() -> ModuleType:
    """``bench/utilisation.py``, which is a script of no package."""
    spec = importlib.util.spec_from_file_location("utilisation", BENCH / "utilisation.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclass looks for it
    spec.loader.exec_module(module)
    return module


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


def test_the_mean_of_a_line_by_hand():
    """From 10 to 4 in 2, then at 4 for 6 more."""
    spec = importlib.util.spec_from_file_location("mnist_cycles", BENCH / "mnist_cycles.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.mean([(1, 10), (3, 4), (9, 4)]) == (14 + 24) / 8


@pytest.mark.parametrize("script", ["golden_speed", "mnist_cycles"])
def test_a_script_without_mnist_says_why_it_is_skipped(script):
    ran = subprocess.run([sys.executable, BENCH / f"{script}.py"], env={}, capture_output=True, text=True, check=True)
    assert ran.stdout == "skipped: MNIST is needed; say where it is with --data-dir D or POPFLIP_DATA=D, for D/mnist/\n"
