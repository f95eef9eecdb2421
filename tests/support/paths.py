"""Where the tests' files lie."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
BASELINES = ROOT / "tests" / "baselines"
DATA = ROOT / "tests" / "data"
BENCH = ROOT / "bench"
