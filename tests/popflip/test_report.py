"""The report's keys and values, the table made from them, and the plot."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from popflip import report as reports
from popflip.devices.base import LinkSpeed, Status
from popflip.errors import ConfigError
from popflip.experiment import Experiment
from popflip.golden.presets import PRESETS
from popflip.history import Run, StepResult
from popflip.report import bounds, busy_cycles, summary
from popflip.scores import score

CYCLES = {
    "total": 51_200,
    "forward_busy": 40_000,
    "learn_busy": 20_000,
    "forward_stall": 100,
    "learn_stall": 200,
    "select": 3_000,
    "flip": 4_000,
}
EXPERIMENT = Experiment(
    dataset="digits",
    thresholds=np.array([3, 6, 9, 12]),
    test_split=None,
    config=PRESETS["digits"].config,
    x_train=np.zeros((1437, 256), np.uint8),
    y_train=np.zeros(1437, np.int64),
    x_test=np.zeros((360, 256), np.uint8),
    y_test=np.zeros(360, np.int64),
)
RUN = Run(
    history=(StepResult(1, 0.25, 200, (70, 18)), StepResult(2, 0.5, 100, (60, 9))),
    samples=512,
    seconds=1.5,
    cycles=CYCLES,
    verified=2,
)
STATUS = Status(samples=512, batches=2, errors=300, correct=192, signature=0xBEEF, rng=0x1, flips=(130, 27))


def report(run: Run = RUN) -> dict:
    return reports.build(EXPERIMENT, "sim", run, STATUS, "ab" * 32, 0.875)


def test_report_has_the_promised_keys_and_values(tmp_path):
    reports.write(tmp_path / "r.json", report())
    read = json.loads((tmp_path / "r.json").read_text())
    promised = {
        "test_accuracy": 0.875,
        "state_sha256": "ab" * 32,
        "signature": "0000beef",
        "rng": "00000001",
        "flips": [130, 27],
        "errors": 300,
        "batches": 2,
        "cycles": CYCLES,
        "cycles_per_sample": 100.0,
        "wall_seconds": 1.5,
    }
    assert {key: read[key] for key in promised} == promised
    assert read["history"][1] == {"batch": 2, "accuracy": 0.5, "errors": 100, "flips": [60, 9]}
    assert read["dataset"]["thresholds"] == [3, 6, 9, 12]
    assert read["config"]["layers"] == [256, 64, 10]
    assert read["config"]["precision"] == "ternary"


def test_a_device_without_a_clock_reports_no_cycles():
    assert not {"cycles", "cycles_per_sample"} & set(report(replace(RUN, cycles=None)))


def test_the_report_of_a_board_has_its_bounds():
    link = LinkSpeed(12_000_000, 1_000_000, 25.0, 0.625)
    told = reports.build(EXPERIMENT, "/dev/ttyUSB1", replace(RUN, replayed=True), STATUS, "ab" * 32, 0.875, link)
    assert told["board"] == bounds(link, CYCLES, 512, True)
    rows = dict(reports.rows(told))
    assert rows["board"] == "chip-bound at 120,000 samples/s with replay, without it link-bound at up to 4,000"
    assert rows["training samples"] == "sent once, then taken from the store"
    assert "board" not in report()
    assert not {"board", "training samples"} & set(dict(reports.rows(report())))


def test_table_shows_results_and_shares_of_cycles():
    rows = dict(reports.rows(report()))
    assert rows["test accuracy"] == "87.50%"
    assert rows["batches"] == "2 of 256 samples"
    assert rows["cycles a sample"] == "100.0"
    assert rows["  forward busy"] == "40000 (78.1%)"
    assert rows["equal to golden"] == "every bit after each of 2 batches"
    assert "equal to golden" not in dict(reports.rows(report(replace(RUN, verified=0))))


def test_the_report_has_figures_of_each_class():
    experiment = replace(EXPERIMENT, y_test=np.repeat([0, 1], [20, 380]))
    figures = reports.build(experiment, "sim", RUN, STATUS, "ab" * 32, 0.95, predictions=np.ones(400, np.int64))
    assert figures["balanced_accuracy"] == 0.5
    assert figures["recall"] == [0.0, 1.0, *[None] * 8]
    assert figures["never_predicted"] == [0]
    assert figures["confusion"][:2] == [[0, 20, *[0] * 8], [0, 380, *[0] * 8]]
    rows = dict(reports.rows(figures))
    assert rows["balanced accuracy"] == "50.00% (mean recall of 2 classes)"
    assert rows["never predicted"] == "class 0"
    assert "never predicted" not in dict(reports.rows(report()))


def test_the_report_is_json_whatever_is_in_it(tmp_path):
    reports.write(tmp_path / "r.json", {"thresholds": [[np.inf, 1.5], [-np.inf]], "name": "caf\udce9.csv", "é": 1})
    text = (tmp_path / "r.json").read_bytes().decode()
    assert "caf\\udce9.csv" in text and "é" in text
    read = json.loads(text, parse_constant=pytest.fail)
    assert read == {"thresholds": [[None, 1.5], [None]], "name": "caf\udce9.csv", "é": 1}


@pytest.mark.parametrize(("suffix", "start"), [(".PNG", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
@pytest.mark.parametrize("classes", [2, 300])
def test_the_suffix_of_a_plot_is_its_format(tmp_path, suffix, start, classes):
    scores = score(np.array([0, 1, 1]), np.array([0, 1, 0]), classes)
    path = tmp_path / f"p{suffix}"
    reports.plot(path, RUN.history, EXPERIMENT.config, 0.875, scores)
    assert path.read_bytes().startswith(start)


@pytest.mark.parametrize("name", ["p", "p.jpg", "p.csv"])
def test_other_plots_are_refused(name):
    with pytest.raises(ConfigError) as error:
        reports.check_plot(Path(name))
    assert str(error.value) == f"plot: {name} does not end in .png, .svg, .pdf, which say the format"


@pytest.mark.parametrize("history", [RUN.history, ()])
def test_plot_is_a_png(tmp_path, history):
    reports.plot(tmp_path / "p.png", history, EXPERIMENT.config, 0.875)
    assert (tmp_path / "p.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_lbe_has_the_same_keys_and_steps_instead_of_batches(tmp_path):
    config = PRESETS["digits-lbe"].config
    run = replace(RUN, history=(StepResult(256, 0.25, 200, (70,)), StepResult(300, 0.5, 9, (60,))), samples=300)
    status = replace(STATUS, samples=300, batches=300, flips=(130,))
    lbe = reports.build(replace(EXPERIMENT, config=config), "sim", run, status, "ab" * 32, 0.875)
    assert lbe.keys() == report().keys()
    assert (lbe["config"]["rule"], lbe["config"]["precision"], lbe["config"]["batch"]) == ("lbe", "binary", 1)
    rows = dict(reports.rows(lbe))
    assert "batches" not in rows
    assert rows["samples with an update"] == "300 of 300"
    assert rows["equal to golden"] == "every bit after each of 2 steps of 256 samples"
    reports.plot(tmp_path / "p.png", run.history, config, 0.875)
    assert (tmp_path / "p.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


# What bounds a run ----------------------------------------------------------------------------------------------------

WAITING = {
    "total": 800,
    "forward_busy": 300,
    "forward_stall": 20,
    "learn_busy": 250,
    "learn_stall": 60,
    "select": 50,
    "flip": 30,
}


def test_busy_cycles_leave_out_waiting_for_the_link():
    assert busy_cycles(WAITING) == 320 + 50 + 30
    assert busy_cycles(WAITING | {"learn_stall": 100}) == 350 + 50 + 30


def test_bounds_are_bytes_and_cycles_a_second():
    assert bounds(LinkSpeed(12_000_000, 1_000_000, 25.0, 2.5), WAITING, samples=2, replayed=False) == {
        "clock_hz": 12_000_000,
        "baud": 1_000_000,
        "replayed": False,
        "bytes_per_sample": 25.0,
        "bytes_per_sample_replayed": 2.5,
        "samples_per_second": 30_000.0,
        "chip_samples_per_second": 60_000.0,
        "link_samples_per_second": 4_000.0,
        "link_samples_per_second_replayed": 40_000.0,
    }


@pytest.mark.parametrize(
    ("clock", "number_bytes", "replayed", "line"),
    [
        (12e6, 2.5, False, "link-bound at 30,000 samples/s, with replay link-bound at up to 40,000"),
        (4e6, 2.5, False, "link-bound at 10,000 samples/s, with replay chip-bound at up to 20,000"),
        (4e5, 2.5, False, "chip-bound at 1,000 samples/s, with replay chip-bound at up to 2,000"),
        (12e6, None, False, "link-bound at 30,000 samples/s"),
        (12e6, 2.5, True, "link-bound at 30,000 samples/s with replay, without it link-bound at up to 4,000"),
        (4e6, 2.5, True, "chip-bound at 10,000 samples/s with replay, without it link-bound at up to 4,000"),
        (4e5, 2.5, True, "chip-bound at 1,000 samples/s with replay, without it chip-bound at up to 2,000"),
    ],
)
def test_the_summary_names_the_bound(clock, number_bytes, replayed, line):
    link = LinkSpeed(int(clock), 1_000_000, 25.0, number_bytes)
    assert summary(bounds(link, WAITING, 2, replayed)) == line
