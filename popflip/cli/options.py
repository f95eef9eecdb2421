"""The settings of the command line: one list defines the flags, the keys of a ``--config`` file, and their help."""

# ruff: noqa: RUF009  (_setting makes a dataclass field)

from __future__ import annotations

import difflib
import inspect
import math
import os
import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import Field, dataclass, field, fields
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from popflip.errors import ConfigError, FileError
from popflip.files import check_outputs_differ, read_input

Number = int | float

SHOWN = 60  # characters of a value that a message quotes
MAX_BAUD = 12_000_000
MAX_FILE = 2**20  # bytes of a settings file

DATA_SET, NETWORK, LEARNING, HARDWARE, OUTPUT = "Data", "Network", "Learning", "Device", "Results"
"""Headings of the flags in the help."""


# Values ---------------------------------------------------------------------------------------------------------------


def _text(value: object) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ConfigError(f"{_shown(value)} is not a name")
    return value


def _shown(value: object) -> str:
    """``value`` as a message quotes it, shortened."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _path(value: object) -> Path:
    return Path(_text(value))


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{_shown(value)} is not true or false")
    return value


def _integer(value: object) -> int:
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            pass
    elif isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ConfigError(f"{_shown(value)} is not a whole number")


def _count(value: object) -> int:
    number = _integer(value)
    if number < 0:
        raise ConfigError(f"{_shown(number)} is less than 0")
    return number


def _positive(value: object) -> int:
    number = _integer(value)
    if number < 1:
        raise ConfigError(f"{_shown(number)} is less than 1")
    return number


def _baud(value: object) -> int | str:
    if value == "auto":
        return "auto"
    number = _positive(value)
    if number > MAX_BAUD:
        raise ConfigError(f"{_shown(number)} is more than {MAX_BAUD}, the fastest of serial adapters")
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
    raise ConfigError(f"{_shown(value)} is not a number")


def _share(value: object) -> Number:
    number = _number(value)
    if not 0 < number < 1:
        raise ConfigError(f"{_shown(number)} is not between 0 and 1")
    return number


def _seconds(value: object) -> Number:
    number = _number(value)
    if number < 0:
        raise ConfigError(f"{number} is less than 0")
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


def _layers(value: object) -> tuple[int | str, ...]:
    """``784,256,10`` or ``28x28,c16k5p2,10``; in a file also a list."""
    from popflip.golden.layers import parse, plain

    return plain(parse([value] if isinstance(value, int) else value))


def _column(value: object) -> str:
    return _text(str(value) if isinstance(value, int) and not isinstance(value, bool) else value)


def _shift(value: object) -> int | str:
    return "none" if value == "none" else _integer(value)


# The list -------------------------------------------------------------------------------------------------------------


def _setting(parse: Callable[[object], Any], panel: str, metavar: str, text: str) -> Any:
    return field(default=None, metadata={"parse": parse, "panel": panel, "metavar": metavar, "help": text})


@dataclass(frozen=True)
class Settings:
    """Values from flags and file keys; None: not given. Field ``test_split`` is ``--test-split`` or ``test-split``."""

    preset: str | None = _setting(_text, DATA_SET, "NAME", "Experiment to start from; popflip info lists the presets.")
    dataset: str | None = _setting(
        _text,
        DATA_SET,
        "NAME|FILE",
        "digits, mnist, mnist-tiles, fashion-mnist, "
        "prototypes[:classes=10,bits=1000,flip=0.44,train=10000,test=2000,seed=1] (synthetic; name the parameters that "
        "differ), or your own .csv (class in the last column, or --label) or .npz (x, y).",
    )
    label: str | None = _setting(
        _column, DATA_SET, "NAME|N", "Your own CSV: the class column, by name or position; −1 is the last (−1)."
    )
    data_dir: Path | None = _setting(
        _path, DATA_SET, "DIR", "Folder that holds mnist/ or fashion-mnist/, instead of $POPFLIP_DATA or a download."
    )
    thresholds: tuple[Number, ...] | None = _setting(
        _list_of(_number), DATA_SET, "T,T,…", "Each value becomes one bit per threshold: value ≥ T."
    )
    levels: int | None = _setting(
        _count, DATA_SET, "N", "Your own data: number of thresholds to take from the quantiles of each value (4)."
    )
    test_split: Number | None = _setting(
        _share, DATA_SET, "SHARE", "Your own data: share of samples held out for testing (0.2)."
    )
    augment: str | None = _setting(
        _text, DATA_SET, "none|shift", "shift: move each training image by 0 or 1 pixel at random in every epoch."
    )

    layers: tuple[int | str, ...] | None = _setting(
        _layers,
        NETWORK,
        "N,N,…",
        "Input bits, hidden widths and classes, as 256,64,10; or an image, convolutions (c rows, k kernel, s stride, "
        "p pool) and classes, as 28x28,c16k5p2,c32k5s2,10. Rule lbe: input bits and neurons per layer, as 256,128.",
    )
    precision: str | None = _setting(_text, NETWORK, "NAME", "Weights: binary or ternary. Rule lbe: binary.")
    mmax: tuple[int, ...] | None = _setting(
        _list_of(_integer),
        NETWORK,
        "N[,N,…]",
        "Counters saturate at ±N; one number, or one per layer. Rule lbe: at −N−1 and N, as 127 or 63.",
    )
    dclip: int | None = _setting(_integer, NETWORK, "N", "Rule gft: limit of a hidden neuron's error.")

    rule: str | None = _setting(_text, LEARNING, "NAME", "Learning rule: gft or lbe.")
    batch: int | None = _setting(_integer, LEARNING, "SAMPLES", "Rule gft: samples per batch.")
    epochs: int | None = _setting(_integer, LEARNING, "N", "Passes over the training samples.")
    k0: tuple[int, ...] | None = _setting(
        _list_of(_integer), LEARNING, "N,N,…", "Rule gft: weights selected in the first batch, one number per layer."
    )
    margin: tuple[int, ...] | None = _setting(
        _list_of(_integer),
        LEARNING,
        "N[,N,…]",
        "Rule gft: a sample triggers an update unless its class leads by more than N. Rule lbe: a layer is updated if "
        "the class leads by less than N; one number, or one per layer.",
    )
    group: tuple[int, ...] | None = _setting(
        _list_of(_integer),
        LEARNING,
        "N[,N,…]",
        "Rule lbe: neurons per group; a sample updates at most one of them. One number, or one per layer.",
    )
    near: tuple[int, ...] | None = _setting(
        _list_of(_integer),
        LEARNING,
        "N[,N,…]",
        "Rule lbe: a right neuron with |sum| < N is updated in a group without a wrong one (0). One number, or one per "
        "layer.",
    )
    reinforce_p256: int | None = _setting(
        _integer,
        LEARNING,
        "0…256",
        "Rule lbe: an updated counter takes one more step away from 0 with probability N/256.",
    )
    window: tuple[int, ...] | None = _setting(
        _list_of(_integer),
        LEARNING,
        "N,N,…",
        "Rule gft: a hidden neuron learns if |sum| ≤ N; one number per hidden layer.",
    )
    shift: int | str | None = _setting(
        _shift, LEARNING, "N|none", "Rule gft: counters lose m >> N at the end of a batch; none: they are cleared."
    )
    flip_p256: int | None = _setting(
        _integer, LEARNING, "1…256", "Rule gft: a selected weight flips with probability N/256."
    )
    seed: int | None = _setting(_integer, LEARNING, "N", "Seed of every random number in the run.")
    order: str | None = _setting(
        _text,
        LEARNING,
        "numpy|chip",
        "Order of the samples in each epoch: NumPy's, or one that a chip makes by itself, so that it walks through its "
        "stored set without the host (numpy).",
    )
    limit_batches: int | None = _setting(
        _count, LEARNING, "N", "Stop after N batches (rule lbe: samples); the schedule stays that of the full run."
    )

    device: str | None = _setting(
        _text,
        HARDWARE,
        "golden|sim|usb|PORT",
        "Golden model, simulated chip, or a board: usb, or its port, as /dev/ttyUSB1 or COM3.",
    )
    rows: int | None = _setting(_integer, HARDWARE, "P", "Rows of the chip's MAC array (4).")
    synapses: int | None = _setting(_integer, HARDWARE, "N", "Synapses per row and cycle of the MAC array (32).")
    store: int | None = _setting(
        _count,
        HARDWARE,
        "SAMPLES",
        "Training samples that the chip can store: a power of two (board: all that fit; sim: 0).",
    )
    replay: bool | None = _setting(
        _boolean,
        HARDWARE,
        "",
        "Send training samples once, then only their numbers (default: if the chip can store them).",
    )
    compact: bool | None = _setting(
        _boolean, HARDWARE, "", "Rule gft: put the counters into the single-port RAM of an iCE40 UP5K."
    )
    baud: int | str | None = _setting(
        _baud, HARDWARE, "N|auto", "Baud rate of a board's UART (1000000); auto: the one at which its chip answers."
    )
    link: str | None = _setting(
        _text,
        HARDWARE,
        "uart[@N]|usb",
        "Link of a board's bitstream: a UART, with its baud rate, or the FPGA's own USB (uart@1000000).",
    )
    learn_rows: int | None = _setting(
        _integer,
        HARDWARE,
        "P",
        "Rule gft: first-layer rows updated per cycle, at most --rows and --synapses (1).",
    )
    waves: Path | None = _setting(_path, HARDWARE, "F.vcd", "Record all signals of the simulated chip.")
    verify: bool | None = _setting(
        _boolean, HARDWARE, "", "Compare with the golden model after every batch (rule lbe: every 256 samples)."
    )

    report: Path | None = _setting(_path, OUTPUT, "F.json", "Write results as JSON.")
    plot: Path | None = _setting(
        _path, OUTPUT, "F.png|svg|pdf", "Plot accuracy, updates and flips, and how well each class is predicted."
    )
    save: Path | None = _setting(
        _path, OUTPUT, "F.npz", "Save the network, for popflip infer or --resume: during the run, and at its end."
    )
    save_every: Number | None = _setting(
        _seconds, OUTPUT, "SECONDS", "Time between two saves during the run (60); 0: after every batch."
    )
    resume: Path | None = _setting(_path, OUTPUT, "F.npz", "Resume a saved run; --save may name the same file.")
    start: Path | None = _setting(
        _path,
        OUTPUT,
        "F.npz",
        "Rule gft: begin a new run with the weights of a saved network, on data of the same shape (--dataset).",
    )
    allow_other_data: bool | None = _setting(
        _boolean, OUTPUT, "", "Use the data set of a saved network even if its samples are others now."
    )

    def values(self, names: Iterable[str]) -> dict[str, Any]:
        """The settings ``names`` as keyword arguments, without those that are None."""
        return {name: value for name in names if (value := getattr(self, name)) is not None}


SETTINGS: dict[str, Field] = {setting.name: setting for setting in fields(Settings)}

LEARN = (
    *("rule", "layers", "precision", "mmax", "dclip", "batch", "epochs", "k0", "margin", "group", "near"),
    *("reinforce_p256", "window", "shift", "flip_p256", "seed", "order"),
)
"""The parameters of the network and of its rule."""
DATA = ("preset", "dataset", "label", "data_dir", "thresholds", "levels", "test_split", "augment")
FIXED = ("preset", "thresholds", "levels", "rule", "layers", "precision")
"""What a saved network fixes for a run that starts with its weights."""
EXPERIMENT = (*DATA, *LEARN)
"""The settings that determine the result of a run: the parameters of :func:`popflip.experiment.prepare`."""
CHIP = ("rows", "synapses", "learn_rows", "store", "compact")
"""The parameters of a chip besides its network."""
DEVICE = ("device", *CHIP, "baud", "waves")
RUN = (*EXPERIMENT, "limit_batches", *DEVICE, "replay")
WRITTEN = ("report", "plot", "save", "waves")
"""The files that a command writes."""
CHIP_ALONE = ("preset", "rule", "layers", "precision", "mmax", "dclip", *CHIP)
"""The settings that determine a chip and its bitstream."""
FILES = ("dataset", "data_dir", "waves", "report", "plot", "save", "resume", "start")
"""The settings that are, or may be, names of files."""
OF_COMMANDS = ("board", "output", "model", "predictions", "auto", "bitstream", "level", "keep")
"""Parameters of single commands, outside :class:`Settings`."""


# Names ----------------------------------------------------------------------------------------------------------------


def flag(name: str) -> str:
    """The flag of a setting; without its dashes, the setting's key in a file."""
    return "--" + name.replace("_", "-")


def with_flag(message: str) -> str:
    """``message`` with the parameter name at its start, if any, replaced by the flag that sets the parameter."""
    found = re.match(r"(\w+)(\[\d+\])?: ", message)
    if found is None or found[1] not in {*SETTINGS, *OF_COMMANDS}:
        return message
    return flag(found[1]) + message[found.end(1) :]


# Parsing --------------------------------------------------------------------------------------------------------------


def parse(
    given: Mapping[str, object],
    file: Path | None = None,
    names: Collection[str] = tuple(SETTINGS),
    command: str = "train",
) -> Settings:
    """Settings from the flags ``given`` (by field name; None: not given) and a TOML ``file``. Flags win.

    The file may hold the settings ``names``, those of ``command``. Raises :class:`FileError` if it cannot be read, and
    :class:`ConfigError` that names a bad flag or key.
    """
    values = {} if file is None else _from_file(file, names, command)
    values |= {name: _parse_one(name, value, flag(name)) for name, value in given.items() if value is not None}
    return Settings(**values)


def _parse_one(name: str, value: object, label: str) -> object:
    try:
        return SETTINGS[name].metadata["parse"](value)
    except ConfigError as error:
        message = str(error)  # may start with the name, as "layers[1]: …" does
        text = message.removeprefix(name) if message.startswith((f"{name}:", f"{name}[")) else f": {message}"
        raise ConfigError(f"{label}{text}") from None


def _from_file(path: Path, names: Collection[str], command: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in _table(path).items():
        name = key.replace("-", "_")
        if name not in names:
            raise ConfigError(f"--config {path}: {_unknown(key, name, names, command)}")
        if name in values:
            raise ConfigError(f"--config {path}: {flag(name)[2:]} is given twice, once as {key}; leave one out")
        values[name] = _parse_one(name, _with_home(name, value, path), f"--config {path}: {key}")
    return values


def _table(path: Path) -> dict[str, Any]:
    """The keys and values of a TOML file, which may begin with a byte order mark."""
    try:
        content = read_input(path, MAX_FILE, "settings")
    except FileError as error:
        raise FileError(f"--config {error}") from None
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except RecursionError:
        raise ConfigError(f"--config {path}: not settings: its lists are nested too deeply") from None
    except ValueError as error:  # of the encoding, of TOML, or of a number with thousands of digits
        raise ConfigError(f"--config {path}: not TOML: {error}") from None


def _unknown(key: str, name: str, names: Collection[str], command: str) -> str:
    """What is wrong with a ``key`` that is not among the settings ``names`` of ``command``."""
    if name in SETTINGS:
        return f"popflip {command} does not use {_shown(key)}; leave it out"
    close = difflib.get_close_matches(name, names, 1)
    hint = f"did you mean {flag(close[0])[2:]}?" if close else f"keys are those of popflip {command} --help"
    return f"there is no key {_shown(key)}; {hint}"


def _with_home(name: str, value: object, path: Path) -> object:
    """``value`` with a leading ``~`` expanded if it names a file; on the command line, the shell does that."""
    if name not in FILES or not isinstance(value, str) or not value.startswith("~"):
        return value
    try:
        return os.path.expanduser(value)
    except (RuntimeError, ValueError):
        raise ConfigError(f"--config {path}: {flag(name)[2:]}: the home folder in {value!r} is not known") from None


# Commands -------------------------------------------------------------------------------------------------------------


def with_settings(names: Collection[str]) -> Callable[[Callable], Callable]:
    """Decorator for a command whose first parameter is ``settings``: add the flags of ``names``, and ``--config``."""

    def wrap(command: Callable) -> Callable:
        own = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for parameter in list(inspect.signature(command, eval_str=True).parameters.values())[1:]
        ]

        @wraps(command)
        def run(*, config: Path | None, **values: object) -> object:
            given = {name: values.pop(name) for name in names}
            settings = parse(given, config, names, command.__name__)
            outputs = {**settings.values(WRITTEN), **{name: values.get(name) for name in ("output", "predictions")}}
            check_outputs_differ(outputs, {"config": config})
            return command(settings, **values)

        parameters = [*own, _config_option(), *map(_option, names)]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        del run.__wrapped__  # type: ignore[attr-defined]
        return run

    return wrap


def _option(name: str) -> inspect.Parameter:
    """The flag of the setting ``name`` as a typer option."""
    about = SETTINGS[name].metadata
    switch = not about["metavar"]
    kind = bool if switch else str
    declaration = typer.Option(
        f"{flag(name)}/{flag(f'no_{name}')}" if switch else flag(name),
        help=about["help"],
        metavar=None if switch else about["metavar"],
        rich_help_panel=about["panel"],
        show_default=False,
    )
    return _keyword(name, Annotated[kind | None, declaration])


def _config_option() -> inspect.Parameter:
    text = "Settings from a file; its keys are the flags' names. Flags win."
    return _keyword("config", Annotated[Path | None, typer.Option(metavar="F.toml", help=text)])


def _keyword(name: str, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
