"""A serial port as a transport of bytes."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import serial

from popflip.devices.base import BITS_PER_BYTE
from popflip.devices.transport import PortLost, PortStuck
from popflip.devices.usb import PORT_BAUD
from popflip.errors import DeviceError, LinkError
from popflip.hw.link.uart import BAUD

LEAST_BAUD, MOST_BAUD = 300, 20_000_000
ALLOWANCE = 0.5
"""Seconds of a wait for adapters, drivers and a busy host, at patience 1."""
STALL = 2.0
"""Seconds, beyond those of its bytes, in which a port must take what is written."""
ABSENCE = 60.0
"""Seconds to wait for a port that went away."""
SLOWEST_HZ = 1_000_000
"""Clock to expect of a chip that does not know its own: one that is simulated behind a port."""

_POLL = 0.05  # s that one read of the port may take
_RETRY = 0.5  # s between attempts to open a port that went away
_REMINDER = 15.0  # s between messages while waiting for it
_CHUNK = 1024  # bytes written at once: a port that works takes them within their time on the line

_REMEDIES = {
    errno.ENOENT: "there is no such port; `popflip info` lists the serial ports",
    errno.EACCES: "no permission to open it; on Linux add yourself to the group dialout and log in again",
    errno.EBUSY: "another program uses it; close that program",
    errno.EAGAIN: "another program uses it; close that program",
}


def _ignore(_: str) -> None:
    """The callback when the caller gives none."""


class SerialTransport:
    """Bytes over serial port ``name``, or over any URL that pyserial knows. Its clock counts seconds.

    ``announce`` receives a line of text when the port goes away, and while :meth:`restore` waits for it, at most
    ``absence`` seconds. ``allowance``: see :data:`ALLOWANCE`. ``find`` returns the port that ``name`` stands for; it
    may be another one each time it is opened. Such a port is at USB: ``baud`` says how fast it is, and sets nothing.
    Raises :class:`DeviceError` if the port cannot be opened or cannot run at ``baud``.
    """

    def __init__(
        self,
        name: str,
        baud: int = BAUD,
        announce: Callable[[str], object] | None = None,
        allowance: float = ALLOWANCE,
        absence: float = ABSENCE,
        find: Callable[[], str] | None = None,
    ):
        if not LEAST_BAUD <= baud <= MOST_BAUD:
            raise DeviceError(f"baud: {baud} is not between {LEAST_BAUD} and {MOST_BAUD}; boards use {BAUD}")
        self.name = name
        self._announce = announce or _ignore
        self._allowance, self._absence = allowance, absence
        self._baud = baud if find is None else PORT_BAUD
        self._find = find
        self._byte_seconds = BITS_PER_BYTE / baud
        self._line_free = 0.0  # when the line will have carried all bytes written
        self._bytes = bytearray()
        self._port = self._open()

    @property
    def now(self) -> float:
        """Seconds, from an arbitrary origin."""
        return time.monotonic()

    def deadline(self, expected: int, cycles: int, clock_hz: int, patience: float) -> float:
        """The time by which ``expected`` more bytes have come; see :meth:`.transport.Transport.deadline`."""
        line_free = max(self.now, self._line_free)
        work = cycles / (clock_hz or SLOWEST_HZ)
        return line_free + work + expected * self._byte_seconds + patience * self._allowance

    def write(self, data: bytes) -> None:
        """Send ``data``. Raises :class:`PortStuck` if the port takes no bytes, :class:`PortLost` if it is gone."""
        self._line_free = max(self.now, self._line_free) + len(data) * self._byte_seconds
        with self._failures():
            for first in range(0, len(data), _CHUNK):
                self._port.write(data[first : first + _CHUNK])

    def read(self, count: int, deadline: float) -> bytes:
        """The next ``count`` bytes. Raises :class:`TimeoutError` at ``deadline`` and keeps those that came before for
        the next call, or :class:`PortLost`.
        """
        while len(self._bytes) < count:
            late = self.now >= deadline
            with self._failures():
                self._bytes += self._port.read(count - len(self._bytes))
            if late and len(self._bytes) < count:
                raise TimeoutError(f"{self.name}: silent")
        data = bytes(self._bytes[:count])
        del self._bytes[:count]
        return data

    def restore(self) -> None:
        """Open the port again, as soon as it is back. Raises :class:`LinkError` if it stays away."""
        with suppress(Exception):  # it is gone already
            self._port.close()
        begin = self.now
        reminder = begin
        while True:
            waited = self.now - begin
            try:
                self._port = self._open()
            except DeviceError as error:
                if waited >= self._absence:
                    raise LinkError(
                        f"{self.name}: the port went away, and after {waited:.0f} s it is not back ({error}); plug it "
                        "in and resume"
                    ) from None
            else:
                self._bytes.clear()
                self._line_free = 0.0
                self._announce(f"{self.name}: the port is back after {waited:.0f} s")
                return
            if self.now >= reminder:
                reminder += _REMINDER
                self._announce(f"{self.name}: the port went away; waiting {self._absence - waited:.0f} s for it")
            time.sleep(_RETRY)

    def close(self) -> None:
        """Close the port."""
        self._port.close()

    def _open(self) -> serial.SerialBase:
        """The port, open and empty. pyserial raises errors of many classes, those of its parsers of URLs included."""
        stall = STALL + 2 * _CHUNK * self._byte_seconds
        name = self.name if self._find is None else self._find()
        exclusive = {} if "://" in name else {"exclusive": True}
        try:
            port = serial.serial_for_url(name, self._baud, timeout=_POLL, write_timeout=stall, **exclusive)
            with suppress(AttributeError, OSError, ValueError):  # not every port supports it
                port.set_low_latency_mode(True)  # else short answers wait 16 ms in the adapter
            port.reset_input_buffer()
        except Exception as error:
            raise DeviceError(f"{self.name}: {_remedy(error)}") from None
        return port

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Errors of pyserial as :class:`PortStuck` or :class:`PortLost`."""
        try:
            yield
        except serial.SerialTimeoutException:
            raise PortStuck(f"{self.name}: the port takes no bytes") from None
        except Exception as error:  # OSError, termios.error; TypeError of a port closed meanwhile
            raise PortLost(f"{self.name}: {_remedy(error)}") from None


def _remedy(error: Exception) -> str:
    """One line about a failed port: what is wrong and what to do."""
    known = _REMEDIES.get(getattr(error, "errno", None) or 0)
    detail = " ".join(str(error).split())
    if not isinstance(error, OSError | ValueError):  # its text alone says little
        detail = f"{type(error).__name__}: {detail}"
    return known or f"the port does not work ({detail})"
