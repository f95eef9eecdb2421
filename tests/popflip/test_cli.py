"""The command line on the golden model: results, files, and one line for every kind of bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from paths import DATA

from popflip.cli.display import announce, sections, table
from popflip.cli.main import run_command
from popflip.cli.options import EXPERIMENT, RUN, SETTINGS, flag
from popflip.devices import open as devices
from popflip.devices.golden import GoldenDevice
from popflip.golden.presets import PRESETS

VECTORS = json.loads((DATA / "vectors.json").read_text())
SMALL = ("--layers", "256,12,10", "--epochs", "2", "--batch", "100")
"""Flags of a run that takes a moment."""


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch) -> Path:
    """Each test runs in its own folder, so that it sees every file that a command leaves."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> int:
    return run_command([*arguments])


def refused(capsys, *arguments: str) -> str:
    """The one line with which ``arguments`` are refused."""
    before = sorted(os.listdir())
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("popflip: ") and error.endswith("\n") and error.count("\n") == 1
    assert sorted(os.listdir()) == before
    return error[len("popflip: ") : -1]


# Results --------------------------------------------------------------------------------------------------------------


def as_flags(config: dict) -> list[str]:
    """A configuration of the vectors file as flags."""
    flags = []
    for key, value in config.items():
        text = "none" if value is None else ",".join(map(str, value)) if isinstance(value, list) else str(value)
        flags += [flag(key), text]
    return flags


@pytest.mark.parametrize(
    ("name", "batches"), [("gft", 2), ("gft_memoryless_binary", 3), ("gft_two_hidden", 5), ("gft", 0), ("conv-odd", 2)]
)
def test_flags_and_report_reproduce_published_runs(name, batches):
    vector = VECTORS[name]
    expected = vector["after_batches"][str(batches)]
    assert run("train", *as_flags(vector["config"]), "--limit-batches", str(batches), "--report", "r.json") == 0
    report = json.loads(Path("r.json").read_text())
    assert {key: report[key] for key in expected} == expected
    assert report["batches"] == batches


@pytest.mark.parametrize(
    ("name", "samples"),
    [("lbe", 10), ("lbe", 28_740), ("lbe_two_layers", 0), ("lbe_two_layers", 1437), ("lbe_no_reinforcement", 100)],
)
def test_flags_and_report_reproduce_published_lbe_runs(name, samples):
    vector = VECTORS[name]
    flags = as_flags({key: value for key, value in vector["config"].items() if key != "classes"})
    assert run("train", "--rule", "lbe", *flags, "--limit-batches", str(samples), "--report", "r.json") == 0
    report = json.loads(Path("r.json").read_text())
    expected = vector["after_samples"][str(samples)]
    assert {key: report[key] for key in expected} == expected
    assert (report["batches"], report["samples"]) == (samples, samples)
    assert [step["batch"] for step in report["history"]] == [*range(256, samples, 256), *([samples] if samples else [])]


def test_lbe_is_saved_resumed_verified_and_predicts(capsys):
    flags = ("--rule", "lbe", "--layers", "256,40,24", "--margin", "5", "--epochs", "1")
    assert run("train", *flags, "--report", "whole.json", "--plot", "p.png", "--verify") == 0
    assert "equal to golden: every bit after each of 6 steps of 256 samples" in capsys.readouterr().out
    assert run("train", *flags, "--limit-batches", "300", "--save", "m.npz") == 0
    assert "sample 300 of 300: accuracy" in capsys.readouterr().out
    assert run("train", "--resume", "m.npz", "--report", "rest.json", "--verify", "--save", "end.npz") == 0
    whole, rest = (json.loads(Path(name).read_text()) for name in ("whole.json", "rest.json"))
    for key in ("state_sha256", "signature", "rng", "flips", "errors", "batches", "test_accuracy", "config"):
        assert rest[key] == whole[key]
    assert rest["history"][1:] == whole["history"][2:]
    capsys.readouterr()
    assert run("infer", "--model", "end.npz") == 0
    never = ", ".join(map(str, whole["never_predicted"]))
    assert never
    assert capsys.readouterr().out == (
        f"samples: 360\naccuracy: {whole['test_accuracy']:.2%}\nbalanced accuracy: {whole['balanced_accuracy']:.2%}\n"
        f"never predicted: classes {never}\n"
    )
    assert run("verify", "--device", "golden", *flags, "--limit-batches", "300") == 0
    assert "golden equals golden in every bit after each of 2 steps of 256 samples" in capsys.readouterr().out


def test_generated_data_is_generated_again_for_a_saved_network(capsys):
    data = "prototypes:bits=60,classes=3,flip=0.1,train=300,test=50,seed=9"
    assert run("train", "--rule", "lbe", "--dataset", data, "--layers", "60,32", "--save", "m.npz") == 0
    accuracy = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("test accuracy: "))
    assert run("infer", "--model", "m.npz") == 0
    assert capsys.readouterr().out == f"samples: 50\n{accuracy.removeprefix('test ')}\n"


def test_a_settings_file_equals_flags():
    config = VECTORS["gft_memoryless_binary"]["config"]
    lines = [
        f"{key} = {json.dumps('none' if value is None else value)}" for key, value in config.items() if key != "epochs"
    ]
    Path("f.toml").write_text("\n".join([*lines, "epochs = 7", "limit-batches = 3", 'report = "r.json"']))
    assert run("train", "--config", "f.toml", "--epochs", "20") == 0
    expected = VECTORS["gft_memoryless_binary"]["after_batches"]["3"]
    report = json.loads(Path("r.json").read_text())
    assert {key: report[key] for key in expected} == expected


def test_only_the_named_files_are_written(capsys):
    assert run("train", *SMALL, "--report", "r.json", "--plot", "p.png", "--save", "m.npz", "--verify") == 0
    assert sorted(os.listdir()) == ["m.npz", "p.png", "r.json"]
    output = capsys.readouterr()
    report = json.loads(Path("r.json").read_text())
    assert f"state SHA-256: {report['state_sha256']}" in output.out
    assert "equal to golden: every bit after each of 28 batches" in output.out
    assert "batch 28 of 28: accuracy" in output.out
    assert output.err == ""


def test_a_saved_run_is_resumed_to_the_same_end():
    assert run("train", *SMALL, "--report", "whole.json") == 0
    assert run("train", *SMALL, "--limit-batches", "11", "--save", "m.npz") == 0
    assert run("train", "--resume", "m.npz", "--report", "rest.json", "--verify") == 0
    whole, rest = (json.loads(Path(name).read_text()) for name in ("whole.json", "rest.json"))
    for key in ("state_sha256", "signature", "rng", "flips", "errors", "batches", "test_accuracy", "config"):
        assert rest[key] == whole[key]
    assert rest["history"] == whole["history"][11:]


def test_a_saved_network_predicts(capsys):
    assert run("train", *SMALL, "--save", "m.npz", "--report", "r.json") == 0
    capsys.readouterr()
    assert run("infer", "--model", "m.npz", "--predictions", "p.csv") == 0
    accuracy = json.loads(Path("r.json").read_text())["test_accuracy"]
    assert capsys.readouterr().out == f"samples: 360\naccuracy: {accuracy:.2%}\n"
    assert len(Path("p.csv").read_text().splitlines()) == 360


def test_own_data_is_learned_and_predicted(capsys):
    generator = np.random.default_rng(1)
    values = generator.normal(size=(300, 4))
    table = np.column_stack([values, (values[:, 0] > 0) + (values[:, 1] > 0)])
    np.savetxt("own.csv", table, delimiter=",", header="a,b,c,d,class", comments="")
    np.savetxt("new.csv", values[:50], delimiter=",")
    assert run("train", "--dataset", "own.csv", "--save", "m.npz", "--report", "r.json") == 0
    assert json.loads(Path("r.json").read_text())["test_accuracy"] == 53 / 60
    assert run("infer", "--model", "m.npz", "--dataset", "new.csv", "--predictions", "p.csv") == 0
    predicted = np.loadtxt("p.csv")
    assert np.count_nonzero(predicted == table[:50, -1]) == 46
    assert capsys.readouterr().out.endswith("samples: 50\n")


def test_verify_prints_the_number_of_equal_batches(capsys):
    assert run("verify", "--device", "golden", *SMALL, "--limit-batches", "3") == 0
    assert "golden equals golden in every bit after each of 3 batches" in capsys.readouterr().out


@pytest.mark.parametrize("command", [("verify",), ("train", "--verify", "--report", "r.json")])
def test_a_difference_is_one_line_and_exit_code_1(capsys, monkeypatch, command):
    class Broken(GoldenDevice):
        def end_batch(self, k):
            super().end_batch(k)
            if self.trainer.batches == 2:
                self.trainer.state.counters[1][4, 2] += 1

    monkeypatch.setattr(devices, "open_device", lambda name, config, *rest, **options: Broken(config))
    assert run(*command, "--device", "golden", *SMALL) == 1
    error = capsys.readouterr().err
    assert error.startswith("popflip: batch 2: layer 1, row 4, word 0, synapse 2: counter is ")
    assert error.count("\n") == 1
    assert os.listdir() == []


def test_info_lists_every_name(capsys):
    assert run("info") == 0
    output = capsys.readouterr().out
    for name in (*PRESETS, "golden", "sim", "mnist"):
        assert f"  {name}" in output


def test_verilog_is_written_whole(capsys):
    small = ("--layers", "20,4,3", "--rows", "2", "--synapses", "8")
    assert run("verilog", *small, "--output", "chip.v") == 0
    assert os.listdir() == ["chip.v"]
    text = Path("chip.v").read_text()
    assert "module popflip(" in text
    capsys.readouterr()
    assert run("verilog", *small, "--output", "-") == 0
    assert capsys.readouterr().out == text


# Help -----------------------------------------------------------------------------------------------------------------


def test_help_names_every_command_and_flag(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert run("--help") == 0
    output = capsys.readouterr().out
    for command in ("train", "infer", "verify", "build", "load", "verilog", "estimate", "account", "info"):
        assert f" {command} " in output
    assert run("train", "--help") == 0
    output = capsys.readouterr().out
    for name in set(SETTINGS) - {"link"}:
        assert f"{flag(name)} " in output
    assert run("build", "--help") == 0
    assert "--link " in capsys.readouterr().out


def test_the_version_is_printed(capsys):
    assert run("--version") == 0
    assert capsys.readouterr().out == f"popflip {metadata.version('popflip')}\n"


def test_help_is_quick():
    """Nothing heavy may be imported to print help."""
    script = (
        "import sys; from popflip.cli.main import run_command; run_command(['train', '--help']); print(*sys.modules)"
    )
    modules = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not {"numpy", "sklearn", "matplotlib", "amaranth"} & set(modules)


def test_every_setting_of_a_run_is_a_flag_of_train():
    own = {"verify", "report", "plot", "save", "save_every", "resume", "start", "allow_other_data"}
    assert {*RUN, *own} == set(SETTINGS) - {"link"}  # of a bitstream


# Bad input ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--dataset", "none.csv"], "none.csv: no such file or directory"),
        (
            ["train", *SMALL, "--replay"],
            "--replay: the data set has 1437 training samples, but the device has no store; leave it out",
        ),
        (["train", "--device", "sim", "--store", "1437"], "--store: 1437 is not a power of two from 1 to 16777216"),
        (
            ["train", "--layers", "255,64,10"],
            "--layers: 255 inputs, but digits has 64 values × 4 thresholds = 256",
        ),
        (["train", "--layers", "256,64,9"], "--layers: 9 classes (0 … 8), but digits has class 9"),
        (["train", "--k0", "1,2,3"], "--k0: 3 given, expected 2 (one per layer)"),
        (["train", "--batch", "x"], "--batch: 'x' is not a whole number"),
        (
            ["train", "--batch", "99999"],
            "--batch: 99999 samples per batch, but 20 epochs of 1437 samples have only",
        ),
        (
            ["train", "--rule", "lbe", "--batch", "9"],
            "--batch: is for rule gft, but this network learns by lbe; leave it out",
        ),
        (["train", "--group", "9"], "--group: is for rule lbe, but this network learns by gft; leave it out"),
        (["train", "--margin", "1,2"], "--margin: 2 given, expected 1 (rule gft has one)"),
        (["train", "--dataset", "prototypes:x=1"], "dataset prototypes: 'x' is not one of classes, bits, flip, train"),
        (["train", "--preset", "nope"], "--preset: 'nope' is not one of digits"),
        (["train", "--config", "none.toml"], "--config none.toml: no such file or directory"),
        (["train", "--device", "goldn"], "--device: 'goldn' is not golden, sim, usb or a serial port"),
        (["train", "--device", "/dev/nope"], "/dev/nope: "),
        (["train", "--rows", "3"], "--rows: 3 is not a power of two from 1 to 1024"),
        (["train", "--report", "no/r.json"], "--report: there is no folder no for r.json; create it first"),
        (["train", "--plot", "."], "--plot: . is a folder, not a file"),
        (["train", "--waves", "w.vcd"], "--waves: only the simulated chip records signals, golden does not"),
        (["train", "--augment", "flip"], "--augment: 'flip' is not one of none, shift"),
        (["train", "--test-split", "0.5"], "--test-split: digits has a test set of its own"),
        (["build", "--board", "nope"], "--board: 'nope' is not one of colorlight_i5"),
        (["train", "--resume", "none.npz"], "none.npz: no such file or directory"),
        (["infer", "--model", "none.npz"], "none.npz: no such file or directory"),
        (["train", "--plot", "p.jpg"], "--plot: p.jpg does not end in .png, .svg, .pdf, which say the format"),
        (["train", "--label", "1"], "--label: only the columns of a .csv file have names and positions; leave it out"),
        (["train", "--thresholds", "1" + 20 * "0"], "--thresholds: 100000000000000000000 is outside −2⁵³ … 2⁵³"),
        (["train", "--layers", "99999999999999999999,2"], "--layers[0]: 99999999999999999999 is outside 1 … 65535"),
        (["infer"], "Missing option '--model'"),
        (["train", "--nonsense", "1"], "No such option"),
        (["train", "extra"], "Got unexpected extra argument"),
        (["nonsense"], "No such command 'nonsense'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(capsys, arguments, message):
    assert refused(capsys, *arguments).startswith(message)


def test_data_of_one_class_is_refused(capsys):
    Path("own.csv").write_text("0.5,3\n0.7,3\n0.1,3\n")
    message = "own.csv: all 3 samples are of class 3; training needs two classes"
    assert refused(capsys, "train", "--dataset", "own.csv") == message


def test_more_bits_than_a_network_takes_are_refused(capsys):
    Path("own.csv").write_text("0.5,3,0\n0.7,3,1\n0.1,3,1\n")
    message = "--levels: 18446744073709551616 given, at least 1 and, with 2 values a sample, at most 32767 are possible"
    assert refused(capsys, "train", "--dataset", "own.csv", "--levels", str(2**64)) == message


def test_a_setting_that_matplotlib_refuses_is_said_before_the_run(tmp_path):
    command = [sys.executable, "-m", "popflip", "train", "--plot", "p.png", "--epochs", "1000000"]
    environment = os.environ | {"MPLBACKEND": "nope"}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 2
    assert ended.stderr.startswith("popflip: --plot: matplotlib does not start: ")
    assert ended.stderr.count("\n") == 1


def test_a_chip_s_shape_ignores_no_setting(capsys):
    Path("f.toml").write_text('dataset = "own.csv"')
    for command in ("build", "verilog"):
        message = f"--config f.toml: popflip {command} does not use 'dataset'; leave it out"
        assert (
            refused(capsys, command, *(["--board", "icebreaker"] * (command == "build")), "--config", "f.toml")
            == message
        )


def test_an_unknown_yosys_is_one_line(capsys, monkeypatch):
    monkeypatch.setenv("AMARANTH_USE_YOSYS", "bogus")
    message = refused(capsys, "verilog", "--layers", "20,4,3")
    assert message.startswith("Yosys cannot write Verilog: The AMARANTH_USE_YOSYS environment variable contains an ")


def test_what_a_terminal_might_act_on_is_escaped(capsys):
    assert refused(capsys, "train", "--preset", "\x1b[2J\u202e\udce9").startswith("--preset: '\\x1b[2J")
    announce("a\x1b[2Jb\x07é")
    table([("data\r", "\x9b")])
    sections({"t": ["\0"]})
    assert capsys.readouterr().out == "a\\x1b[2Jb\\x07é\ndata\\r: \\x9b\nt\n  \\x00\n"


def test_unequal_classes_are_seen(capsys):
    generator = np.random.default_rng(1)
    rows = [f"{generator.normal():.3f},{generator.normal():.3f},{int(sample >= 20)}" for sample in range(400)]
    Path("own.csv").write_text("\n".join(rows))
    assert run("train", "--dataset", "own.csv", "--report", "r.json", "--plot", "p.svg", "--save", "m.npz") == 0
    said = dict(line.partition(": ")[::2] for line in capsys.readouterr().out.splitlines())
    report = json.loads(Path("r.json").read_text())
    recall = [share for share in report["recall"] if share is not None]
    assert said["balanced accuracy"] == f"{sum(recall) / len(recall):.2%} (mean recall of {len(recall)} classes)"
    assert np.array(report["confusion"]).sum() == 80


def test_a_class_column_is_kept_for_saved_networks(capsys):
    generator = np.random.default_rng(1)
    rows = [f"{sample % 2},{generator.normal(3 * (sample % 2)):.3f},{generator.normal():.3f}" for sample in range(60)]
    Path("own.csv").write_text("kind,a,b\n" + "\n".join(rows))
    assert run("train", "--dataset", "own.csv", "--label", "kind", "--limit-batches", "20", "--save", "m.npz") == 0
    assert run("train", "--resume", "m.npz", "--report", "r.json") == 0
    capsys.readouterr()
    assert run("infer", "--model", "m.npz") == 0
    assert capsys.readouterr().out.startswith("samples: 12\naccuracy: ")
    assert run("infer", "--model", "m.npz", "--dataset", "own.csv") == 0
    assert capsys.readouterr().out.startswith("samples: 60\naccuracy: ")


def test_a_resumed_run_keeps_its_parameters(capsys):
    values = {"layers": "256,5,10", "data_dir": ".", "rule": "gft", "augment": "none", "dataset": "digits"}
    assert run("train", *SMALL, "--limit-batches", "0", "--save", "m.npz") == 0
    capsys.readouterr()
    for name in EXPERIMENT:
        if name != "data_dir":
            value = values.get(name, "0.5" if name == "test_split" else "1")
            message = f"--resume: the saved run fixes {flag(name)}; leave it out"
            assert refused(capsys, "train", "--resume", "m.npz", flag(name), value) == message
    assert run("train", "--resume", "m.npz", "--data-dir", ".", "--limit-batches", "1") == 0


def test_outputs_are_checked_before_training(capsys):
    message = refused(capsys, "train", "--epochs", "1000000", "--save", "no/m.npz")
    assert message == "--save: there is no folder no for m.npz; create it first"


def test_no_memory_is_one_line(capsys, monkeypatch):
    def full(*_, **__):
        raise MemoryError

    monkeypatch.setattr(devices, "open_device", full)
    assert refused(capsys, "train", *SMALL) == "not enough memory for a network or data set of this size"
