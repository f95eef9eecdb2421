"""Find the speed of a chip's link: ask who is there at one speed after the other, until a chip answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from popflip.devices import serial
from popflip.devices.frames import FrameReader
from popflip.devices.session import OPENING, NoAnswer, open_session
from popflip.errors import DeviceError, LinkError
from popflip.hw.link.identity import Identity
from popflip.hw.link.uart import BAUD

SPEEDS = (
    *(BAUD, 3_000_000, 2_000_000, 6_000_000, 4_000_000, 921_600, 500_000, 460_800, 250_000, 230_400, 115_200),
    *(12_000_000, 57_600, 38_400, 19_200, 9_600),
)
"""Speeds to try, in bits per second: first that of every board, then what adapters and clocks commonly make."""
ROUNDS = ((16, 1), (4096, 2))
"""Zeros ahead of the request, and the patience of the wait, in each pass over the speeds. The zeros of the second pass
end a frame that another program left unfinished in the chip."""
ALLOWANCE = 0.15
"""Seconds of a wait for adapters and drivers, at patience 1. All passes together take less than 20 seconds."""


def find_baud(
    name: str, known: Iterable[int] = (), announce: Callable[[str], object] | None = None, allowance: float = ALLOWANCE
) -> tuple[int, Identity]:
    """The speed at which a chip on the serial port ``name`` answers, and its identity.

    ``known`` are speeds to try right after that of every board. Calls ``announce`` with a line that names the speed.
    Raises :class:`LinkError` if no chip answers at any speed, or one of another version of the protocol does, and
    :class:`DeviceError` if the port cannot be opened.
    """
    refused: DeviceError | None = None
    speeds = dict.fromkeys((BAUD, *known, *SPEEDS))
    works: dict[int, bool] = dict.fromkeys(speeds, True)
    for opening in ROUNDS:
        for baud in [baud for baud in speeds if works[baud]]:
            try:
                identity = ask(name, baud, (opening,), allowance)
            except NoAnswer:
                continue
            except LinkError:
                raise
            except DeviceError as error:  # the port is not there, or does not have this speed
                works[baud], refused = False, refused or error
                continue
            if announce is not None:
                announce(f"{name}: a chip answers at {baud} baud")
            return baud, identity
    if refused is not None and not any(works.values()):
        raise refused  # by the port, whatever its speed
    tried = [baud for baud, works_there in works.items() if works_there]
    raise LinkError(
        f"{name}: no chip answers at {min(tried)} to {max(tried)} baud ({len(tried)} speeds); check that its bitstream "
        "is Popflip's, or name its baud"
    )


def ask(
    name: str,
    baud: int,
    opening: Sequence[tuple[int, int]] = OPENING,
    allowance: float = serial.ALLOWANCE,
    find: Callable[[], str] | None = None,
) -> Identity:
    """What the chip on the serial port ``name`` says about itself at ``baud``. Its state stays.

    ``opening`` : see :func:`popflip.devices.session.open_session`, whose errors this raises. ``find`` : see
    :class:`.serial.SerialTransport`. Raises :class:`DeviceError` if the port cannot be opened.
    """
    transport = serial.SerialTransport(name, baud, allowance=allowance, absence=0, find=find)
    try:
        return open_session(transport, FrameReader(transport), name, opening)[0]
    finally:
        transport.close()
