"""A training run on any device: sample order, schedule, and the golden model alongside when asked.

::

    order ─▶ train(step) ─▶ end_batch(k) ─▶ status ─┬─▶ history, progress
                                                    └─▶ equal to golden? (every step, to the last counter)

A run goes in **steps**, after each of which the device is looked at. GFT: a step is a batch. LBE, whose batches are
single samples: a step is :data:`LBE_STEP` samples, or what is left of them; steps end at multiples of that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from popflip.data.augment import Moves, MovingImages
from popflip.devices.base import Device, Status
from popflip.errors import Difference, Interrupted
from popflip.golden.config import AnyConfig, Rule
from popflip.golden.errors import ConfigError
from popflip.golden.memory.weights import first_difference

COUNTS = tuple(field.name for field in fields(Status) if field.name != "cycles")
"""What devices must agree on besides the state."""

COUNT_WRAP = 2**32  # cycle counters have 32 bits


LBE_STEP = 256
"""Samples of a step under LBE."""


def step_batches(config: AnyConfig) -> int:
    """Batches of a step: 1, or under LBE as many as samples."""
    return LBE_STEP if config.rule == Rule.LBE else 1


def batch_name(config: AnyConfig) -> str:
    """What a batch is called in front of users."""
    return "sample" if config.rule == Rule.LBE else "batch"


@dataclass(frozen=True)
class StepResult:
    """One step: share of samples classified right before learning, samples that taught, weights flipped a layer."""

    batch: int  # with which the step ended, counted from 1
    accuracy: float
    errors: int
    flips: tuple[int, ...]


@dataclass(frozen=True)
class Run:
    """A finished run. ``seconds`` and ``cycles`` are the device's training alone, without verification or inference."""

    history: tuple[StepResult, ...]
    samples: int  # trained in this run
    seconds: float
    cycles: dict[str, int] | None
    verified: int  # steps after which the device was compared with the golden model: batches, or under LBE 256 samples
    replayed: bool = False  # the samples were on the chip already


def sample_order(samples: int, config: AnyConfig) -> Iterator[NDArray[np.intp]]:
    """Sample numbers of each step of the full run.

    Steps are cut from the concatenation over epochs of ``Generator(PCG64(seed)).permutation(samples)``.
    """
    generator = np.random.Generator(np.random.PCG64(config.seed))
    waiting = np.empty(0, np.intp)
    missing = config.batches(samples) * config.batch
    while missing:
        size = min(step_batches(config) * config.batch, missing)
        epochs = -(-max(0, size - len(waiting)) // samples)
        waiting = np.concatenate([waiting, *(generator.permutation(samples) for _ in range(epochs))])
        yield waiting[:size]
        waiting = waiting[size:]
        missing -= size


def steps(samples: int, config: AnyConfig, first: int, last: int) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Steps of the part of a run between two batches: number of the first batch (from 0) and samples of each."""
    begin = 0
    for order in sample_order(samples, config):
        if begin >= last:
            return
        part = order[max(0, first - begin) * config.batch : (last - begin) * config.batch]
        if len(part):
            yield max(begin, first), part
        begin += len(order) // config.batch


def batches_to_run(config: AnyConfig, samples: int, limit: int | None) -> int:
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
    x: NDArray[np.uint8] | MovingImages,
    y: NDArray[np.integer],
    limit: int | None = None,
    golden: Device | None = None,
    on_step: Callable[[StepResult], None] = lambda result: None,
    stored: bool = False,
) -> Run:
    """Train ``device`` from the batch it has reached to the last one (``limit`` counts from the run's beginning).

    With ``golden``, a device in the same state, both are compared after every step and a :class:`Difference` ends the
    run. If ``stored`` (:func:`popflip.replay.keep`), the device has ``x`` and ``y``, and gets the numbers of
    samples only.
    """
    config = device.config
    total = config.batches(len(x))
    last = batches_to_run(config, len(x), limit)
    status = device.status()
    before, first = status, status.batches  # more than 0 when a run is resumed
    if golden is not None:
        compare(device, golden, status)
    history: list[StepResult] = []
    samples, moves = 0, Moves(config.seed)
    meter = _Meter()
    try:
        for index, step in steps(len(x), config, first, last):
            k = config.schedule(index, total)
            bits = x.bits(step, moves.take(index * config.batch, len(step))) if isinstance(x, MovingImages) else x[step]
            if golden is not None:  # whose comparison took cycles
                before = device.status()
            meter.start(before)
            if stored:
                device.train_stored(step)
            else:
                device.train(bits, y[step])
            device.end_batch(k)
            after = device.status()
            meter.stop(after)
            if golden is not None:
                golden.train(bits, y[step])
                golden.end_batch(k)
                compare(device, golden, after)
            samples += len(step)
            history.append(_result(before, after))
            on_step(history[-1])
            before = after
    except KeyboardInterrupt:
        reached = history[-1].batch if history else first
        raise Interrupted(f"interrupted after {batch_name(config)} {reached} of {last}; nothing was written") from None
    return Run(
        history=tuple(history),
        samples=samples,
        seconds=meter.seconds,
        cycles=meter.cycles,
        verified=len(history) if golden is not None else 0,
        replayed=stored,
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


def _result(before: Status, after: Status) -> StepResult:
    return StepResult(
        batch=after.batches,
        accuracy=(after.correct - before.correct) / (after.samples - before.samples),
        errors=after.errors - before.errors,
        flips=tuple(now - then for now, then in zip(after.flips, before.flips, strict=True)),
    )


# Against the golden model ---------------------------------------------------------------------------------------------


def compare(device: Device, golden: Device, status: Status) -> None:
    """Raise :class:`Difference` unless ``device``, whose status was just read, is in every bit where ``golden`` is."""
    expected = golden.status()
    where = f"{batch_name(golden.config)} {expected.batches}"
    place = first_difference(device.state(), golden.state())
    if place is not None:
        raise Difference(f"{where}: {place}")
    for name in COUNTS:
        mine, theirs = getattr(status, name), getattr(expected, name)
        if mine != theirs:
            if name in ("signature", "rng"):
                mine, theirs = f"{mine:08x}", f"{theirs:08x}"
            raise Difference(f"{where}: {name} is {mine}, golden has {theirs}; weights and counters are equal")


def same_predictions(predictions: NDArray[np.integer], golden: NDArray[np.integer]) -> None:
    """Raise :class:`Difference` unless all predictions are golden's."""
    different = np.flatnonzero(predictions != golden)
    if different.size:
        sample = int(different[0])
        raise Difference(f"test sample {sample}: predicted {predictions[sample]}, golden predicts {golden[sample]}")
