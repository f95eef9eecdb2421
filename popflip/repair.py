"""A chip that is lost gets its state back: the last state known of a run, and work that begins again in its state.

A chip is lost (:class:`ChipLost`) if it restarted or another program used it. The run then ends as if it had not been.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from popflip.devices.base import Device, Status
from popflip.errors import ChipLost, LinkError
from popflip.golden.memory.weights import State

SAVE_EVERY = 60.0
"""Seconds between two readings of the state during a run."""
READING_SHARE = 0.02
"""Largest share of a run's time that goes into states that only serve a repair."""
REPAIRS = 5
"""Times that a chip may be lost in a row, without a step that can be kept, before the run gives up."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Snapshot:
    """State and counts of a device after a step: all that a run needs to go on from there."""

    state: State
    status: Status


OnSnapshot = Callable[[Snapshot], object]
Announce = Callable[[str], object]


def ignore(_: object) -> None:
    """The callback when the caller gives none."""


def restore(device: Device, snapshot: Snapshot | None) -> None:
    """Bring ``device`` into the state of ``snapshot``; None: the initial state of its seed."""
    if snapshot is None:
        device.reset()
    else:
        device.load(snapshot.state, snapshot.status)


def with_repairs(
    work: Callable[[], Result],
    device: Device,
    start: Snapshot | None,
    *,
    golden: Device | None = None,
    announce: Announce = ignore,
    ready: bool = False,
) -> Result:
    """What ``work`` returns, which uses ``device`` and ``golden`` in the state of ``start``.

    Loads that state first, or resets both if ``start`` is None; if they are ``ready``, only after a loss. A lost chip
    gets the state back and ``work`` begins again, at most :data:`REPAIRS` times. Raises the errors of ``work`` and of
    :meth:`Device.load`, and :class:`LinkError` if the chip is lost once more.
    """
    lost: ChipLost | None = None
    for _ in range(REPAIRS + 1):
        try:
            if lost is not None:
                announce(f"{lost}; its state is written back")
                device.reopen()
            if lost is not None or not ready:
                for each in (device,) if golden is None else (device, golden):
                    restore(each, start)
            return work()
        except ChipLost as error:
            lost = error
    raise LinkError(f"{lost}; gave up after {REPAIRS} repairs")


class Keeper:
    """The last state known of a run, for repairs and for ``save``, which receives it every ``every`` seconds.

    ``start`` is the state that the run begins in; None: the initial state of the device's seed. Without ``save``, the
    state is still read every ``every`` seconds, less often if that took more than :data:`READING_SHARE` of the time.
    After a loss it is read after the next step, then after 1, 2, 4, … seconds, so that a chip which is lost again and
    again still gets on.
    """

    def __init__(
        self, start: tuple[State, Status] | None = None, save: OnSnapshot | None = None, every: float = SAVE_EVERY
    ):
        self.last = None if start is None else Snapshot(*start)
        self._save, self._every = save, every
        self._saved = self.last
        self._interval = self._every
        self._read = self._handed = time.monotonic()
        self._losses = 0

    def wants(self) -> bool:
        """Whether it is time to read the state."""
        return time.monotonic() - self._read >= self._interval

    def keep(self, snapshot: Snapshot, cost: float = 0.0) -> None:
        """Keep ``snapshot``, which took ``cost`` seconds to read, and save it if it is time."""
        self.last, self._losses = snapshot, 0
        self._read = time.monotonic()
        least = self._every if self._save is not None else max(self._every, cost / READING_SHARE)
        self._interval = min(least, max(1.0, 2 * self._interval))
        if self._read - self._handed >= self._every:
            self.hand_over()

    def hand_over(self) -> None:
        """Pass the last state known to ``save``, unless it is there already."""
        if self._save is None or self.last is None or self.last is self._saved:
            return
        snapshot = self.last
        self._save(snapshot)
        self._saved, self._handed = snapshot, time.monotonic()

    def restore(self, device: Device) -> None:
        """Bring ``device`` into the last state known."""
        restore(device, self.last)

    def place(self, unit: str) -> str:
        """Where the last state known is, in words; ``unit`` is the name of a batch."""
        return "the beginning" if self.last is None else f"{unit} {self.last.status.batches}"

    def count_loss(self, error: ChipLost, unit: str) -> None:
        """Count a lost chip. Raises :class:`LinkError` if too many came without a state that could be kept."""
        self._losses += 1
        self._interval = 0.0
        if self._losses > REPAIRS:
            raise LinkError(f"{error}; gave up after {REPAIRS} repairs, all at {self.place(unit)}") from None
