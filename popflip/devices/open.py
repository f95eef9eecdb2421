"""Open a device by its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from popflip.devices.base import Device
from popflip.devices.golden import GoldenDevice
from popflip.errors import DeviceError
from popflip.golden.config import AnyConfig
from popflip.limits import check_chip, check_network

if TYPE_CHECKING:
    from popflip.hw.config import ChipConfig
    from popflip.hw.link.identity import Identity

AUTO = "auto"
"""The value of ``baud`` that stands for the speed at which the chip answers."""

BYTES_PER_BIT = 8
"""Memory that building a simulated chip takes at least for a bit of a memory: Amaranth holds a reference to each."""


def open_device(
    name: str,
    config: AnyConfig,
    chip: ChipConfig | None = None,
    *,
    waves: Path | None = None,
    announce: Callable[[str], object] | None = None,
    baud: int | str | None = None,
) -> Device:
    """Open ``golden``, ``sim`` (the simulated chip), ``usb`` (the chip at USB) or a serial port for ``config``.

    ``sim`` simulates ``chip``, by default ``ChipConfig.of(config)``. It records its signals in ``waves``, a VCD file.
    ``baud`` is the speed of a serial port, by default that of every board; ``"auto"`` stands for the speed at which the
    chip answers (:mod:`popflip.devices.baud`). USB has none (:mod:`popflip.devices.usb`). ``announce`` receives lines
    of text: before the simulated chip is compiled, when the speed is found, when a port goes away, and when it is back.
    Raises :class:`DeviceError` if the name is unknown, or if the device cannot be opened or was built for another
    network, and :class:`ConfigError` if no chip runs ``config``, or if the network or the simulated chip takes too much
    memory.
    """
    check_network(config)
    if waves is not None and name != "sim":
        raise DeviceError(f"waves: only the simulated chip records signals, {name} does not; use device sim")
    if name == "golden":
        return GoldenDevice(config)
    if name == "sim":
        return _simulated(config, chip, waves, announce)
    if _looks_like_a_port(name):
        return _board(name, config, baud, announce)
    raise DeviceError(f"device: {name!r} is not golden, sim, usb or a serial port such as /dev/ttyUSB1 or COM3")


# These import Amaranth and pyserial, which the golden model does not need.


def _simulated(
    config: AnyConfig, chip: ChipConfig | None, waves: Path | None, announce: Callable[[str], object] | None
) -> Device:
    from popflip.devices.chip import ChipDevice
    from popflip.hw.config import ChipConfig
    from popflip.sim.chip import SimulatedChip

    chip = chip or ChipConfig.of(config)
    check_chip(chip, "the simulated chip", BYTES_PER_BIT)
    transport = SimulatedChip(chip, waves, announce)
    return ChipDevice(transport, config, "the simulated chip")


def _board(name: str, config: AnyConfig, baud: int | str | None, announce: Callable[[str], object] | None) -> Device:
    from popflip.devices.chip import ChipDevice
    from popflip.hw.config import check_runs_on_chips

    check_runs_on_chips(config)
    _check_serial_ports(name)
    from popflip.devices.serial import SerialTransport

    speed, _ = _speed(name, baud, announce)
    return ChipDevice(SerialTransport(name, speed, announce, find=_finder(name)), config, name, speed)


def identify(
    name: str, baud: int | str | None = None, announce: Callable[[str], object] | None = None
) -> tuple[str, Identity]:
    """The link of the chip at the device ``name`` in words, and what the chip says about itself.

    ``baud`` and ``announce``: see :func:`open_device`. Begins a session with the chip, whose state stays. Raises
    :class:`DeviceError` if ``name`` is no port or cannot be opened, and :class:`LinkError` if no chip answers.
    """
    if not _looks_like_a_port(name):
        raise DeviceError(f"device: {name!r} is not usb or a serial port such as /dev/ttyUSB1 or COM3")
    _check_serial_ports(name)
    from popflip.devices.baud import ask

    speed, identity = _speed(name, baud, announce)
    find = _finder(name)
    link = f"{speed} baud" if find is None else f"USB, full speed, at {find()}"
    return link, ask(name, speed, find=find) if identity is None else identity


def _finder(name: str) -> Callable[[], str] | None:
    """A function that finds the port of the device ``name`` if it is a chip at USB; None for all other ports."""
    from popflip.devices import usb

    if usb.is_name(name):
        return lambda: usb.find_port(name)
    serial = usb.serial_number(name)
    if serial is None:
        return None
    return lambda: name


def _speed(name: str, baud: int | str | None, announce: Callable[[str], object] | None) -> tuple[int, Identity | None]:
    """The speed of the port ``name`` that ``baud`` stands for, and the identity of the chip if it had to be asked."""
    from popflip.bitstream.builds import noted_speeds
    from popflip.devices.baud import find_baud
    from popflip.devices.usb import BAUD as USB_BAUD
    from popflip.hw.link.uart import BAUD

    if _finder(name) is not None:
        if baud not in (None, AUTO):
            raise DeviceError("baud: USB has a speed of its own; leave it out")
        return USB_BAUD, None
    if baud == AUTO:
        return find_baud(name, noted_speeds(), announce)
    if isinstance(baud, str):
        raise DeviceError(f"baud: {baud!r} is neither a number nor {AUTO}")
    return BAUD if baud is None else baud, None


def _check_serial_ports(name: str) -> None:
    """Raise :class:`DeviceError` for the port ``name`` if pyserial does not know this system."""
    try:
        import serial  # noqa: F401
    except ImportError as error:
        raise DeviceError(f"{name}: this system has no serial ports that Python can use ({error})") from None


def _looks_like_a_port(name: str) -> bool:
    """Whether ``name`` is a path (/dev/…), a URL (socket://…), COM and a number, or stands for a chip at USB."""
    from popflip.devices.usb import is_name

    return "/" in name or (name[:3].upper() == "COM" and name[3:].isdigit()) or is_name(name)
