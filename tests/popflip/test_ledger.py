"""The ledger of a run and ``popflip account``: counts out of reports and networks, lines, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from popflip import checkpoint
from popflip.accounting import ADAMW, CHIP_STEP, FLOAT_PASSES, GFT_INT8, GFT_PAPER, TERNARY_PASSES, chip_passes
from popflip.cli.account import billions, joules
from popflip.cli.main import run_command
from popflip.devices.base import Status
from popflip.devices.golden import GoldenDevice
from popflip.errors import ConfigError
from popflip.golden.config import Config
from popflip.ledger import Counts, ledger, read

CONFIG = Config((8, 3, 2), k0=(2, 1), window=(3,), batch=10)
COUNTS = Counts(CONFIG, samples=40, batches=4, errors=25, flips=(5, 2))
WEIGHTS = 3 * 9 + 2 * 4


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def report(**changes: object) -> Path:
    """A report with these counts, as ``popflip train`` writes it, but for the keys of no interest."""
    config = {"layers": [8, 3, 2], "k0": [2, 1], "window": [3], "batch": 10, "rule": "gft", "precision": "ternary"}
    content = {"samples": 40, "batches": 4, "errors": 25, "flips": [5, 2], "config": config, "history": []}
    Path("r.json").write_text(json.dumps(content | changes))
    return Path("r.json")


# Lines ----------------------------------------------------------------------------------------------------------------


def test_the_lines_of_a_run():
    adamw, paper, int8, chip = ledger(COUNTS)
    assert [line.method for line in (adamw, paper, int8, chip)] == [
        "AdamW, FP32",
        "GFT, FP32 as in the paper",
        "GFT, INT8",
        "chip, its own counters",
    ]
    assert [line.updates for line in (adamw, paper, int8, chip)] == [4 * WEIGHTS, 7, 7, 7]
    assert [line.stored_bits for line in (adamw, paper, int8, chip)] == [32 * WEIGHTS, *[2 * WEIGHTS] * 3]
    assert [line.steps for line in (adamw, paper, int8, chip)] == [
        each * (4 * WEIGHTS) for each in (ADAMW, GFT_PAPER, GFT_INT8, CHIP_STEP)
    ]
    assert chip.passes == chip_passes(CONFIG, 40, 25)
    assert (paper.passes.fp32_multiply, paper.passes.fp32_add) == (40 * WEIGHTS, 120 * WEIGHTS)
    assert (int8.passes.int8_multiply, int8.passes.int8_add) == (40 * WEIGHTS, 120 * WEIGHTS)


def test_a_binary_network_has_a_bit_a_weight():
    binary = Counts(replace(CONFIG, precision="binary"), 40, 4, 25, (5, 2))
    assert [line.stored_bits for line in ledger(binary)] == [32 * WEIGHTS, *[WEIGHTS] * 3]


def test_a_token_uses_a_kernel_at_every_position():
    """6 × 6 pixels, padded: 36 positions of 2 rows of 9, then 3 rows of 73."""
    config = Config("6x6,c2k3,3", k0=(2, 2), window=(3,))
    adamw, paper, int8, _ = ledger(Counts(config, 10, 1, 5, (1, 1)))
    uses, weights = 36 * 18 + 3 * 73, 18 + 3 * 73
    assert (adamw.updates, adamw.stored_bits, int8.stored_bits) == (weights, 32 * weights, 2 * weights)
    assert adamw.passes == FLOAT_PASSES * (uses * 10)
    assert paper.passes == TERNARY_PASSES * (uses * 10)
    assert adamw.steps == ADAMW * weights


# Reading --------------------------------------------------------------------------------------------------------------


def test_a_report_and_a_network_of_one_run_have_the_same_counts(capsys):
    flags = ("--layers", "256,12,10", "--epochs", "2", "--batch", "100")
    assert run_command(["train", *flags, "--report", "r.json", "--save", "n.npz"]) == 0
    counts = read(Path("r.json"))
    assert counts == read(Path("n.npz"))
    saved = checkpoint.load(Path("n.npz")).status
    assert (counts.samples, counts.batches, counts.errors, counts.flips) == (2800, 28, saved.errors, saved.flips)
    capsys.readouterr()
    assert run_command(["account", "n.npz"]) == 0
    printed = capsys.readouterr().out.splitlines()
    flipped = sum(saved.flips)
    assert printed[0] == (
        f"256-12-10 ternary: 28 batches, 2800 samples, {saved.errors} with an update, {flipped} weights flipped"
    )
    assert [line[:22] for line in printed[2:]] == [
        "AdamW, FP32           ",
        "GFT, FP32 as in the pa",
        "GFT, INT8             ",
        "chip, its own counters",
    ]


def test_counts_are_json():
    assert run_command(["account", str(report()), "--report", "a.json"]) == 0
    content = json.loads(Path("a.json").read_text())
    assert content["run"] == {
        "layers": [8, 3, 2],
        "precision": "ternary",
        "batches": 4,
        "samples": 40,
        "errors": 25,
        "flips": [5, 2],
    }
    assert content["lines"] == [line.as_dict() for line in ledger(COUNTS)]
    assert content["lines"][3]["steps"] == {
        "operations": {"fp32_multiply": 0, "fp32_add": 0, "int8_multiply": 0, "int8_add": 8 * WEIGHTS},
        "joules": {"7nm": pytest.approx(8 * WEIGHTS * 0.007e-12), "45nm": pytest.approx(8 * WEIGHTS * 0.03e-12)},
    }


def test_the_papers_tables(capsys):
    assert run_command(["account", "--paper", "--report", "p.json"]) == 0
    printed = capsys.readouterr().out
    cells = [" ".join(line.split()) for line in printed.splitlines()]
    for start in (
        "full precision 98.33 % 98.56 % 125.96 B 125.96 B 125.92 B 1.84 J 1.84 J ",
        "hybrid 97.15 % 98.45 % – 7.71 B 7.67 B – 0.23 J ",
        "full ternary 94.46 % 98.43 % – 31.51 M 31.49 M 0.13 J 0.13 J ",
        "full precision 1.06 1.451 21.6 B 21.58 B 21.49 B 0.32 J 0.32 J ",
        "hybrid 2 3.01 1.615 – 349.52 M 261.84 M – 26.82 mJ ",
        "Table 3: a vision transformer, of unknown size in the paper; ours: ",
        "Not reproduced: 14.02 B ",
    ):
        assert [line for line in cells if line.startswith(start)], start
    tables = json.loads(Path("p.json").read_text())["tables"]
    assert [[model["paper"]["result"] for model in table["models"]] for table in tables] == [
        ["98.33 %", "97.15 %", "94.46 %"],
        ["1.06", "1.61", "3.01"],
        [None, None],
    ]
    assert [table["same_size"] for table in tables] == [True, True, False]
    assert tables[1]["models"][2]["ours"] == {"result": "1.615", "flips": 5_323_305, "updates": 261_835_305}
    assert tables[0]["models"][0]["lines"][0]["updates"] == 125_960_625_100


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.842, "1.84 J"), (0.1291, "0.13 J"), (0.0999, "99.90 mJ"), (2.5e-7, "250.00 nJ"), (0, "0.00 pJ")],
)
def test_joules(value, text):
    assert joules(value) == text


@pytest.mark.parametrize(("value", "text"), [(125_960_625_100, "125.96 B"), (31_510_000, "31.51 M"), (5464, "5464")])
def test_billions(value, text):
    assert billions(value) == text


# Refused --------------------------------------------------------------------------------------------------------------


def refused(capsys, *arguments: str) -> str:
    assert run_command(["account", *arguments]) == 2
    out, error = capsys.readouterr()
    assert out == "" and error.startswith("popflip: ") and error.count("\n") == 1
    return error[len("popflip: ") : -1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batches": 0}, "r.json: batches: 0, nothing was trained"),
        ({"samples": -1}, "r.json: samples: -1 is outside 0 … 9223372036854775807"),
        ({"samples": 1.5}, "r.json: samples: 1.5 is not a whole number"),
        ({"errors": 41}, "r.json: errors: 41 samples with an update are more than all 40"),
        ({"errors": True}, "r.json: errors: True is not a whole number"),
        ({"flips": [5]}, "r.json: flips: 1 given, expected 2 (one per layer)"),
        ({"flips": [5, None]}, "r.json: flips[1]: None is not a whole number"),
        ({"flips": 5}, "r.json: flips: 5 is not a list of counts"),
        ({"config": {"rule": "lbe"}}, "r.json: its rule is lbe; accounts are of rule gft"),
        ({"config": {"rule": "gft"}}, "r.json: not a report or a network of popflip train"),
        ({"config": {"rule": "gft", "layers": [0, 1]}}, "r.json: not a report or a network of popflip train"),
        ({"config": [1]}, "r.json: not a report or a network of popflip train"),
    ],
)
def test_a_report_that_cannot_be(capsys, changes, message):
    assert refused(capsys, str(report(**changes))) == message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "neither a network saved by popflip train nor JSON"),
        (b"\xff{", "neither a network saved by popflip train nor JSON"),
        (b"[" * 100_000, "neither a network saved by popflip train nor JSON"),
        (b"[]", "not a report or a network of popflip train"),
        (b"{}", "not a report or a network of popflip train"),
        (b"PK..", "not a network saved by Popflip: it is no zip archive: File is not a zip file"),
    ],
)
def test_a_file_of_another_kind(capsys, content, message):
    Path("f").write_bytes(content)
    assert refused(capsys, "f") == f"f: {message}"


def test_a_network_without_a_run(capsys):
    device = GoldenDevice(CONFIG)
    saved = checkpoint.Checkpoint(
        CONFIG, device.state(), Status(rng=device.state().rng, flips=(0, 0)), None, np.array([1]), None
    )
    checkpoint.save(Path("n.npz"), saved)
    assert refused(capsys, "n.npz") == "n.npz: batches: 0, nothing was trained"


def test_neither_a_run_nor_the_paper_or_both(capsys):
    message = "give either a report or a network of popflip train, or --paper"
    assert refused(capsys) == message
    assert refused(capsys, str(report()), "--paper") == message
    assert refused(capsys, "none.json") == "none.json: no such file or directory"


def test_the_report_is_not_the_run(capsys):
    path = str(report())
    before = Path(path).read_bytes()
    assert refused(capsys, path, "--report", path).startswith("--report: ")
    assert Path(path).read_bytes() == before
    with pytest.raises(ConfigError, match=r"^batches: 0, nothing was trained$"):
        Counts(CONFIG, 1, 0, 1, (0, 0))
