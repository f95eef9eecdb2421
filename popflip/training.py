"""A training run on any device: sample order, schedule, and the golden model alongside.

::

    reset or load ─▶ store ─▶ train(step) ─▶ end_batch(k) ─▶ status ─┬─▶ history, progress
                               ▲                                     └─▶ equal to golden, to the last counter?
                               └── order

A run is a sequence of **steps**; the status is read after each. GFT: a step is a batch. LBE, where a batch is one
sample: a step is up to :data:`LBE_STEP` samples and ends at a multiple of that, or where the run ends.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from popflip.data.augment import Moves, MovingImages
from popflip.devices.base import Device, Status
from popflip.errors import ConfigError, DeviceError, Interrupted
from popflip.golden.config import AnyConfig, Rule
from popflip.golden.memory.weights import State
from popflip.verification import compare

COUNT_WRAP = 2**32  # cycle counters have 32 bits

LBE_STEP = 256
"""Samples of a step under LBE."""


@dataclass(frozen=True)
class StepResult:
    """One step: accuracy before learning, samples that triggered an update, weights flipped in each layer."""

    batch: int  # number of the step's last batch, counted from 1
    accuracy: float
    errors: int
    flips: tuple[int, ...]


@dataclass(frozen=True)
class Run:
    """A finished run. ``seconds`` and ``cycles`` cover training alone, without verification or inference."""

    history: tuple[StepResult, ...]
    samples: int  # trained in this run
    seconds: float
    cycles: dict[str, int] | None
    verified: int  # steps after which the device was compared with the golden model
    replayed: bool = False  # the device stored the samples and received only their numbers


OnStep = Callable[[StepResult], object]
Announce = Callable[[str], object]


def _ignore(_: object) -> None:
    """The callback when the caller gives none."""


def run(
    device: Device,
    x: NDArray[np.uint8] | MovingImages,
    y: NDArray[np.integer],
    *,
    start: tuple[State, Status] | None = None,
    golden: Device | None = None,
    limit: int | None = None,
    replay: bool | None = None,
    announce: Announce = _ignore,
    on_step: OnStep = _ignore,
) -> Run:
    """Reset ``device``, or load ``start``, and train it on ``x`` ``[samples, inputs]``, ``y`` ``[samples]``.

    ``golden``, a second device, is trained alongside and compared after every step. ``limit`` is the number of batches
    to stop after, counted from the beginning of the full run. ``replay``: see :func:`store_training_set`. ``announce``
    receives lines of text, ``on_step`` the result of each step.

    Raises :class:`ConfigError` if the data does not fill a batch, :class:`DeviceError` if the device fails,
    :class:`Difference` if it differs from ``golden``, and :class:`Interrupted` on Ctrl-C.
    """
    batches_to_run(device.config, len(x), limit)
    for each in (device,) if golden is None else (device, golden):
        if start is None:
            each.reset()
        else:
            each.load(*start)
    stored = store_training_set(device, x, y, replay, announce)
    return train(device, x, y, limit, golden, on_step, stored)


def store_training_set(
    device: Device,
    x: NDArray[np.uint8] | MovingImages,
    y: NDArray[np.integer],
    replay: bool | None = None,
    announce: Announce = _ignore,
) -> bool:
    """Store the training set on the device if it fits, and return whether it is stored.

    With ``replay`` False, it is never stored; with True, :class:`DeviceError` is raised if it cannot be. Images that
    move differently in each epoch cannot be stored.
    """
    if replay is False:
        return False
    if isinstance(x, MovingImages):
        if replay:
            raise DeviceError("replay: training images move anew in each epoch, so they must be sent; leave it out")
        return False
    room = device.store_samples
    if len(x) > room:
        if replay:
            place = f"the device stores {room}" if room else "the device has no store"
            raise DeviceError(f"replay: the data set has {len(x)} training samples, but {place}; leave it out")
        if room:
            announce(f"the chip stores {room} samples, the training set has {len(x)}: each epoch sends them all")
        return False
    announce(f"storing {len(x)} training samples on the chip")
    device.store(x, y)
    return True


def train(
    device: Device,
    x: NDArray[np.uint8] | MovingImages,
    y: NDArray[np.integer],
    limit: int | None = None,
    golden: Device | None = None,
    on_step: OnStep = _ignore,
    stored: bool = False,
) -> Run:
    """Train ``device`` from the batch it has reached to the last one. Parameters as in :func:`run`.

    ``golden`` must be in the state of ``device``. ``stored``: the device holds ``x`` and ``y``
    (:func:`store_training_set`), so it receives only sample numbers. Raises the errors of :func:`run`.
    """
    config = device.config
    total = config.batches(len(x))
    last = batches_to_run(config, len(x), limit)
    before = device.status()
    first = before.batches  # more than 0 when a run is resumed
    unit = batch_name(config)
    if golden is not None:
        compare(device, golden, before, unit)
    history: list[StepResult] = []
    samples, moves, meter = 0, Moves(config.seed), _Meter()
    try:
        for index, step in steps(len(x), config, first, last):
            k = config.schedule(index, total)
            bits = x.bits(step, moves.take(index * config.batch, len(step))) if isinstance(x, MovingImages) else x[step]
            if golden is not None:  # the comparison took cycles
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
                compare(device, golden, after, unit)
            samples += len(step)
            history.append(_result(before, after))
            on_step(history[-1])
            before = after
    except KeyboardInterrupt:
        reached = history[-1].batch if history else first
        raise Interrupted(f"interrupted after {unit} {reached} of {last}") from None
    verified = len(history) if golden is not None else 0
    return Run(tuple(history), samples, meter.seconds, meter.cycles, verified, stored)


def accuracy(predictions: NDArray[np.integer], classes: NDArray[np.integer]) -> float:
    """Share of correct predictions, 0 … 1; both arguments are ``[samples]``."""
    return int(np.count_nonzero(predictions == classes)) / len(classes)


# Order and steps ------------------------------------------------------------------------------------------------------


def step_batches(config: AnyConfig) -> int:
    """Batches in a step: 1, or :data:`LBE_STEP` under LBE."""
    return LBE_STEP if config.rule == Rule.LBE else 1


def batch_name(config: AnyConfig) -> str:
    """The name of a batch in messages: ``batch``, or ``sample`` under LBE."""
    return "sample" if config.rule == Rule.LBE else "batch"


def batches_to_run(config: AnyConfig, samples: int, limit: int | None) -> int:
    """Batches of the run, at most ``limit``. :class:`ConfigError` if the data does not fill one."""
    total = config.batches(samples)
    if total == 0:
        raise ConfigError(
            f"batch: {config.batch} samples per batch, but {config.epochs} epochs of {samples} samples have only "
            f"{config.epochs * samples}"
        )
    return total if limit is None else min(total, limit)


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
    """The steps from batch ``first`` (counted from 0) up to ``last``: number of the first batch, and samples."""
    begin = 0
    for order in sample_order(samples, config):
        if begin >= last:
            return
        part = order[max(0, first - begin) * config.batch : (last - begin) * config.batch]
        if len(part):
            yield max(begin, first), part
        begin += len(order) // config.batch


# Results --------------------------------------------------------------------------------------------------------------


class _Meter:
    """Adds up seconds and cycles between each start and stop. A cycle counter may wrap once in between."""

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
