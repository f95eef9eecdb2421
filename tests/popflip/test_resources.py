"""Estimated logic and memory, against the tools' counts."""

from __future__ import annotations

import json

import pytest
from paths import BASELINES, BENCH

from popflip import constraints
from popflip.estimation.resources import ECP5, FPGAS, ICE40, Block, block_rams, cells, fpga_of
from popflip.golden.config import Precision, Rule
from popflip.golden.errors import ConfigError
from popflip.hw.config import ChipConfig

FAMILIES = {"ice40": (ICE40, 512), "ecp5": (ECP5, 2048)}
MEASURED = [row for row in json.loads((BENCH / "syntheses.json").read_text()) if row["cells"]]


@pytest.mark.parametrize("row", MEASURED, ids=lambda row: f"{row['family']} {row['layers']} {row['rows']}")
def test_estimates_are_close_to_the_tools_counts(row):
    rule, limits = Rule(row["rule"]), row["mmax"] if isinstance(row["mmax"], list) else [row["mmax"]]
    chip = ChipConfig(
        tuple(row["layers"]), Precision(row["precision"]), max(limits), row.get("dclip", 1), row["rows"],
        row["synapses"], row["slots"], rule, 10, learn_rows=row["learn_rows"], compact=row.get("compact", False),
        mmaxes=tuple(limits) if len(set(limits)) > 1 else (),
    )  # fmt: skip
    family, buffer = FAMILIES[row["family"]]
    assert abs(block_rams(chip, buffer, family) - row["block_rams"]) <= row["block_rams"] / 10
    if rule == Rule.GFT:
        assert abs(cells(chip, family) - row["cells"]) <= row["cells"] / 25


@pytest.mark.parametrize("preset", ["digits-small", "mnist-small"])
def test_estimates_are_close_to_builds_with_sessions(preset):
    """A build may have a store for samples, about 140 cells."""
    board = constraints.board("icebreaker")
    chip = board.chip(board.fit(preset), store=0)
    store = 140 if board.chip(board.fit(preset)).store_samples else 0
    built = json.loads((BASELINES / f"icebreaker-{preset}.json").read_text())["uses"]["logic_cells"]["used"]
    assert abs(cells(chip, ICE40) + store - built) <= built / 20


@pytest.mark.parametrize(
    ("family", "block", "needed"),
    [
        (ICE40, Block("", 16, 256), 1),
        (ICE40, Block("", 17, 256), 2),
        (ICE40, Block("", 16, 257), 2),
        (ICE40, Block("", 8, 512), 1),
        (ICE40, Block("", 8, 512, readers=2), 2),
        (ICE40, Block("", 64, 12842), 204),
        (ECP5, Block("", 256, 606), 15),
        (ECP5, Block("", 64, 409), 2),
        (ECP5, Block("", 37, 128, readers=2), 4),
        (ECP5, Block("", 32, 32), 0),
        (ECP5, Block("", 32, 32, pieces=2), 1),
        (ECP5, Block("", 16, 32, pieces=2), 0),
        (ECP5, Block("", 16, 64, pieces=4), 0),
        (ECP5, Block("", 10, 512), 1),
    ],
)
def test_memories_in_block_ram(family, block, needed):
    assert family.block_ram.needed(block) == needed


def test_every_board_has_a_known_fpga():
    assert {name: fpga_of(board) in FPGAS.values() for name, board in constraints.boards().items()} == dict.fromkeys(
        constraints.boards(), True
    )


def test_an_unknown_fpga_is_one_line(monkeypatch):
    monkeypatch.setattr("popflip.estimation.resources.FPGAS", {"A": ICE40, "B": ECP5})
    with pytest.raises(ConfigError, match=r"^board: the size of its iCE40UP5K is not known; use a board with A, B$"):
        fpga_of(constraints.board("icebreaker"))
