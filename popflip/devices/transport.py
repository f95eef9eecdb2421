"""What the link needs from a transport of bytes: a serial line, a simulation, or a test's model of either."""

from __future__ import annotations

from typing import Protocol

from popflip.errors import LinkError


class PortLost(LinkError):
    """The port went away while it was in use. :meth:`Transport.restore` takes it up again."""


class PortStuck(TimeoutError):
    """The port does not take the bytes that are written to it."""


class Transport(Protocol):
    """Bytes to and from a chip.

    A transport has its own clock: seconds on a line, clock cycles in simulation. Every wait ends at a deadline on that
    clock, whether the other end is silent or talks without end.
    """

    @property
    def now(self) -> float:
        """Time on the transport's clock."""

    def deadline(self, expected: int, cycles: int, clock_hz: int, patience: float, /) -> float:
        """The time by which ``expected`` more bytes have come, unless something is wrong.

        First all bytes written so far reach the chip. It then works for at most ``cycles`` cycles of a clock of
        ``clock_hz`` (0: unknown), and answers. ``patience`` scales the time allowed for all else: adapters, drivers, a
        busy host.
        """

    def write(self, data: bytes, /) -> object:
        """Send all of ``data``. Raises :class:`PortStuck` or :class:`PortLost`."""

    def read(self, count: int, deadline: float, /) -> bytes:
        """Exactly the next ``count`` bytes.

        If fewer come before ``deadline``, raises :class:`TimeoutError` and keeps them for later. Bytes that have come
        are returned even if it is late. Raises :class:`PortLost`.
        """

    def restore(self) -> object:
        """Take up a lost port again. Raises :class:`LinkError` if it stays away."""

    def close(self) -> object:
        """Release the port or the simulation."""
