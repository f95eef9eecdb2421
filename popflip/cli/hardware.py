"""``popflip verilog``, ``build`` and ``estimate``: a chip as Verilog, as a bitstream, and as an estimate."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from popflip.cli.device import chip_for
from popflip.cli.display import Progress, announce, table
from popflip.cli.options import CHIP, CHIP_ALONE, EXPERIMENT, Settings, with_settings
from popflip.cli.start import interruptible
from popflip.errors import ConfigError

if TYPE_CHECKING:
    from popflip.constraints.base import Board, Fit
    from popflip.hw.config import ChipConfig

BoardName = Annotated[str, typer.Option(metavar="NAME", help="The board; popflip info lists them.")]
NETWORK = tuple(name for name in CHIP_ALONE if name not in CHIP)
"""The parameters of :func:`popflip.experiment.network` that shape a chip."""
COUNTED_BATCHES = 60  # at least, of a run with convolutions: to count one takes longer than to learn it


@with_settings(CHIP_ALONE)
def verilog(
    settings: Settings,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="F.v", help="File to write; - writes to stdout.")
    ] = Path("popflip.v"),
) -> None:
    """Write the chip for a network as Verilog: trainer and link, with one byte stream in and one out."""
    from popflip.experiment import network
    from popflip.files import check_writable, whole_file
    from popflip.verilog import convert

    screen = str(output) == "-"
    if not screen:
        check_writable(output=output)
    chip = chip_for(settings, network(**settings.values(NETWORK)))
    interruptible()
    text = convert(chip)
    if screen:
        sys.stdout.write(text)
        return
    with whole_file(output) as file:
        file.write(text.encode())
    print(f"{output}: {text.count(chr(10))} lines")


@with_settings((*CHIP_ALONE, "link", "baud"))
def build(
    settings: Settings,
    board: BoardName,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the bitstream and its report.")
    ] = Path("build"),
    keep: Annotated[
        bool,
        typer.Option("--keep", help="Also keep the netlists of synthesis and routing, for popflip verify --level."),
    ] = False,
) -> None:
    """Build a board's bitstream: synthesis, place and route, packing, and a report. All tools come as wheels.

    Without --preset or --layers: the first network that is known to fit the board. A network that needs far more than
    the board has is refused at once.
    """
    from popflip.bitstream import builds

    entry, fit, chip = board_chip(settings, board)
    interruptible()
    table(builds.make(entry, fit, chip, output, announce, keep))


def board_chip(settings: Settings, name: str) -> tuple[Board, Fit, ChipConfig]:
    """The board called ``name``, the fit, and the chip that the settings describe, which has room on the board.

    Raises :class:`ConfigError` also if the link's gateware is not installed.
    """
    from popflip.constraints.base import require_luna
    from popflip.constraints.links import UsbLink
    from popflip.estimation.resources import check_room
    from popflip.experiment import network

    entry, fit = _board(settings, name)
    if isinstance(entry.link, UsbLink):
        require_luna()
    config = network(default=fit.preset, **settings.values(NETWORK))
    fit = entry.fit_like(fit, config)
    chip = entry.chip(fit, config, **settings.values(CHIP))
    check_room(entry, chip)
    return entry, fit, chip


@with_settings((*EXPERIMENT, "limit_batches", *(name for name in CHIP if name != "store"), "link", "baud"))
def estimate(
    settings: Settings,
    board: BoardName,
    auto: Annotated[
        bool, typer.Option("--auto", help="Choose the fastest --rows, --synapses and --learn-rows that fit.")
    ] = False,
) -> None:
    """Estimate a network's speed on a board and the FPGA resources it needs. Nothing is built.

    The golden model makes the run and triggers the same updates as the chip, so the cycles of forward, learn, select
    and flip are exact. Waiting cycles, logic and memory come from a model. The table ends with the seconds of the whole
    run, and what bounds it. A list of other geometries that fit follows. Of a run with convolutions, some 60 batches or
    more are counted.

    With --dataset: the network that popflip train would train on that data; your own data starts from the board's first
    preset.
    """
    from popflip.estimation import bounds
    from popflip.estimation.estimate import check, rows
    from popflip.estimation.estimate import estimate as estimate_chip
    from popflip.estimation.search import better, fastest, ranking
    from popflip.estimation.workload import count_work
    from popflip.experiment import prepare
    from popflip.golden.presets import Augment
    from popflip.steps import batches_to_run

    entry, fit = _board(settings, board)
    experiment = prepare(default=fit.preset, **settings.values(EXPERIMENT))
    for note in experiment.notes:
        announce(note)
    chip = entry.chip(fit, experiment.config, **settings.values(CHIP) | {"store": 0})
    check(experiment.config)
    last = batches_to_run(experiment.config, len(experiment.y_train), settings.limit_batches)
    if last == 0:
        raise ConfigError("limit_batches: 0 batches say nothing about speed; use 1 or more")
    interruptible()
    with Progress(0, last, experiment.config.batch) as progress:
        every = max(1, last // COUNTED_BATCHES) if experiment.config.convolves else 1
        work = count_work(experiment, settings.limit_batches, progress.update, every)
    found = better(entry, fit.clock_hz, chip, work)
    if auto:
        chip = fastest(found, entry)
    result = estimate_chip(entry, fit.clock_hz, chip, work)
    replay = experiment.augment == Augment.NONE
    table([*rows(result), *bounds.rows(result, len(experiment.y_train), replay)])
    print()
    for line in ranking(found):
        print(line)


def _board(settings: Settings, name: str) -> tuple[Board, Fit]:
    """The board called ``name``, with the link of the settings, and the fit for their preset and rule.

    Raises :class:`ConfigError` if the board has no such link, or the fit's clock cannot make its speed.
    """
    from popflip import constraints
    from popflip.constraints.links import UartLink
    from popflip.hw.link.uart import divisor

    if isinstance(settings.baud, str):
        raise ConfigError("baud: a bitstream needs a number; auto is for a chip that answers")
    board = constraints.board(name).linked(settings.link, settings.baud)
    fit = board.fit(settings.preset, settings.rule)
    if isinstance(board.link, UartLink):
        divisor(fit.clock_hz, board.link.baud)
    return board, fit
