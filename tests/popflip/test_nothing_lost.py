"""Whatever happens to a command, its results are in their files, and its message says which."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import stat
import subprocess
import sys
import threading
import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from popflip import experiment
from popflip import report as reports
from popflip.checkpoint import load
from popflip.cli import signals
from popflip.cli.main import run_command
from popflip.cli.screen import Screen, complain
from popflip.cli.signals import STOP, held
from popflip.cli.start import interruptible, prepare
from popflip.devices import open as devices
from popflip.devices.golden import GoldenDevice
from popflip.errors import ChipLost, LinkError

SMALL = ("--layers", "256,12,10", "--epochs", "2", "--batch", "100")
"""Flags of a run of 28 batches that takes a moment."""
LONG = ("--layers", "256,12,10", "--epochs", "100000", "--batch", "100")
COMMAND = [sys.executable, "-c", "from popflip.__main__ import main; main()"]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> int:
    return run_command([*arguments])


@cache
def final_state() -> str:
    """Hash of the state at the end of the run of :data:`SMALL`."""
    assert run("train", *SMALL, "--report", "whole.json") == 0
    state = json.loads(Path("whole.json").read_text())["state_sha256"]
    os.unlink("whole.json")
    return state


def instead_of_golden(monkeypatch, kind: type[GoldenDevice]) -> None:
    monkeypatch.setattr(devices, "open_device", lambda name, config, *rest, **options: kind(config))


# Interrupted ----------------------------------------------------------------------------------------------------------


class Signalling(GoldenDevice):
    """A device during whose batch 5 this program gets a signal."""

    number = signal.SIGINT

    def end_batch(self, k):
        super().end_batch(k)
        if self.trainer.batches == 5:
            os.kill(os.getpid(), self.number)


@pytest.fixture
def as_in_main(monkeypatch):
    """The signal handlers of the program, which end with the test, on a machine that may be slow."""
    monkeypatch.setattr(signals, "GRACE", 600.0)
    before = {number: signal.getsignal(number) for number in STOP}
    for number in STOP:
        signal.signal(number, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("number", "verified"), [(signal.SIGINT, True), (signal.SIGTERM, False), (signal.SIGHUP, False)]
)
def test_an_interrupted_run_saves_its_state_and_says_how_to_go_on(capsys, monkeypatch, as_in_main, number, verified):
    with monkeypatch.context() as patched:
        patched.setattr(Signalling, "number", number)
        instead_of_golden(patched, Signalling)
        flags = ("--verify",) if verified else ()
        assert run("train", *SMALL, "--report", "r.json", "--save", "my net.npz", *flags) == 130
    assert capsys.readouterr().err == (
        "popflip: interrupted after batch 5 of 28; my net.npz holds the state after batch 5; go on with: "
        f"popflip train --resume 'my net.npz' --save 'my net.npz' {'--verify ' * verified}--report r.json\n"
    )
    assert os.listdir() == ["my net.npz"]
    assert run("train", "--resume", "my net.npz", "--save", "my net.npz", "--report", "r.json") == 0
    assert json.loads(Path("r.json").read_text())["state_sha256"] == final_state()


def test_an_interrupted_run_without_save_says_so(capsys, monkeypatch, as_in_main):
    instead_of_golden(monkeypatch, Signalling)
    assert run("train", *SMALL, "--report", "r.json") == 130
    assert capsys.readouterr().err == "popflip: interrupted after batch 5 of 28; nothing was saved (see --save)\n"
    assert os.listdir() == []
    assert run("verify", "--device", "golden", *SMALL) == 130
    assert capsys.readouterr().err == "popflip: interrupted after batch 5 of 28\n"


def test_a_second_signal_does_not_wait_for_the_end_of_the_batch(capsys, monkeypatch, as_in_main):
    class Twice(Signalling):
        def end_batch(self, k):
            super().end_batch(k)
            if self.trainer.batches == 5:
                os.kill(os.getpid(), signal.SIGTERM)
                raise AssertionError("the second signal was held back")

    instead_of_golden(monkeypatch, Twice)
    assert run("train", *SMALL, "--save", "m.npz", "--save-every", "0") == 130
    assert capsys.readouterr().err.startswith(
        "popflip: interrupted after batch 4 of 28; m.npz holds the state after batch 4; go on with: "
    )
    assert load(Path("m.npz")).status.batches == 4


def test_a_signal_that_is_held_back_for_too_long_interrupts(monkeypatch, as_in_main):
    monkeypatch.setattr(signals, "GRACE", 0.05)
    with pytest.raises(KeyboardInterrupt), held() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop()
        time.sleep(60)
        raise AssertionError("never interrupted")


def test_a_signal_during_the_results_waits_until_they_are_written(capsys, monkeypatch, as_in_main):
    write = reports.write

    def interrupted(*arguments):
        os.kill(os.getpid(), signal.SIGINT)
        write(*arguments)

    monkeypatch.setattr(reports, "write", interrupted)
    assert run("train", *SMALL, "--save", "m.npz", "--report", "r.json") == 130
    output = capsys.readouterr()
    assert output.err == "popflip: interrupted; r.json was written\n"
    assert "state SHA-256: " in output.out
    assert sorted(os.listdir()) == ["m.npz", "r.json"]


def test_sighup_stays_ignored_under_nohup(monkeypatch):
    monkeypatch.setenv("PYTHONSAFEPATH", "1")  # set by prepare(), unset after the test
    before = {number: signal.getsignal(number) for number in STOP}
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        prepare()
        interruptible()
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        with held() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop()
        assert signal.getsignal(signal.SIGTERM) == signal.default_int_handler
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_the_program_itself_ends_so_too():
    """From a shell, in another process."""
    with subprocess.Popen(
        [*COMMAND, "train", *LONG, "--save", "m.npz"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdout.readline()  # the first of few lines: training is on its way
        process.send_signal(signal.SIGTERM)
        _, error = process.communicate(timeout=120)
    batch = load(Path("m.npz")).status.batches
    assert process.returncode == 130
    assert error == (
        f"popflip: interrupted after batch {batch} of 1437000; m.npz holds the state after batch {batch}; "
        "go on with: popflip train --resume m.npz --save m.npz\n"
    )


# Killed ---------------------------------------------------------------------------------------------------------------


def kill_and_resume(kills: int, seed: int) -> None:
    """A run killed ``kills`` times at random moments, and resumed each time, ends as if nothing had happened."""
    epochs = str(4 + 8 * kills)
    flags = ("--layers", "256,12,10", "--epochs", epochs, "--batch", "100")
    assert run("train", *flags, "--report", "whole.json") == 0
    moments = random.Random(seed)
    saving = ("--save", "m.npz", "--save-every", "0.02")
    longest = 0.3  # seconds
    for _ in range(kills):
        arguments = ("--resume", "m.npz") if Path("m.npz").exists() else flags
        with subprocess.Popen([*COMMAND, "train", *arguments, *saving], stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            time.sleep(moments.uniform(0, longest))
            process.kill()
        assert len([name for name in os.listdir() if name.startswith(".popflip-")]) <= 1
    assert run("train", "--resume", "m.npz", "--report", "rest.json", "--save", "m.npz") == 0
    whole, rest = (json.loads(Path(name).read_text()) for name in ("whole.json", "rest.json"))
    for key in ("state_sha256", "signature", "rng", "flips", "errors", "batches", "test_accuracy"):
        assert rest[key] == whole[key]
    assert sorted(os.listdir()) == ["m.npz", "rest.json", "whole.json"]


def test_a_killed_run_is_resumed_to_the_same_end():
    kill_and_resume(2, seed=1)


@pytest.mark.kills
def test_a_run_killed_a_hundred_times_is_resumed_to_the_same_end():
    kill_and_resume(100, seed=2)


# A device that fails --------------------------------------------------------------------------------------------------


def test_the_last_equal_state_is_saved_before_a_difference(capsys, monkeypatch):
    class Broken(GoldenDevice):
        def end_batch(self, k):
            super().end_batch(k)
            if self.trainer.batches == 5:
                self.trainer.state.counters[1][4, 2] += 1

    with monkeypatch.context() as patched:
        instead_of_golden(patched, Broken)
        assert run("train", "--device", "golden", *SMALL, "--verify", "--save", "m.npz", "--report", "r.json") == 1
    error = capsys.readouterr().err
    assert error.startswith("popflip: batch 5: layer 1, row 4, word 0, synapse 2: counter is ")
    assert error.endswith(
        "; m.npz holds the state after batch 4, which equals golden; go on with: popflip train --resume m.npz "
        "--save m.npz --device golden --verify --report r.json\n"
    )
    assert os.listdir() == ["m.npz"]
    assert run("train", "--resume", "m.npz", "--report", "r.json") == 0
    assert json.loads(Path("r.json").read_text())["state_sha256"] == final_state()


def test_the_last_state_known_is_saved_when_a_port_vanishes(capsys, monkeypatch):
    class Vanishing(GoldenDevice):
        def end_batch(self, k):
            if self.trainer.batches == 7:
                raise LinkError("/dev/ttyUSB1: the port does not work")
            super().end_batch(k)

    instead_of_golden(monkeypatch, Vanishing)
    assert run("train", *SMALL, "--save", "m.npz", "--save-every", "0", "--no-replay") == 2
    assert capsys.readouterr().err == (
        "popflip: /dev/ttyUSB1: the port does not work; m.npz holds the state after batch 7; go on with: "
        "popflip train --resume m.npz --save m.npz --no-replay --save-every 0\n"
    )
    assert load(Path("m.npz")).status.batches == 7
    Path("m.npz").unlink()
    assert run("train", *SMALL, "--save", "m.npz") == 2
    assert capsys.readouterr().err == "popflip: /dev/ttyUSB1: the port does not work; m.npz was not written\n"


def test_a_repair_is_told_and_reported(capsys, monkeypatch):
    class Restarting(GoldenDevice):
        losses = 0

        def end_batch(self, k):
            super().end_batch(k)
            if self.trainer.batches == 7 and not self.losses:
                self.losses = 1
                self.trainer.reset()
                raise ChipLost("/dev/ttyUSB1: the chip restarted")

        def infer(self, x):
            if self.losses == 1:
                self.losses = 2
                raise ChipLost("/dev/ttyUSB1: the chip restarted")
            return super().infer(x)

    expected = final_state()
    instead_of_golden(monkeypatch, Restarting)
    capsys.readouterr()
    assert run("train", *SMALL, "--save", "m.npz", "--save-every", "0", "--report", "r.json") == 0
    output = capsys.readouterr().out
    assert "/dev/ttyUSB1: the chip restarted; going on from batch 6\n" in output
    assert "/dev/ttyUSB1: the chip restarted; its state is written back\n" in output
    assert "chip lost and repaired: once\n" in output
    report = json.loads(Path("r.json").read_text())
    assert (report["state_sha256"], report["repairs"]) == (expected, 1)


def test_a_network_that_could_not_be_saved_is_not_trained(capsys, monkeypatch):
    """Whatever the reason is: here, thresholds of a type that no file can hold."""

    def never(*_, **__):
        raise AssertionError("the run began")

    monkeypatch.setattr(devices, "open_device", never)
    monkeypatch.setattr(experiment, "given_thresholds", lambda thresholds: np.array([10**20]))
    assert run("train", "--thresholds", "1", "--layers", "64,9,10", "--save", "m.npz") == 2
    assert capsys.readouterr().err == "popflip: --thresholds: of type object, expected numbers of at most 64 bits\n"


def test_a_network_that_cannot_be_tested_is_saved(capsys, monkeypatch):
    class Dumb(GoldenDevice):
        def infer(self, x):
            raise LinkError("/dev/ttyUSB1: gone")

    instead_of_golden(monkeypatch, Dumb)
    assert run("train", *SMALL, "--save", "m.npz", "--report", "r.json") == 2
    assert "; m.npz holds the state after batch 28; go on with: " in capsys.readouterr().err
    assert os.listdir() == ["m.npz"]


# Results that cannot be written ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("failing", ["report", "plot", "save"])
def test_a_full_disk_costs_one_result(capsys, failing):
    os.symlink("/dev/full", "full.png")
    names = {"report": "r.json", "save": "m.npz"} | {failing: "full.png"}
    flags = [word for name, path in names.items() for word in (f"--{name}", path)]
    assert run("train", *SMALL, *flags) == 2
    output = capsys.readouterr()
    line = "popflip: full.png: cannot be written: no space left on device"
    assert output.err.splitlines() == ([f"{line}; the run goes on", line] if failing == "save" else [line])
    assert "state SHA-256: " in output.out
    assert sorted(os.listdir()) == sorted(names.values())


@pytest.mark.parametrize("limit", [512, 60 * 1024])
def test_a_limit_on_the_size_of_files_costs_only_the_larger_ones(capsys, limit):
    """512 bytes: none fits; 60 KiB: all but the plot do."""
    outputs = ("--save", "m.npz", "--report", "r.json", *(["--plot", "p.png"] if limit > 8192 else []))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        assert run("train", *SMALL, *outputs) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    fitting = {name for name, size in {"m.npz": 6000, "r.json": 4000, "p.png": 90_000}.items() if size < limit}
    output = capsys.readouterr()
    assert set(os.listdir()) == fitting
    assert {line.split(":")[1].strip() for line in output.err.splitlines()} == {*outputs[1::2]} - fitting
    assert all(line.startswith("popflip: ") and "file too large" in line for line in output.err.splitlines())
    assert "state SHA-256: " in output.out


def test_a_failing_standard_output_costs_nothing_else():
    """As in ``popflip train … | head -1``."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [*COMMAND, "train", *SMALL, "--save", "m.npz", "--report", "r.json"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (2, "popflip: standard output: broken pipe\n")
    assert sorted(os.listdir()) == ["m.npz", "r.json"]


def test_a_screen_drops_what_follows_its_first_failure():
    with open("/dev/full", "w") as full:
        screen = Screen(full)
        assert screen.write("text\n") == 5
        assert screen.failure is None
        screen.flush()
        assert screen.failure == "no space left on device"
        assert screen.write("more\n") == 5
        screen.flush()
        assert screen.failure == "no space left on device"
        assert not screen.isatty()


def test_complaints_are_one_line_without_control_characters(capsys):
    complain("a\n b: \x1b[31mred\udce9")
    assert capsys.readouterr().err == "popflip: a b: \\x1b[31mred\\udce9\n"


def test_a_failing_plot_costs_nothing_else(capsys, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no font\nat all")

    from matplotlib.figure import Figure

    monkeypatch.setattr(Figure, "savefig", fail)
    assert run("train", *SMALL, "--save", "m.npz", "--report", "r.json", "--plot", "p.png") == 2
    assert capsys.readouterr().err == "popflip: p.png: matplotlib cannot draw the plot: no font at all\n"
    assert sorted(os.listdir()) == ["m.npz", "r.json"]


def test_a_save_that_fails_on_the_way_is_told_once_and_made_good(capsys, monkeypatch):
    """The disk is full for a while."""
    from popflip import checkpoint
    from popflip.errors import FileError

    save, calls = checkpoint.save, []

    def full_at_first(path, saved):
        calls.append(saved.status.batches)
        if len(calls) < 5:
            raise FileError(f"{path}: cannot be written: no space left on device")
        save(path, saved)

    monkeypatch.setattr(checkpoint, "save", full_at_first)
    assert run("train", *SMALL, "--save", "m.npz", "--save-every", "0") == 0
    assert capsys.readouterr().err == "popflip: m.npz: cannot be written: no space left on device; the run goes on\n"
    assert load(Path("m.npz")).status.batches == calls[-1] == 28


def test_predictions_that_cannot_be_written_cost_nothing_else(capsys):
    assert run("train", *SMALL, "--save", "m.npz") == 0
    capsys.readouterr()
    assert run("infer", "--model", "m.npz", "--predictions", "/dev/full") == 2
    output = capsys.readouterr()
    assert output.err == "popflip: /dev/full: cannot be written: no space left on device\n"
    assert output.out.startswith("samples: 360\naccuracy: ")


# Where outputs go -----------------------------------------------------------------------------------------------------


def test_a_network_goes_through_a_pipe_once():
    os.mkfifo("fifo")
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(Path("fifo").read_bytes()))
    reader.start()
    assert run("train", *SMALL, "--save", "fifo", "--save-every", "0") == 0
    reader.join(30)
    Path("m.npz").write_bytes(received[0])
    assert load(Path("m.npz")).status.batches == 28
    assert stat.S_ISFIFO(os.stat("fifo").st_mode)


def own_data() -> None:
    generator = np.random.default_rng(1)
    values = generator.normal(size=(60, 4)).round(3)
    np.savetxt("own.csv", np.column_stack([values, values[:, 0] > 0]), delimiter=",", fmt="%g")
    Path("f.toml").write_text('dataset = "own.csv"\nepochs = 2\nbatch = 9\n')


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("train --dataset own.csv --report own.csv", "--report: own.csv is also the file of dataset"),
        ("train --config f.toml --save ./own.csv", "--save: own.csv is also the file of dataset"),
        ("train --config f.toml --plot f.toml", "--plot: f.toml is also the file of config"),
        ("train --resume m.npz --report m.npz", "--report: m.npz is also the file of resume"),
        ("train --resume m.npz --save own.csv", "--save: own.csv is also the file of dataset"),
        ("infer --model m.npz --predictions m.npz", "--predictions: m.npz is also the file of model"),
        ("infer --model m.npz --predictions own.csv", "--predictions: own.csv is also the file of dataset"),
        (
            "infer --model m.npz --dataset own.csv --predictions own.csv",
            "--predictions: own.csv is also the file of dataset",
        ),
        (
            "infer --config i.toml --model m.npz --predictions i.toml",
            "--predictions: i.toml is also the file of config",
        ),
        ("verilog --config v.toml --output v.toml", "--output: v.toml is also the file of config"),
    ],
)
def test_an_output_that_is_an_input_is_refused(capsys, arguments, message):
    own_data()
    Path("i.toml").write_text('device = "golden"\n')
    Path("v.toml").write_text("layers = [20, 4, 3]\n")
    assert run("train", "--config", "f.toml", "--limit-batches", "1", "--save", "m.npz") == 0
    before = {name: Path(name).read_bytes() for name in os.listdir()}
    capsys.readouterr()
    assert run(*arguments.split()) == 2
    assert capsys.readouterr().err == f"popflip: {message}, which is read; name another file\n"
    assert {name: Path(name).read_bytes() for name in os.listdir()} == before


def test_a_run_may_be_resumed_in_its_own_file():
    expected = final_state()
    assert run("train", *SMALL, "--limit-batches", "11", "--save", "m.npz") == 0
    assert run("train", "--resume", "m.npz", "--save", "m.npz", "--report", "r.json") == 0
    assert json.loads(Path("r.json").read_text())["state_sha256"] == expected
    assert load(Path("m.npz")).state.sha256() == expected


# Other data -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["train --resume m.npz", "infer --model m.npz"])
def test_other_data_is_refused_unless_allowed(capsys, command):
    own_data()
    assert run("train", "--config", "f.toml", "--limit-batches", "1", "--save", "m.npz") == 0
    assert run(*command.split()) == 0
    with Path("own.csv").open("a") as file:
        file.write("1,2,3,4,1\n")
    capsys.readouterr()
    assert run(*command.split()) == 2
    assert capsys.readouterr().err == (
        "popflip: --allow-other-data: own.csv holds other samples than those the network was trained on; "
        "restore them, or set it to use these\n"
    )
    assert run(*command.split(), "--allow-other-data") == 0


def test_a_report_is_json_whatever_the_data():
    """A feature with a single value has infinite thresholds; a name may hold bytes that are not UTF-8."""
    name = os.fsdecode(b"caf\xe9.csv")
    rows = [f"{index * 3 % 7},7,{index % 2}" for index in range(20)]
    Path(name).write_text("\n".join(rows))
    assert run("train", "--dataset", name, "--report", "r.json", "--epochs", "1", "--batch", "4") == 0
    report = json.loads(Path("r.json").read_text(), parse_constant=lambda constant: pytest.fail(constant))
    assert [row[1] for row in report["dataset"]["thresholds"]] == [None] * 4
    assert report["dataset"]["name"] == name


def test_the_size_of_waves_is_told_before(capsys, monkeypatch):
    class Recording(GoldenDevice):
        """Writes 1,000 bytes a sample."""

        def infer(self, x):
            with Path("w.vcd").open("ab") as file:
                file.write(bytes(1000 * len(x)))
            return super().infer(x)

    def opened(name, config, *rest, waves, **options):
        waves.write_bytes(b"header")
        return Recording(config)

    monkeypatch.setattr(devices, "open_device", opened)
    assert run("train", *SMALL, "--device", "sim", "--waves", "w.vcd", "--limit-batches", "3") == 0
    line = "w.vcd will have about 0.7 MB, for 660 samples to train and test; --limit-batches makes it smaller"
    assert capsys.readouterr().out.splitlines()[0] == line
