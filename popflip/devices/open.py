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

BYTES_PER_BIT = 8
"""Memory that building a simulated chip takes at least for a bit of a memory: Amaranth holds a reference to each."""


def open_device(
    name: str,
    config: AnyConfig,
    chip: ChipConfig | None = None,
    *,
    waves: Path | None = None,
    announce: Callable[[str], object] | None = None,
    baud: int | None = None,
) -> Device:
    """Open ``golden``, ``sim`` (the simulated chip) or a serial port for ``config``.

    ``sim`` simulates ``chip``, by default ``ChipConfig.of(config)``. It records its signals in ``waves``, a VCD file.
    ``baud`` is the speed of a serial port, by default that of every board. ``announce`` receives lines of text: before
    the simulated chip is compiled, when a port goes away, and when it is back. Raises :class:`DeviceError` if the name
    is unknown, or if the device cannot be opened or was built for another network, and :class:`ConfigError` if the
    network or the simulated chip takes too much memory.
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
    raise DeviceError(f"device: {name!r} is not golden, sim or a serial port such as /dev/ttyUSB1 or COM3")


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


def _board(name: str, config: AnyConfig, baud: int | None, announce: Callable[[str], object] | None) -> Device:
    from popflip.devices.chip import ChipDevice
    from popflip.hw.link.uart import BAUD

    try:
        from popflip.devices.serial import SerialTransport
    except ImportError as error:  # pyserial does not know every system
        raise DeviceError(f"{name}: this system has no serial ports that Python can use ({error})") from None
    baud = BAUD if baud is None else baud
    return ChipDevice(SerialTransport(name, baud, announce), config, name, baud)


def _looks_like_a_port(name: str) -> bool:
    """Whether ``name`` is a path (/dev/…), a URL (socket://…), or COM and a number."""
    return "/" in name or (name[:3].upper() == "COM" and name[3:].isdigit())
