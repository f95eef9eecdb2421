"""``popflip train`` and ``popflip verify``: a run on a device, optionally with the golden model alongside."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from popflip.cli.device import device_for
from popflip.cli.display import Progress, announce, table
from popflip.cli.options import EXPERIMENT, FIXED, RUN, WRITTEN, Settings, flag, with_settings
from popflip.cli.outputs import Outputs, Saver
from popflip.cli.signals import held

if TYPE_CHECKING:
    from popflip.checkpoint import Checkpoint
    from popflip.devices.base import Device
    from popflip.experiment import Experiment
    from popflip.golden.config import AnyConfig
    from popflip.history import Run


class Level(StrEnum):
    """What ``verify --bitstream`` simulates: :data:`popflip.silicon.simulation.LEVELS`, without importing it."""

    bitstream = "bitstream"
    route = "route"
    synthesis = "synthesis"


SimulatedBoard = Annotated[
    str | None,
    typer.Option(
        "--board",
        metavar="NAME",
        help="With --device sim: simulate the chip that this board has, with its memories; popflip info lists boards.",
        show_default=False,
    ),
]
"""The board whose chip a command simulates."""
PROBED = 8
"""Samples from which the size of a file of waves is estimated."""
BITSTREAM_STEPS = 2
"""Steps (batches, or under LBE groups of them) that ``verify --bitstream`` trains without ``--limit-batches``."""
TEST_SAMPLES = 256
"""Test samples that a simulated bitstream predicts: its link is simulated bit by bit."""


@with_settings((*RUN, "verify", "report", "plot", "save", "save_every", "resume", "start", "allow_other_data"))
def train(settings: Settings, board: SimulatedBoard = None) -> None:
    """Train a network on the golden model, the simulated chip or a board, and test it.

    Without flags, it trains the digits preset on the golden model. Rules of thumb choose the parameters that you leave
    out.
    """
    from popflip import report as reports
    from popflip import training
    from popflip.scores import score
    from popflip.steps import batch_name
    from popflip.verification import same_predictions

    experiment, start = _experiment(settings)
    reports.check_plot(settings.plot)
    config, name = experiment.config, settings.device or "golden"
    saver, outputs = Saver(settings, experiment, start, batch_name(config)), Outputs()
    with (
        saver.explained(),
        device_for(settings, name, config, board) as device,
        _golden(bool(settings.verify), config) as golden,
    ):
        run = _run(settings, experiment, start, device, golden, saver)
        assert run.end is not None
        saver.finish()
        link = device.link_speed
        predictions = training.infer(device, experiment.x_test, run.end, announce)
        if golden is not None:
            same_predictions(predictions, golden.infer(experiment.x_test))
        outputs.attempt(device.close)
    test_accuracy = training.accuracy(predictions, experiment.y_test)
    report = reports.build(
        experiment, name, run, run.end.status, run.end.state.sha256(), test_accuracy, link, predictions
    )
    scores = score(predictions, experiment.y_test, config.classes)
    with outputs:
        if saver.failure is not None:
            outputs.fail(saver.failure)
        if settings.report:
            outputs.attempt(reports.write, settings.report, report, path=settings.report)
        if settings.plot:
            weights = run.end.state.weights
            drawn = (run.history, config, test_accuracy, scores, weights)
            outputs.attempt(reports.plot, settings.plot, *drawn, path=settings.plot)
        table(reports.rows(report))


@with_settings((*RUN, "resume", "start", "allow_other_data"))
def verify(
    settings: Settings,
    board: SimulatedBoard = None,
    bitstream: Annotated[
        Path | None,
        typer.Option(
            "--bitstream",
            metavar="FILE",
            help="Verify a packed bitstream: unpack it to a netlist and simulate that, over the pins of its link.",
        ),
    ] = None,
    level: Annotated[
        Level | None,
        typer.Option(
            "--level",
            help="With --bitstream: simulate the bitstream itself, or a netlist that popflip build --keep left beside "
            "it, from after routing or after synthesis.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Train a device (by default the simulated chip) and the golden model side by side.

    After every batch (rule lbe: after every 256 samples, and at the end) all weights, counters, the random state, the
    signature and the counts must be equal. If not, the command prints the batch, layer, row, word and both values of
    the first difference, and exits with code 1.
    """
    from popflip.errors import ConfigError

    if bitstream is not None:
        if board is not None:
            raise ConfigError("board: the bitstream decides it; leave it out")
        _verify_bitstream(settings, bitstream, level or Level.bitstream)
        return
    from popflip.golden.config import Rule
    from popflip.steps import LBE_STEP

    if level is not None:
        raise ConfigError("level: is for a bitstream; name it with --bitstream")
    experiment, start = _experiment(settings)
    config, name = experiment.config, settings.device or "sim"
    with device_for(settings, name, config, board) as device, _golden(True, config) as golden:
        run = _run(settings, experiment, start, device, golden)
        assert run.end is not None
        signature = run.end.status.signature
    compared = f"{run.verified} steps of {LBE_STEP} samples" if config.rule == Rule.LBE else f"{run.verified} batches"
    print(f"{name} equals golden in every bit after each of {compared} (signature {signature:08x})")


def _verify_bitstream(settings: Settings, file: Path, level: Level) -> None:
    """Train the chip in the bitstream ``file``, or in a netlist of its build, and compare it with the golden model.

    It trains two steps by default.
    """
    from popflip.devices.chip import ChipDevice
    from popflip.devices.golden import GoldenDevice
    from popflip.errors import ConfigError
    from popflip.experiment import prepare
    from popflip.hw.config import check_runs_on_chips
    from popflip.silicon.simulation import Bitstream, BitstreamChip
    from popflip.steps import step_batches
    from popflip.training import check_run

    taken = (*EXPERIMENT, "limit_batches", "replay")
    for name in (*RUN, "resume", "start", "allow_other_data"):
        if name not in taken and getattr(settings, name) is not None:
            raise ConfigError(f"{flag(name)}: the bitstream decides it; leave it out")
    bitstream = Bitstream.load(file)
    given = settings.values(EXPERIMENT)
    if "preset" not in given and "layers" not in given:
        given["preset"] = bitstream.preset
    experiment = prepare(**given)
    config = experiment.config
    check_runs_on_chips(config)
    limit = settings.limit_batches or BITSTREAM_STEPS * step_batches(config)
    with (
        ChipDevice(BitstreamChip(bitstream, announce, level), config, str(file)) as device,
        GoldenDevice(config) as golden,
    ):
        limited = replace(settings, limit_batches=limit)
        run = _run(limited, experiment, None, device, None)
        expected = _run(replace(limited, replay=None), experiment, None, golden, None)  # it has no store
        check_run(run, expected, device, golden, experiment.x_test[:TEST_SAMPLES])
        status = golden.status()
    shown = file if level == Level.bitstream else f"{file}'s netlist after {level}"
    print(
        f"{shown} equals golden after {status.batches} batches, in every weight, counter and count, in the signature "
        f"{status.signature:08x} and in {min(TEST_SAMPLES, len(experiment.x_test))} predictions"
    )


def _experiment(settings: Settings) -> tuple[Experiment, Checkpoint | None]:
    """The experiment that the settings describe, and the checkpoint that it goes on from (``--resume``, ``--start``).

    Before any data is loaded, checks that all outputs can be written and that none of them is an input.
    """
    from popflip.checkpoint import load
    from popflip.errors import ConfigError
    from popflip.experiment import from_checkpoint, prepare
    from popflip.files import check_outputs_differ, check_writable

    outputs = settings.values(WRITTEN)
    check_writable(**outputs)
    check_outputs_differ(outputs, {"dataset": settings.dataset, "start": settings.start})
    if settings.start is not None:
        return _from_weights(settings)
    if settings.resume is None:
        experiment = prepare(**settings.values(EXPERIMENT))
        for note in experiment.notes:
            announce(note)
        return experiment, None
    check_outputs_differ(settings.values(("report", "plot", "waves")), {"resume": settings.resume})
    start = load(settings.resume)
    check_outputs_differ(outputs, {"dataset": start.dataset})
    for name in EXPERIMENT:
        if name != "data_dir" and getattr(settings, name) is not None:
            raise ConfigError(f"--resume: the saved run fixes {flag(name)}; leave it out")
    return from_checkpoint(start, settings.data_dir, bool(settings.allow_other_data)), start


def _from_weights(settings: Settings) -> tuple[Experiment, Checkpoint]:
    """The experiment of ``--start``, and the checkpoint that it begins from."""
    from popflip.checkpoint import load
    from popflip.errors import ConfigError
    from popflip.experiment import from_weights
    from popflip.files import check_outputs_differ

    assert settings.start is not None
    for name in ("resume", "allow_other_data"):
        if getattr(settings, name) is not None:
            raise ConfigError(f"{flag(name)}: --start begins a new run; leave one of the two out")
    for name in FIXED:
        if getattr(settings, name) is not None:
            raise ConfigError(f"{flag(name)}: the network of --start fixes it; leave it out")
    start = load(settings.start)
    check_outputs_differ(settings.values(WRITTEN), {"dataset": start.dataset})
    given = settings.values(name for name in EXPERIMENT if name not in FIXED)
    experiment, begin = from_weights(start, **given)
    for note in experiment.notes:
        announce(note)
    return experiment, begin


def _golden(wanted: bool, config: AnyConfig) -> Device | nullcontext[None]:
    from popflip.devices.golden import GoldenDevice

    return GoldenDevice(config) if wanted else nullcontext()


def _run(
    settings: Settings,
    experiment: Experiment,
    start: Checkpoint | None,
    device: Device,
    golden: Device | None,
    saver: Saver | None = None,
) -> Run:
    """Train with progress on the screen. Ctrl-C stops the run after the step in which it comes."""
    from popflip import training
    from popflip.repair import SAVE_EVERY
    from popflip.steps import batch_name, batches_to_run, step_batches

    config, samples = experiment.config, len(experiment.y_train)
    first = start.status.batches if start else 0
    last = batches_to_run(config, samples, settings.limit_batches)
    step = config.batch * step_batches(config)
    if settings.waves:
        announce(_size_of_waves(settings.waves, device, experiment, max(0, last - first) * config.batch))
    with Progress(first, last, step, batch_name(config)) as progress, held() as stop:
        return training.run(
            device,
            experiment.training_samples,
            experiment.y_train,
            start=(start.state, start.status) if start else None,
            golden=golden,
            limit=settings.limit_batches,
            replay=settings.replay,
            announce=announce,
            on_step=progress.update,
            save=None if saver is None or saver.path is None else saver,
            save_every=SAVE_EVERY if settings.save_every is None else settings.save_every,
            stop=stop,
        )


def _size_of_waves(path: Path, device: Device, experiment: Experiment, samples: int) -> str:
    """A line about the size that the file of waves reaches, from what a few samples write.

    Inference changes nothing that the run does not reset or load.
    """
    few = experiment.x_test[:PROBED]
    device.reset()
    device.status()
    before = path.stat().st_size
    device.infer(few)
    per_sample = (path.stat().st_size - before) / len(few)
    samples += len(experiment.x_test)
    size = per_sample * samples
    shown = f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
    return f"{path} will have about {shown}, for {samples} samples to train and test; --limit-batches makes it smaller"
