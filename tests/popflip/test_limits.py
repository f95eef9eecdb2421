"""What does not fit the machine's memory is refused before any of it is taken."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from popflip import limits
from popflip.cli.main import run_command
from popflip.devices.open import BYTES_PER_BIT, open_device
from popflip.errors import ConfigError
from popflip.golden.config import Config
from popflip.golden.presets import PRESETS
from popflip.hw.config import ChipConfig
from popflip.limits import check_chip

GIGABYTE = 10**9


@pytest.fixture(autouse=True)
def small_machine(monkeypatch):
    """A machine of 8 GB."""
    monkeypatch.setattr(limits, "machine_memory", lambda: 8 * GIGABYTE)


def test_half_of_the_memory_may_be_taken():
    limits.check_memory("levels: 3", 4 * GIGABYTE)
    with pytest.raises(ConfigError) as error:
        limits.check_memory("levels: 3", 4 * GIGABYTE + 1)
    assert str(error.value) == (
        "levels: 3 would take 4.0 GB of memory, more than 50% of this machine's 8.0 GB; make it smaller"
    )


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_fits_half_a_gigabyte(name):
    config = PRESETS[name].config
    assert limits.network_bytes(config) + limits.batch_bytes(config) < GIGABYTE / 2


def test_a_network_s_bytes_are_those_of_its_state_and_its_largest_layer():
    config = Config(layers=(9, 20, 10), k0=(1, 1), window=(3,), batch=100)
    assert limits.network_bytes(config) == 3 * (200 + 210) + 8 * 210 + 4 * 100 * 20
    assert limits.batch_bytes(config) == 100 * (9 + 24)


def test_a_sample_s_patches_count():
    config = Config("4x5,c3k3,2", k0=(1, 1), window=(3,), batch=100)
    assert limits.network_bytes(config) == 3 * (27 + 122) + 8 * 122 + 4 * 100 * 60 + 5 * 20 * 9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--layers", "256,65535,65535,10"], "--layers: a network 256-65535-65535-10 would take 47.4 GB"),
        (["verilog", "--layers", "256,65535,65535,10"], "--layers: a network 256-65535-65535-10 would take 47.4 GB"),
        (
            ["train", "--layers", "8x8x4,c16384k1,c64k15,10"],
            "--layers: a network 8x8x4-c16384k1-c64k15-10 would take 4.8 GB",
        ),
        (["verilog", "--layers", "256,8192,784,10"], "--layers: the Verilog of 256-8192-784-10 would take 5.5 GB"),
        (
            ["train", "--rule", "lbe", "--layers", "256,65535,65535"],
            "--layers: a network 256-65535-65535 would take 47.3 GB",
        ),
        (
            ["train", "--batch", "2147483647", "--epochs", "2147483647"],
            "--batch: 2147483647 samples of 256 bits would take 601.3 GB",
        ),
        (
            ["train", "--dataset", "prototypes:bits=60000,train=200000"],
            "--dataset: 202000 samples of 60000 bits would take 12.1 GB",
        ),
        (
            ["train", "--device", "sim", "--rows", "1024", "--synapses", "1024"],
            "--rows: the simulated chip of an array of 1024 × 1024 synapses would take 68.7 GB",
        ),
        (
            ["verify", "--layers", "256,8000,8000,10"],
            "--layers: the simulated chip of 256-8000-8000-10 would take 5.3 GB",
        ),
        (
            ["train", "--device", "sim", "--store", "65536", "--dataset", "prototypes:bits=30000,train=100,test=10"],
            "--store: the simulated chip of 65536 samples of 4222 bytes would take 17.7 GB",
        ),
        (
            ["verilog", "--rows", "1024", "--synapses", "1024"],
            "--rows: the Verilog of an array of 1024 × 1024 synapses would take 68.7 GB",
        ),
    ],
)
def test_huge_flags_are_one_line(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert run_command(arguments) == 2
    assert capsys.readouterr().err == (
        f"popflip: {message} of memory, more than 50% of this machine's 8.0 GB; make it smaller\n"
    )


HUGE = Config(layers=(65535, 65535, 65535, 10), k0=(1, 1, 1), window=(3, 3))
SMALL = Config(layers=(20, 9, 3), k0=(12, 4), window=(3,))


@pytest.mark.parametrize(
    ("name", "config", "chip", "message"),
    [
        ("golden", HUGE, None, "layers: a network 65535-65535-65535-10 would take 60.2 GB of memory, "),
        ("sim", HUGE, None, "layers: a network 65535-65535-65535-10 would take 60.2 GB of memory, "),
        (
            "sim",
            SMALL,
            ChipConfig.of(SMALL, 256, 512),
            "rows: the simulated chip of an array of 256 × 512 synapses would take 8.6 GB of memory, ",
        ),
    ],
)
def test_a_huge_device_is_refused_within_a_second(name, config, chip, message):
    begin = time.process_time()
    with pytest.raises(ConfigError) as error:
        open_device(name, config, chip)
    assert time.process_time() - begin < 1
    assert str(error.value) == f"{message}more than 50% of this machine's 8.0 GB; make it smaller"


@pytest.mark.parametrize("name", [name for name, preset in PRESETS.items() if preset.config.dense])
def test_every_preset_s_chip_fits(name):
    check_chip(ChipConfig.of(PRESETS[name].config, 32, 64), "the simulated chip", BYTES_PER_BIT)


def test_a_large_file_is_refused_before_it_is_read(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with open("own.csv", "wb") as file:
        file.truncate(5 * GIGABYTE)
    assert run_command(["train", "--dataset", "own.csv"]) == 2
    assert capsys.readouterr().err.startswith("popflip: own.csv: text of this size would take 5.0 GB of memory, ")


def test_lines_are_counted_while_they_are_read(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(limits, "machine_memory", lambda: 100_000)
    Path("own.csv").write_text("0.5,1,0\n0.7,2,1\n" * 1500)
    assert run_command(["train", "--dataset", "own.csv"]) == 2
    assert capsys.readouterr().err.startswith("popflip: own.csv: 2048 lines of 3 numbers would take ")


def test_the_least_of_all_limits_counts(tmp_path, monkeypatch):
    monkeypatch.undo()
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(limits, "CGROUPS", (limit, tmp_path / "none"))
    for text, expected in (("max\n", None), ("1000000\n", 1_000_000)):
        limit.write_text(text)
        limits.machine_memory.cache_clear()
        assert limits.machine_memory() == expected or (expected is None and limits.machine_memory() > GIGABYTE / 2)
    limits.machine_memory.cache_clear()
