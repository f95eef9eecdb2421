"""A serial port as a transport of bytes."""

from __future__ import annotations

import errno
from contextlib import suppress

import serial

from popflip.errors import DeviceError, LinkError
from popflip.hw.link.uart import BAUD

SILENCE = 2.0
"""Seconds without a byte after which a read times out."""

_REMEDIES = {
    errno.ENOENT: "there is no such port; `popflip info` lists the serial ports",
    errno.EACCES: "no permission to open it; on Linux add yourself to the group dialout and log in again",
    errno.EBUSY: "another program uses it; close that program",
    errno.EAGAIN: "another program uses it; close that program",
}


class SerialTransport:
    """Bytes over serial port ``name``, or over any URL that pyserial knows; ``silence`` is in seconds.

    Raises :class:`DeviceError` if the port cannot be opened, and :class:`LinkError` if it fails later.
    """

    def __init__(self, name: str, baud: int = BAUD, silence: float = SILENCE):
        self.name = name
        self._bytes = bytearray()
        try:
            self._port = serial.serial_for_url(
                name, baud, timeout=silence, write_timeout=silence, **({} if "://" in name else {"exclusive": True})
            )
            with suppress(AttributeError, OSError, ValueError):  # not every port supports it
                self._port.set_low_latency_mode(True)  # else short answers wait 16 ms in the adapter
            self._port.reset_input_buffer()
        except (OSError, ValueError) as error:
            raise DeviceError(f"{name}: {_remedy(error)}") from None

    def write(self, data: bytes) -> None:
        """Send ``data``."""
        try:
            self._port.write(data)
        except serial.SerialTimeoutException:
            raise LinkError(f"{self.name}: the port takes no bytes; unplug it and plug it in again") from None
        except OSError as error:
            raise LinkError(f"{self.name}: {_remedy(error)}") from None

    def read(self, count: int) -> bytes:
        """The next ``count`` bytes. After ``silence`` seconds without a byte, raises :class:`TimeoutError` and keeps
        the bytes that came before for the next call.
        """
        while len(self._bytes) < count:
            try:
                more = self._port.read(count - len(self._bytes))
            except OSError as error:
                raise LinkError(f"{self.name}: {_remedy(error)}") from None
            if not more:
                raise TimeoutError(f"{self.name}: silent")
            self._bytes += more
        data = bytes(self._bytes[:count])
        del self._bytes[:count]
        return data

    def close(self) -> None:
        """Close the port."""
        self._port.close()


def _remedy(error: Exception) -> str:
    """One line about a failed port: what is wrong and what to do."""
    known = _REMEDIES.get(getattr(error, "errno", None) or 0)
    return known or f"the port does not work ({' '.join(str(error).split())})"
