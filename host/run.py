"""A training run on any device: sample order, schedule, and the golden model alongside when asked.

::

    order ─▶ train(batch) ─▶ end_batch(k) ─▶ status ─┬─▶ history, progress
                                                     └─▶ equal to golden? (every batch, to the last counter)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from popflip.golden.config import Config, ConfigError
from popflip.golden.weights import first_difference

from .device import Device, Status
from .errors import Difference, Interrupted

COUNTS = tuple(field.name for field in fields(Status) if field.name != "cycles")
"""What devices must agree on besides the state."""

COUNT_WRAP = 2**32  # cycle counters have 32 bits


@dataclass(frozen=True)
class BatchResult:
    """One batch: share of samples classified right before learning, samples that taught, weights flipped a layer."""

    batch: int  # counted from 1
    accuracy: float
    errors: int
    flips: tuple[int, ...]


@dataclass(frozen=True)
class Run:
    """A finished run. ``seconds`` and ``cycles`` are the device's training alone, without verification or inference."""

    history: tuple[BatchResult, ...]
    samples: int  # trained in this run
    seconds: float
    cycles: dict[str, int] | None
    verified: int  # batches compared with the golden model


def sample_order(samples: int, config: Config) -> Iterator[NDArray[np.intp]]:
    """Sample numbers of each whole batch of the full run.

    Batches are cut from the concatenation over epochs of ``Generator(PCG64(seed)).permutation(samples)``.
    """
    generator = np.random.Generator(np.random.PCG64(config.seed))
    waiting = np.empty(0, np.intp)
    for _ in range(config.batches(samples)):
        missing = max(0, config.batch - len(waiting))
        epochs = -(-missing // samples)
        waiting = np.concatenate([waiting, *(generator.permutation(samples) for _ in range(epochs))])
        yield waiting[: config.batch]
        waiting = waiting[config.batch :]


def batches_to_run(config: Config, samples: int, limit: int | None) -> int:
    """Batches of the run, ``limit`` of them at most; an error if the data does not fill one."""
    total = config.batches(samples)
    if total == 0:
        raise ConfigError(
            f"batch: {config.batch} samples a batch, but {config.epochs} epochs of {samples} have only "
            f"{config.epochs * samples}"
        )
    return total if limit is None else min(total, limit)


def train(
    device: Device,
    x: NDArray[np.uint8],
    y: NDArray[np.integer],
    limit: int | None = None,
    golden: Device | None = None,
    on_batch: Callable[[BatchResult], None] = lambda result: None,
) -> Run:
    """Train ``device`` from the batch it has reached to the last one (``limit`` counts from the run's beginning).

    With ``golden``, a device in the same state, every batch is compared and a :class:`Difference` ends the run.
    """
    config = device.config
    total = config.batches(len(x))
    last = batches_to_run(config, len(x), limit)
    status = device.status()
    first = status.batches  # more than 0 when a run is resumed
    if golden is not None:
        compare(device, golden, status)
    history: list[BatchResult] = []
    meter = _Meter()
    try:
        for index, samples in enumerate(sample_order(len(x), config)):
            if index < first:
                continue
            if index >= last:
                break
            k = config.schedule(index, total)
            before = device.status()
            meter.start(before)
            device.train(x[samples], y[samples])
            device.end_batch(k)
            after = device.status()
            meter.stop(after)
            if golden is not None:
                golden.train(x[samples], y[samples])
                golden.end_batch(k)
                compare(device, golden, after)
            history.append(_result(before, after))
            on_batch(history[-1])
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted after batch {first + len(history)} of {last}; nothing was written") from None
    return Run(
        history=tuple(history),
        samples=config.batch * len(history),
        seconds=meter.seconds,
        cycles=meter.cycles,
        verified=len(history) if golden is not None else 0,
    )


def accuracy(predictions: NDArray[np.integer], classes: NDArray[np.integer]) -> float:
    """Share of predictions that are right."""
    return int(np.count_nonzero(predictions == classes)) / len(classes)


class _Meter:
    """Adds up the seconds and cycles between each start and stop; cycle counters may wrap once in between."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.cycles: dict[str, int] | None = None

    def start(self, status: Status) -> None:
        self._started = time.perf_counter()
        self._cycles = status.cycles

    def stop(self, status: Status) -> None:
        self.seconds += time.perf_counter() - self._started
        if status.cycles is None or self._cycles is None:
            return
        so_far = self.cycles or dict.fromkeys(status.cycles, 0)
        self.cycles = {
            name: so_far[name] + (count - self._cycles[name]) % COUNT_WRAP for name, count in status.cycles.items()
        }


def _result(before: Status, after: Status) -> BatchResult:
    return BatchResult(
        batch=after.batches,
        accuracy=(after.correct - before.correct) / (after.samples - before.samples),
        errors=after.errors - before.errors,
        flips=tuple(now - then for now, then in zip(after.flips, before.flips, strict=True)),
    )


# Against the golden model ---------------------------------------------------------------------------------------------


def compare(device: Device, golden: Device, status: Status) -> None:
    """Raise :class:`Difference` unless ``device``, whose status was just read, is in every bit where ``golden`` is."""
    expected = golden.status()
    place = first_difference(device.state(), golden.state())
    if place is not None:
        raise Difference(f"batch {expected.batches}: {place}")
    for name in COUNTS:
        mine, theirs = getattr(status, name), getattr(expected, name)
        if mine != theirs:
            if name in ("signature", "rng"):
                mine, theirs = f"{mine:08x}", f"{theirs:08x}"
            raise Difference(
                f"batch {expected.batches}: {name} is {mine}, golden has {theirs}; weights and counters are equal"
            )


def same_predictions(predictions: NDArray[np.integer], golden: NDArray[np.integer]) -> None:
    """Raise :class:`Difference` unless all predictions are golden's."""
    different = np.flatnonzero(predictions != golden)
    if different.size:
        sample = int(different[0])
        raise Difference(f"test sample {sample}: predicted {predictions[sample]}, golden predicts {golden[sample]}")
