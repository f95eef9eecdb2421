"""The links of a board to the host: pins, adapters, and the speeds that they carry.

==================  ========================  ============================  =================================
board               link                      pins (resource of the board)  speeds
==================  ========================  ============================  =================================
icebreaker          uart: FT2232H, channel B  ``uart``                      to 12 Mbaud, 4 cycles per bit
ice40_hx8k_b_evn    uart: FT2232H, channel B  ``uart``                      to 12 Mbaud, 4 cycles per bit
ulx3s_85f           uart: FT231X, port US1    ``uart``                      to 3 Mbaud, 4 cycles per bit
ulx3s_85f           usb: port US2             ``usb``                       full speed, 12 Mbit/s
orangecrab_25f      uart: adapter of yours    ``uart``                      that of the adapter, 4 cycles per bit
orangecrab_25f      usb: its USB-C port       ``usb``                       full speed, 12 Mbit/s
colorlight_i5       uart: DAPLink             ``uart``                      that of the DAPLink, 4 cycles per bit
==================  ========================  ============================  =================================

A clock makes every speed at which a bit has :data:`popflip.hw.link.uart.MIN_DIVISOR` cycles or more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from popflip.golden.errors import ConfigError
from popflip.hw.lib.pll import Ecp5Pll
from popflip.hw.link.uart import BAUD, BITS

FASTEST_ADAPTER = 12_000_000
"""Bits per second of an FT2232H. Also the limit where the adapter is not known."""
USB_BYTES = 19 * 64 * 1000
"""Most bytes per second in each direction at full speed: 19 packets of 64 bytes in a frame of 1 ms (USB 2.0, table
5-9)."""


@dataclass(frozen=True)
class UartLink:
    """A serial line to a USB adapter.

    ``adapter`` : what is at its other end, in words.
    ``port`` : where it appears on Linux.
    ``most_baud`` : bits per second of which the adapter is capable.
    ``baud`` : bits per second of the bitstream.
    """

    adapter: str
    port: str
    most_baud: int = FASTEST_ADAPTER
    baud: int = BAUD

    kind = "uart"
    packages: ClassVar[tuple[str, ...]] = ()
    least_buffer = 0
    cells = 0

    @property
    def place(self) -> str:
        """Where the link is, as a sentence's end."""
        return f"its link appears as {self.port} or the like"

    @property
    def summary(self) -> str:
        """The link and its speed in a few words."""
        return f"{self.baud} baud"


@dataclass(frozen=True)
class UsbLink:
    """The FPGA's own pins at a USB port.

    ``socket`` : the port, in words.
    ``pll`` : kind of the PLL that makes the clocks of USB.
    """

    socket: str
    pll: type[Ecp5Pll] = Ecp5Pll

    kind = "usb"
    port = "usb"
    baud = BITS * USB_BYTES
    """Bits per second of a serial line that would carry as many bytes."""
    packages: ClassVar[tuple[str, ...]] = ("luna-usb", "usb-protocol")
    """Python packages that shape the bitstream."""
    least_buffer = 4096
    """Bytes of the packet buffer, at least. Half of them are on their way for 1.7 ms, longer than a host with
    frames of 1 ms takes to send more."""
    cells = 1_700
    """LUTs beyond those of a UART: 1,284, two in each of 126 carries, and four in each of 39 LUT RAMs."""

    @property
    def place(self) -> str:
        """Where the link is, as a sentence's end."""
        return f"its link is {self.socket}, which --device usb finds"

    @property
    def summary(self) -> str:
        """The link in a few words."""
        return "USB, full speed"


Link = UartLink | UsbLink


def chosen(links: tuple[Link, ...], board: str, link: str | None, baud: int | None) -> Link:
    """The one of ``links`` that ``link`` and ``baud`` name; None: the first, at its own speed.

    ``link`` is ``uart``, ``uart@BAUD`` or ``usb``. ``board`` is the name of the board in messages. Raises
    :class:`ConfigError` if the board has no such link, or its adapter cannot make the speed.
    """
    kind, at, speed = (link or links[0].kind).partition("@")
    found = next((each for each in links if each.kind == kind), None)
    if found is None:
        if kind == UsbLink.kind:
            raise ConfigError(f"link: the FPGA of {board} is at no USB port; it has {_kinds(links)}")
        raise ConfigError(f"link: {link!r} is not a link of {board}; it has {_kinds(links)}")
    if isinstance(found, UsbLink):
        if at or baud is not None:
            raise ConfigError(f"{'link' if at else 'baud'}: USB has a speed of its own; leave it out")
        return found
    if at:
        if not speed.isdecimal() or not int(speed):
            raise ConfigError(f"link: {speed!r} is not a baud rate; write {kind}@3000000")
        if baud not in (None, int(speed)):
            raise ConfigError(f"link: {link} and a baud of {baud} differ; give one of them")
        baud = int(speed)
    if baud is None:
        return found
    if baud > found.most_baud:
        raise ConfigError(
            f"{'link' if at else 'baud'}: {baud} baud is too fast for the {found.adapter} of {board}; at most "
            f"{found.most_baud} works"
        )
    return UartLink(found.adapter, found.port, found.most_baud, baud)


def _kinds(links: tuple[Link, ...]) -> str:
    return " and ".join(each.kind for each in links)
