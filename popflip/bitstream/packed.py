"""Which FPGA a packed bitstream is for, by its own bytes.

An ECP5's file starts with a comment that names the part (ecppack). An iCE40's holds no name, but the size of its memory
banks, which differs between the devices (Project IceStorm, "Bitstream file format").
"""

from __future__ import annotations

import re
from pathlib import Path

from amaranth.build import Platform

from popflip.bitstream.families import ICE40, family_of
from popflip.constraints.base import Board
from popflip.errors import BuildError, FileError
from popflip.files import read_input

MOST_BYTES = 2**24
"""More bytes than a bitstream of any FPGA has that Popflip knows."""
PART = re.compile(rb"\xff\x00(?:[^\x00]*\x00)*?Part: ([\w-]+)\x00")
ICE40_START = b"\x7e\xaa\x99\x7e"
ICE40_BANKS = {(332, 144): "iCE40HX1K", (692, 336): "iCE40UP5K", (872, 272): "iCE40HX8K"}
"""Devices by the width and height of a bank, in bits."""
ECP5_PACKAGES = {"BG256": "CABGA256", "BG381": "CABGA381", "MG285": "CSFBGA285", "TQ144": "TQFP144"}
"""Lattice's names of packages, by those of Amaranth's platforms."""


def part_of(content: bytes) -> str | None:
    """The FPGA that a bitstream is for, as ``LFE5U-85F-6CABGA381`` or ``iCE40UP5K``; None if it is no bitstream."""
    if (found := PART.match(content)) is not None:
        return found[1].decode()
    start = content.find(ICE40_START)
    return _ice40_device(content, start + len(ICE40_START)) if start >= 0 else None


def part_for(platform: Platform) -> str:
    """The FPGA of ``platform``, in the words of :func:`part_of`; of an ECP5 without its speed grade."""
    if family_of(platform) is ICE40:
        return platform.device
    return f"{platform.device}-{ECP5_PACKAGES[platform.package]}"


def check_file(file: Path, board: Board) -> bytes:
    """The content of ``file``, a bitstream for the FPGA of ``board``.

    Raises :class:`BuildError` if it is something else or for another FPGA, and :class:`FileError` if it cannot be read.
    """
    platform = board.platform()
    suffix = "." + family_of(platform).suffix
    if file.suffix != suffix:
        raise BuildError(f"bitstream: {file} does not end in {suffix}, as those of {board.name} do")
    try:
        content = read_input(file, MOST_BYTES, "a bitstream")
    except FileError as error:
        raise FileError(f"bitstream: {error}") from None
    part, wanted = part_of(content), part_for(platform)
    if part is None:
        raise BuildError(f"bitstream: {file} is not a bitstream of an {'ECP5' if suffix == '.bit' else 'iCE40'}")
    if _without_speed(part).lower() != wanted.lower():
        raise BuildError(f"bitstream: {file} is for an FPGA {part}; {board.summary} has {wanted}")
    return content


def _without_speed(part: str) -> str:
    """``LFE5U-85F-CABGA381`` for ``LFE5U-85F-6CABGA381``; other names as they are."""
    return re.sub(r"^(LFE5\w+-\w+)-\d(\w+)$", r"\1-\2", part)


def _ice40_device(content: bytes, place: int) -> str | None:
    """The device of an iCE40's bitstream, whose commands begin at ``place``.

    A command is a byte with its code in the upper half and the size of its payload in the lower: 6 sets the width of a
    bank less 1, 7 its height, 0 with payload 1 begins the data.
    """
    values: dict[int, int] = {}
    while place < len(content) and not {6, 7} <= values.keys():
        code, size = content[place] >> 4, content[place] & 15
        values[code] = int.from_bytes(content[place + 1 : place + 1 + size], "big")
        if code == 0 and values[code] in (1, 3):  # data of unknown length
            return None
        place += 1 + size
    width, height = values.get(6, -1) + 1, values.get(7, -1)
    return ICE40_BANKS.get((width, height), f"iCE40 with banks of {width} × {height} bits") if 6 in values else None
