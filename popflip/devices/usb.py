"""Find a chip whose link is USB among the serial ports of this machine, by what the device calls itself."""

from __future__ import annotations

from typing import Any

from popflip.constraints.links import UsbLink
from popflip.errors import DeviceError
from popflip.hw.link.usb_names import PRODUCT, PRODUCT_ID, VENDOR_ID

NAME = UsbLink.port
"""The device's name for ``--device``: the one chip at USB; ``usb:BOARD`` is that of a board."""
BAUD = UsbLink.baud
"""Bits per second of a serial line that carries as many bytes."""
PORT_BAUD = 115_200
"""What the port is told. It has no effect: every system takes it."""


def is_name(name: str) -> bool:
    """Whether ``name`` stands for a chip at USB, wherever its port is."""
    return name.partition(":")[0] == NAME


def serial_number(port: str) -> str | None:
    """The serial number of the chip at the serial port ``port``, which is the name of its board; None if none is."""
    return next((each.serial_number or "" for each in _chips() if each.device == port), None)


def find_port(name: str) -> str:
    """The serial port of the chip that ``name`` stands for: ``usb``, or ``usb:`` and its serial number.

    Raises :class:`DeviceError` if there is none, or more than one.
    """
    _, _, serial = name.partition(":")
    found = [each for each in _chips() if not serial or each.serial_number == serial]
    ids = f"{VENDOR_ID:04x}:{PRODUCT_ID:04x}"
    if not found:
        whose = f" of {serial}" if serial else ""
        raise DeviceError(
            f"{name}: no chip{whose} at USB ({ids}); plug in the port of its FPGA, or name another device"
        )
    if len(found) > 1:
        names = ", ".join(f"{each.device} ({each.serial_number})" for each in found)
        raise DeviceError(f"{name}: {len(found)} chips at USB: {names}; name one of these ports")
    return found[0].device


def _chips() -> list[Any]:
    """The ports of Popflip's chips. Some systems do not tell the product's name."""
    ids = (VENDOR_ID, PRODUCT_ID)
    return [port for port in _listed() if (port.vid, port.pid) == ids and port.product in (PRODUCT, None)]


def _listed() -> list[Any]:
    """The serial ports of this machine, as pyserial describes them."""
    try:
        from serial.tools.list_ports import comports

        return sorted(comports())
    except (ImportError, OSError):  # pyserial knows no ports on this system
        return []
