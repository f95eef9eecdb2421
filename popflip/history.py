"""What a run records: the result of each step, samples, seconds and cycles, and how often the chip was repaired."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from popflip.devices.base import Status
from popflip.repair import Snapshot

COUNT_WRAP = 2**32  # cycle counters have 32 bits


@dataclass(frozen=True)
class StepResult:
    """One step: accuracy before learning, samples that triggered an update, weights flipped in each layer."""

    batch: int  # number of the step's last batch, counted from 1
    accuracy: float
    errors: int
    flips: tuple[int, ...]


@dataclass(frozen=True)
class Run:
    """A finished run. ``seconds`` and ``cycles`` cover training alone, without verification or inference.

    After a repair, ``seconds`` also has the time of the steps that were lost; all else is as if the chip had never been
    lost.
    """

    history: tuple[StepResult, ...]
    samples: int  # trained in this run
    seconds: float
    cycles: dict[str, int] | None
    verified: int  # steps after which the device was compared with the golden model
    replayed: bool = False  # the device stored the samples and received only their numbers
    repairs: int = 0  # times that the chip was lost and got its state back
    end: Snapshot | None = None  # None from :func:`popflip.training.train`, which does not read the state


@dataclass
class Record:
    """What a run has recorded, and how much of that belongs to the state that a repair goes back to.

    ``seconds`` and ``cycles`` add up between each :meth:`start` and :meth:`stop`. A cycle counter may wrap once in
    between.
    """

    history: list[StepResult] = field(default_factory=list)
    samples: int = 0
    seconds: float = 0.0
    cycles: dict[str, int] | None = None
    repairs: int = 0
    _mark: tuple[int, int, dict[str, int] | None] = (0, 0, None)

    def start(self, status: Status) -> None:
        """A step begins. ``status`` is the device's."""
        self._started = time.perf_counter()
        self._cycles = status.cycles

    def stop(self, status: Status) -> None:
        """The step has ended."""
        self.seconds += time.perf_counter() - self._started
        if status.cycles is None or self._cycles is None:
            return
        so_far = self.cycles or dict.fromkeys(status.cycles, 0)
        self.cycles = {
            name: so_far[name] + (count - self._cycles[name]) % COUNT_WRAP for name, count in status.cycles.items()
        }

    def mark(self) -> None:
        """The state after the last step is kept."""
        self._mark = (len(self.history), self.samples, self.cycles)

    def rewind(self) -> None:
        """Forget the steps after the state that was kept last."""
        steps_kept, self.samples, self.cycles = self._mark
        del self.history[steps_kept:]


def step_result(before: Status, after: Status) -> StepResult:
    """The result of the step between two readings of the status."""
    return StepResult(
        batch=after.batches,
        accuracy=(after.correct - before.correct) / (after.samples - before.samples),
        errors=after.errors - before.errors,
        flips=tuple(now - then for now, then in zip(after.flips, before.flips, strict=True)),
    )
