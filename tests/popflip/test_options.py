"""Settings: one parser for flags and files, flags win, and an error names its flag or key."""

from __future__ import annotations

import inspect
import os
from pathlib import Path

import pytest

from popflip.cli.options import EXPERIMENT, LEARN, SETTINGS, Settings, _option, parse, with_flag
from popflip.errors import ConfigError, PopflipError
from popflip.experiment import prepare
from popflip.heuristics import PARAMETERS


def test_flags_are_parsed():
    settings = parse(
        {
            "layers": "256,64,10",
            "k0": "164, 26",
            "window": "",
            "thresholds": "0.5,3",
            "shift": "none",
            "margin": "-3",
            "group": "32, 8",
            "reinforce_p256": "0",
            "test_split": "0.25",
            "verify": False,
            "report": "r.json",
            "batch": None,
        }
    )
    assert settings == Settings(
        layers=(256, 64, 10),
        k0=(164, 26),
        window=(),
        thresholds=(0.5, 3),
        shift="none",
        margin=(-3,),
        group=(32, 8),
        reinforce_p256=0,
        test_split=0.25,
        verify=False,
        report=Path("r.json"),
    )


def test_a_file_has_the_flags_names_as_keys_and_flags_win(tmp_path):
    path = tmp_path / "f.toml"
    path.write_text(
        'preset = "digits"\nlayers = [256, 32, 10]\nk0 = "90,20"\nwindow = 5\nshift = "none"\n'
        'flip-p256 = 64\nlimit_batches = 3\nthresholds = [1, 2.5]\nverify = true\nseed = 4\nsave = "m.npz"\n'
    )
    assert parse({"seed": "9", "k0": None}, path) == Settings(
        preset="digits",
        layers=(256, 32, 10),
        k0=(90, 20),
        window=(5,),
        shift="none",
        flip_p256=64,
        limit_batches=3,
        thresholds=(1, 2.5),
        verify=True,
        seed=9,
        save=Path("m.npz"),
    )


LAYERS = "a number of neurons, an image such as 28x28, or a convolution such as c16k5s1p2"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("batch", "many", "--batch: 'many' is not a whole number"),
        ("batch", "1.5", "--batch: '1.5' is not a whole number"),
        ("layers", "256,,10", f"--layers[1]: '' is not {LAYERS}"),
        ("layers", "28x28,c8k4,10", "--layers[1]: kernel: 4 is even; take 3 or 5"),
        ("thresholds", "3,x", "--thresholds: 'x' is not a number"),
        ("thresholds", "nan", "--thresholds: 'nan' is not a number"),
        ("shift", "None", "--shift: 'None' is not a whole number"),
        ("flip_p256", "half", "--flip-p256: 'half' is not a whole number"),
        ("margin", "16,", "--margin: '' is not a whole number"),
        ("group", "all", "--group: 'all' is not a whole number"),
        ("limit_batches", "-1", "--limit-batches: -1 is less than 0"),
        ("baud", "0", "--baud: 0 is less than 1"),
        ("baud", "2147483648", "--baud: 2147483648 is more than 12000000, the fastest of serial adapters"),
        ("device", "a\0", "--device: 'a\\x00' is not a name"),
        ("batch", "x" * 99, f"--batch: 'x{'x' * 58}… is not a whole number"),
        ("test_split", "1", "--test-split: 1 is not between 0 and 1"),
        ("device", "", "--device: '' is not a name"),
    ],
)
def test_a_bad_flag_is_named(name, value, message):
    with pytest.raises(ConfigError) as error:
        parse({name: value})
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("layrs = [1]", "there is no key 'layrs'; did you mean layers?"),
        ("zzz = 1", "there is no key 'zzz'; keys are those of popflip train --help"),
        ("layers = [1, 2.5]", f"layers[1]: 2.5 is not {LAYERS}"),
        ("batch = true", "batch: True is not a whole number"),
        ("verify = 1", "verify: 1 is not true or false"),
        ("dataset = 3", "dataset: 3 is not a name"),
        ("[train]\nbatch = 1", "there is no key 'train'; keys are those of popflip train --help"),
    ],
)
def test_a_bad_key_is_named(tmp_path, text, message):
    path = tmp_path / "f.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        parse({}, path)
    assert str(error.value) == f"--config {path}: {message}"


@pytest.mark.parametrize("content", [b"layers = ", b"\xff\xfe"])
def test_a_file_that_is_not_toml_is_refused(tmp_path, content):
    path = tmp_path / "f.toml"
    path.write_bytes(content)
    with pytest.raises(PopflipError) as error:
        parse({}, path)
    assert str(error.value).startswith(f"--config {path}: not TOML: ")


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "f.toml"
    path.write_bytes("batch = 9".encode("utf-8-sig"))
    assert parse({}, path) == Settings(batch=9)


def test_a_file_s_paths_may_begin_with_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    path = tmp_path / "f.toml"
    path.write_text('dataset = "~/own.csv"\nsave = "~/m.npz"\nrule = "~"')
    assert parse({}, path) == Settings(dataset="/home/me/own.csv", save=Path("/home/me/m.npz"), rule="~")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("flip-p256 = 1\nflip_p256 = 2", "flip-p256 is given twice, once as flip_p256; leave one out"),
        ('save = "m.npz"', "popflip verify does not use 'save'; leave it out"),
        ("test-split = 0.5", "popflip verify does not use 'test-split'; leave it out"),
        ("layrs = 1", "there is no key 'layrs'; did you mean layers?"),
        ("zzz = 1", "there is no key 'zzz'; keys are those of popflip verify --help"),
        ("layers = " + "[" * 5000, "not settings: its lists are nested too deeply"),
        ('layers = "a\\u0000b"', f"layers[0]: 'a\\x00b' is not {LAYERS}"),
        ("layers = " + "9" * 4000, "layers[0]: a number of 13288 bits is outside 1 … 65535"),
        ("layers = " + "9" * 5000, "not TOML: Exceeds the limit"),
        ("x = " + "1" * 2**20, "has more than 1048576 bytes, too many for settings"),
    ],
)
def test_a_file_holds_keys_that_the_command_uses_each_once(tmp_path, text, message):
    path = tmp_path / "f.toml"
    path.write_text(text)
    names = ("layers", "flip_p256")
    with pytest.raises(PopflipError) as error:
        parse({}, path, names, "verify")
    assert str(error.value).startswith(f"--config {path}: {message}")


@pytest.mark.parametrize("key", ["save", "dataset", "device"])
def test_names_hold_no_zero_byte(tmp_path, key):
    path = tmp_path / "f.toml"
    path.write_text(f'{key} = "a\\u0000b"')
    with pytest.raises(ConfigError) as error:
        parse({}, path)
    assert str(error.value) == f"--config {path}: {key}: 'a\\x00b' is not a name"


def test_a_pipe_is_no_settings_file(tmp_path):
    os.mkfifo(tmp_path / "f.toml")
    with pytest.raises(PopflipError) as error:
        parse({}, tmp_path / "f.toml")
    assert str(error.value) == f"--config {tmp_path / 'f.toml'}: is a pipe, expected a file"


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(PopflipError) as error:
        parse({}, tmp_path / "f.toml")
    assert str(error.value) == f"--config {tmp_path / 'f.toml'}: no such file or directory"


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("test_split: digits has a test set", "--test-split: digits has a test set"),
        ("layers[1]: 0 is outside 1 … 65535", "--layers[1]: 0 is outside 1 … 65535"),
        ("board: 'x' is not one of a, b", "--board: 'x' is not one of a, b"),
        ("own.npz: no such file", "own.npz: no such file"),
        ("the chip: RESET was refused", "the chip: RESET was refused"),
        ("seed of nothing: x", "seed of nothing: x"),
        ("--config f.toml: not TOML", "--config f.toml: not TOML"),
    ],
)
def test_errors_of_the_library_name_the_flag(message, shown):
    assert with_flag(message) == shown


def test_values_leaves_out_unset_ones():
    settings = Settings(rows=4, compact=False, window=())
    assert settings.values(("synapses", "rows", "compact", "window")) == {"rows": 4, "compact": False, "window": ()}


def test_the_library_knows_every_setting():
    assert {*LEARN} == {*PARAMETERS}
    assert {*EXPERIMENT} == {*inspect.signature(prepare).parameters} - {"learning", "default"} | {*LEARN}


SWITCHES = [name for name, about in SETTINGS.items() if not about.metadata["metavar"]]


@pytest.mark.parametrize("name", SWITCHES)
def test_a_switch_has_two_flags(name):
    shown = name.replace("_", "-")
    (declaration,) = _option(name).annotation.__metadata__
    assert f"--{shown}/--no-{shown}" in (declaration.default, *(declaration.param_decls or ()))
