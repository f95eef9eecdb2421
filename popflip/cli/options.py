"""What a user can set: one list from which the flags, the keys of a ``--config`` file and their help are made."""

# ruff: noqa: RUF009  (_setting makes a dataclass field)

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from popflip.files import FileError, reason
from popflip.golden.errors import ConfigError

Number = int | float

WHAT, NETWORK, LEARNING, WHERE, OUTPUT = "What to learn", "Network", "Learning", "Where it runs", "What comes out"


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{value!r} is not a name")
    return value


def _path(value: object) -> Path:
    return Path(_text(value))


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{value!r} is not true or false")
    return value


def _integer(value: object) -> int:
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            pass
    elif isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ConfigError(f"{value!r} is not a whole number")


def _count(value: object) -> int:
    number = _integer(value)
    if number < 0:
        raise ConfigError(f"{number} is less than 0")
    return number


def _positive(value: object) -> int:
    number = _integer(value)
    if number < 1:
        raise ConfigError(f"{number} is less than 1")
    return number


def _number(value: object) -> Number:
    try:
        return _integer(value)
    except ConfigError:
        pass
    if isinstance(value, str | float):
        try:
            if math.isfinite(number := float(value)):
                return number
        except ValueError:
            pass
    raise ConfigError(f"{value!r} is not a number")


def _share(value: object) -> Number:
    number = _number(value)
    if not 0 < number < 1:
        raise ConfigError(f"{number} is not between 0 and 1")
    return number


def _list_of(item: Callable[[object], Any]) -> Callable[[object], tuple]:
    """A parser of ``1,2,3`` or, in a file, of ``[1, 2, 3]``; empty text is the empty list."""

    def parse(value: object) -> tuple:
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",")] if value.strip() else []
        elif not isinstance(value, list):
            value = [value]
        return tuple(item(part) for part in value)

    return parse


def _shift(value: object) -> int | str:
    return "none" if value == "none" else _integer(value)


def _setting(parse: Callable[[object], Any], panel: str, metavar: str, text: str) -> Any:
    return field(default=None, metadata={"parse": parse, "panel": panel, "metavar": metavar, "help": text})


@dataclass(frozen=True)
class Settings:
    """What was asked for; None where nothing was. A field ``test_split`` is a flag ``--test-split`` and a key."""

    preset: str | None = _setting(_text, WHAT, "NAME", "Start from a named experiment (popflip info lists them).")
    dataset: str | None = _setting(
        _text,
        WHAT,
        "NAME|FILE",
        "digits, mnist, mnist-tiles, prototypes[:classes=10,bits=1000,flip=0.44,train=10000,test=2000,seed=1] ("
        "made up; say what differs), or your own .csv (class in the last column) or .npz (x, y).",
    )
    data_dir: Path | None = _setting(
        _path, WHAT, "DIR", "Folder with mnist/ in it, instead of $POPFLIP_DATA or a download."
    )
    thresholds: tuple[Number, ...] | None = _setting(
        _list_of(_number), WHAT, "T,T,…", "A value becomes one bit per threshold: value ≥ T."
    )
    levels: int | None = _setting(
        _count, WHAT, "N", "Thresholds to choose from quantiles of your own data when none are given (4)."
    )
    test_split: Number | None = _setting(_share, WHAT, "SHARE", "Share of your own data held out for testing (0.2).")

    augment: str | None = _setting(
        _text, WHAT, "none|shift", "shift: move training images by 0 or 1 pixel at random, anew each epoch."
    )

    layers: tuple[int, ...] | None = _setting(
        _list_of(_integer),
        NETWORK,
        "N,N,…",
        "Input bits, hidden widths and classes, as 256,64,10. Rule lbe: bits and each layer's neurons, as 256,128.",
    )
    precision: str | None = _setting(_text, NETWORK, "NAME", "Values of a weight: binary or ternary. Rule lbe: binary.")
    mmax: int | None = _setting(
        _integer, NETWORK, "N", "Counters saturate at ±N; rule lbe: at −N−1 and N, as 127 or 63."
    )
    dclip: int | None = _setting(_integer, NETWORK, "N", "Rule gft: largest error a hidden neuron is taught with.")

    rule: str | None = _setting(_text, LEARNING, "NAME", "Learning rule: gft or lbe.")
    batch: int | None = _setting(_integer, LEARNING, "SAMPLES", "Rule gft: samples between two updates.")
    epochs: int | None = _setting(_integer, LEARNING, "N", "Passes over the training samples.")
    k0: tuple[int, ...] | None = _setting(
        _list_of(_integer), LEARNING, "N,N,…", "Rule gft: weights selected in the first batch, one number a layer."
    )
    margin: tuple[int, ...] | None = _setting(
        _list_of(_integer),
        LEARNING,
        "N[,N,…]",
        "A sample teaches while it wins by no more than this. Rule lbe: a layer is taught while the right class leads "
        "by less; one number, or one a layer.",
    )
    group: tuple[int, ...] | None = _setting(
        _list_of(_integer), LEARNING, "N[,N,…]", "Rule lbe: neurons of which one is taught; one number, or one a layer."
    )
    reinforce_p256: int | None = _setting(
        _integer, LEARNING, "0…256", "Rule lbe: a taught weight is made harder to change with probability N/256."
    )
    window: tuple[int, ...] | None = _setting(
        _list_of(_integer),
        LEARNING,
        "N,N,…",
        "Rule gft: a hidden neuron learns while |sum| ≤ this; one a hidden layer.",
    )
    shift: int | str | None = _setting(
        _shift, LEARNING, "N|none", "Rule gft: counters lose m >> N at the end of a batch; none: all of it."
    )
    flip_p256: int | None = _setting(
        _integer, LEARNING, "1…256", "Rule gft: a selected weight flips with probability N/256."
    )
    seed: int | None = _setting(_integer, LEARNING, "N", "Seed of everything random in the run.")
    limit_batches: int | None = _setting(
        _count, LEARNING, "N", "Stop after N batches (rule lbe: samples); the schedule stays the full run's."
    )

    device: str | None = _setting(
        _text, WHERE, "golden|sim|PORT", "Golden model, simulated chip, or board, as /dev/ttyUSB1 or COM3."
    )
    rows: int | None = _setting(_integer, WHERE, "P", "Rows the chip's MAC array takes in a cycle (4).")
    synapses: int | None = _setting(_integer, WHERE, "N", "Synapses of each row it takes in a cycle (32).")
    store: int | None = _setting(
        _count, WHERE, "SAMPLES", "Training samples the chip can keep: a power of two (what a board holds; sim: 0)."
    )
    replay: bool | None = _setting(
        _boolean, WHERE, "", "Send training samples once, then their numbers (where the chip's store holds them)."
    )
    compact: bool | None = _setting(
        _boolean,
        WHERE,
        "",
        "Rule gft: a chip for an iCE40 UP5K full of weights; counters in its single-port RAM.",
    )
    baud: int | None = _setting(_positive, WHERE, "N", "Speed of a board's link (1000000).")
    learn_rows: int | None = _setting(
        _integer,
        WHERE,
        "P",
        "Rows of its first layer the chip teaches in a cycle; gft; no more than --rows, --synapses (1).",
    )
    waves: Path | None = _setting(_path, WHERE, "F.vcd", "Record the simulated chip's signals.")
    verify: bool | None = _setting(
        _boolean, WHERE, "", "Compare with the golden model after every batch (rule lbe: 256 samples)."
    )

    report: Path | None = _setting(_path, OUTPUT, "F.json", "Write results as JSON.")
    plot: Path | None = _setting(_path, OUTPUT, "F.png", "Draw accuracy, errors and flips.")
    save: Path | None = _setting(_path, OUTPUT, "F.npz", "Save the trained chip: popflip infer, or --resume.")
    resume: Path | None = _setting(_path, OUTPUT, "F.npz", "Go on with a run that was saved.")


SETTINGS: dict[str, Field] = {setting.name: setting for setting in fields(Settings)}


def flag(name: str) -> str:
    """The flag of a setting, and (without its dashes) its key in a file."""
    return "--" + name.replace("_", "-")


def parse(given: Mapping[str, object], file: Path | None = None) -> Settings:
    """Settings from flags (by field name; None is not given) over those of a TOML ``file``."""
    values = {} if file is None else _from_file(file)
    values |= {name: _parse_one(name, value, flag(name)) for name, value in given.items() if value is not None}
    return Settings(**values)


def _parse_one(name: str, value: object, label: str) -> object:
    try:
        return SETTINGS[name].metadata["parse"](value)
    except ConfigError as error:
        raise ConfigError(f"{label}: {error}") from None


def _from_file(path: Path) -> dict[str, Any]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(f"--config {path}: {reason(error)}") from None
    except ValueError as error:
        raise ConfigError(f"--config {path}: not TOML: {error}") from None
    values = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name not in SETTINGS:
            near = difflib.get_close_matches(name, SETTINGS, 1)
            hint = f"did you mean {flag(near[0])[2:]}?" if near else "keys are those of popflip train --help"
            raise ConfigError(f"--config {path}: there is no key {key!r}; {hint}")
        values[name] = _parse_one(name, value, f"--config {path}: {key}")
    return values
