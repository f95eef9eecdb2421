"""A training run on any device: steps, schedule, the golden model alongside, and repairs.

::

    reset or load ─▶ store ─▶ train(step) ─▶ end_batch(k) ─▶ status ─┬─▶ history, progress
     ▲                         ▲                                     ├─▶ equal to golden, to the last counter?
     │                         └── order                             └─▶ state, now and then ─▶ Keeper ─▶ save
     └──────────────────────── the chip was lost: the state of the Keeper ◀────────────────────────┘

The order and the steps come from :mod:`popflip.steps`. A chip that lost the run's state is repaired
(:mod:`popflip.repair`): it gets the last state known, and the run goes on from there to the same end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from popflip.data.augment import Moves, MovingImages
from popflip.devices.base import Device, Status
from popflip.errors import ChipLost, ConfigError, DeviceError, Difference, Interrupted
from popflip.golden.common.order import key_of
from popflip.golden.config import Order, Rule
from popflip.golden.memory.weights import State
from popflip.history import Record, Run, StepResult, step_result
from popflip.repair import SAVE_EVERY, Announce, Keeper, OnSnapshot, Snapshot, ignore, with_repairs
from popflip.steps import batch_name, batches_to_run, epoch_steps, pieces, step_batches, steps, watched_steps
from popflip.verification import compare, same_predictions

OnStep = Callable[[StepResult], object]


def _never() -> bool:
    """The answer to "stop?" when the caller gives no function."""
    return False


def run(
    device: Device,
    x: NDArray[np.uint8] | MovingImages,
    y: NDArray[np.integer],
    *,
    start: tuple[State, Status] | None = None,
    golden: Device | None = None,
    limit: int | None = None,
    replay: bool | None = None,
    announce: Announce = ignore,
    on_step: OnStep = ignore,
    save: OnSnapshot | None = None,
    save_every: float = SAVE_EVERY,
    stop: Callable[[], bool] = _never,
) -> Run:
    """Reset ``device``, or load ``start``, and train it on ``x`` ``[samples, inputs]``, ``y`` ``[samples]``.

    ``golden``, a second device, is trained alongside and compared after every step. ``limit`` is the number of batches
    to stop after, counted from the beginning of the full run. ``replay``: see :func:`store_training_set`. ``announce``
    receives lines of text, ``on_step`` the result of each step.

    ``save`` receives the state and counts after a step every ``save_every`` seconds (0: after every step), at the end,
    and before any error is raised: then the last ones known, if they are new. The run ends with :class:`Interrupted`
    after the first step at whose end ``stop()`` is true.

    A lost chip is repaired, at most :data:`REPAIRS` times in a row; the run then ends in the same state as without the
    loss. Raises :class:`ConfigError` if the data does not fill a batch or the run of ``start`` was longer,
    :class:`DeviceError` if the device fails, :class:`Difference` if it differs from ``golden``, and
    :class:`Interrupted` on Ctrl-C.
    """
    batches_to_run(device.config, len(x), limit)
    course = _Course(device, golden, x, y, limit, on_step, stop)
    course.keeper = keeper = Keeper(start, save, save_every)
    stored, lost = False, None
    try:
        while True:
            try:
                if lost is not None:
                    announce(f"{lost}; going on from {keeper.place(batch_name(device.config))}")
                    device.reopen()
                    course.record.rewind()
                for each in (device,) if golden is None else (device, golden):
                    keeper.restore(each)
                stored = store_training_set(device, x, y, replay, announce)
                course.train(stored)
                if keeper.last is None or keeper.last.status is not course.status:  # not read after the last step
                    keeper.keep(course.snapshot())
                keeper.hand_over()
                return course.result(stored, keeper.last)
            except ChipLost as error:
                lost = error
                course.record.repairs += 1
                keeper.count_loss(error, batch_name(device.config))
    except BaseException:
        keeper.hand_over()
        raise


def store_training_set(
    device: Device,
    x: NDArray[np.uint8] | MovingImages,
    y: NDArray[np.integer],
    replay: bool | None = None,
    announce: Announce = ignore,
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
    on_step: OnStep = ignore,
    stored: bool = False,
) -> Run:
    """Train ``device`` from the batch it has reached to the last one. Parameters as in :func:`run`.

    ``golden`` must be in the state of ``device``. ``stored``: the device holds ``x`` and ``y``
    (:func:`store_training_set`), so it receives only sample numbers. Nothing is repaired. Raises the errors of
    :func:`run`.
    """
    course = _Course(device, golden, x, y, limit, on_step)
    course.train(stored)
    return course.result(stored)


def infer(
    device: Device, x: NDArray[np.uint8], end: Snapshot, announce: Announce = ignore, *, loaded: bool = True
) -> NDArray[np.integer]:
    """Classes ``[samples]`` that ``device`` predicts for ``x`` ``[samples, inputs]`` in the state of ``end``.

    ``loaded``: the device is in that state already. A lost chip is repaired as by :func:`with_repairs`, whose errors
    this raises.
    """
    return with_repairs(lambda: device.infer(x), device, end, announce=announce, ready=loaded)


def check_run(run: Run, expected: Run, device: Device, golden: Device, x_test: NDArray[np.uint8]) -> None:
    """Raise :class:`Difference` unless ``device`` made ``run`` as ``golden`` made ``expected``.

    Each step must have the same accuracy, updates and flips; at the end, status, state and the predictions for
    ``x_test`` ``[samples, inputs]`` must be equal. The state is read once, because a slow link takes long for it.
    """
    for mine, theirs in zip(run.history, expected.history, strict=True):
        if mine != theirs:
            raise Difference(f"batch {theirs.batch}: {mine}, golden has {theirs}")
    compare(device, golden, device.status())
    same_predictions(device.infer(x_test), golden.infer(x_test))


def accuracy(predictions: NDArray[np.integer], classes: NDArray[np.integer]) -> float:
    """Share of correct predictions, 0 … 1; both arguments are ``[samples]``."""
    return int(np.count_nonzero(predictions == classes)) / len(classes)


class _Step(NamedTuple):
    """A step: its samples, and what makes a device learn them and end their batches."""

    samples: int
    learn: Callable[[Device], object]


class _Course:
    """A run under way: its devices and data, and what it has recorded."""

    def __init__(
        self,
        device: Device,
        golden: Device | None,
        x: NDArray[np.uint8] | MovingImages,
        y: NDArray[np.integer],
        limit: int | None,
        on_step: OnStep,
        stop: Callable[[], bool] = _never,
    ):
        self.device, self.golden = device, golden
        self.x, self.y = x, y
        self.on_step, self.stop = on_step, stop
        self.total = device.config.batches(len(x))
        self.last = batches_to_run(device.config, len(x), limit)
        self.unit = batch_name(device.config)
        self.keeper: Keeper | None = None
        self.record = Record()
        self.status = Status()

    def train(self, stored: bool) -> None:
        """Train from the batch that the device has reached to the last one."""
        config = self.device.config
        self.status = before = self.device.status()
        first = before.batches  # more than 0 when a run is resumed
        if first > self.total:
            batches = f"{first} samples" if config.rule == Rule.LBE else f"{first} batches"
            raise ConfigError(f"the saved run trained {batches}, but the full run over this data has {self.total}")
        if self.golden is not None:
            compare(self.device, self.golden, before, self.unit)
        state_was_read = self.golden is not None
        walks = stored and self.device.walks and config.order == Order.CHIP
        work = self._walk(first) if walks else self._batches(first, stored)
        try:
            for step in work:
                if state_was_read:  # that took cycles, which do not belong to training
                    before = self.device.status()
                before = self._step(before, step)
                stopping = self.stop()
                state_was_read = self._keep(stopping)
                if stopping:
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            reached = self.record.history[-1].batch if self.record.history else first
            raise Interrupted(f"interrupted after {self.unit} {reached} of {self.last}") from None

    def _batches(self, first: int, stored: bool) -> Iterator[_Step]:
        """The steps from batch ``first`` on, of which the host sends the samples or their numbers."""
        config, moves = self.device.config, Moves(self.device.config.seed)
        for index, samples in steps(len(self.x), config, first, self.last):
            if isinstance(self.x, MovingImages):
                bits = self.x.bits(samples, moves.take(index * config.batch, len(samples)))
            else:
                bits = self.x[samples]
            k = config.schedule(index, self.total)

            def learn(device: Device, bits: NDArray = bits, samples: NDArray = samples, k: tuple = k) -> None:
                if stored and device is self.device:
                    device.train_stored(samples)
                else:
                    device.train(bits, self.y[samples])
                device.end_batch(k)

            yield _Step(len(samples), learn)

    def _walk(self, first: int) -> Iterator[_Step]:
        """The steps from batch ``first`` on, in which the device walks through its stored set: epochs.

        If golden runs alongside, they are those of :meth:`_batches`, and it gets the samples.
        """
        config, device = self.device.config, self.device
        order = self._batches(first, True)

        def walk(begin: int, end: int) -> None:
            for piece in pieces(len(self.x), config.batch, begin, end):
                schedule = [config.schedule(index, self.total) for index in piece.batches]
                device.train_set(key_of(config.seed, piece.epoch), piece.place, piece.samples, schedule)

        watched = watched_steps(first, self.last, step_batches(config))
        for begin, end in epoch_steps(len(self.x), config, first, self.last) if self.golden is None else watched:
            expected = None if self.golden is None else next(order)

            def learn(each: Device, begin: int = begin, end: int = end, expected: _Step | None = expected) -> None:
                if each is device:
                    walk(begin, end)
                else:
                    assert expected is not None
                    expected.learn(each)

            yield _Step((end - begin) * config.batch, learn)

    def _step(self, before: Status, step: _Step) -> Status:
        """Train one step on the devices and compare them. Returns the status after it."""
        device, golden, record = self.device, self.golden, self.record
        record.start(before)
        step.learn(device)
        self.status = after = device.status()
        record.stop(after)
        if golden is not None:
            step.learn(golden)
            compare(device, golden, after, self.unit)
        record.samples += step.samples
        record.history.append(step_result(before, after))
        self.on_step(record.history[-1])
        return after

    def _keep(self, now: bool) -> bool:
        """Keep the state ``now``, or if it is time, or at hand. Returns whether the device's state was read."""
        keeper, compared = self.keeper, self.golden is not None
        if keeper is not None and (now or compared or keeper.wants()):
            began = time.monotonic()
            snapshot = self.snapshot()
            self.record.mark()
            keeper.keep(snapshot, time.monotonic() - began)
            return True
        return compared

    def snapshot(self) -> Snapshot:
        """State and counts after the last step. Golden's state, if it was compared, is the device's."""
        return Snapshot((self.golden or self.device).state(), self.status)

    def result(self, stored: bool, end: Snapshot | None = None) -> Run:
        """The finished run."""
        record = self.record
        verified = len(record.history) if self.golden is not None else 0
        return Run(
            tuple(record.history),
            record.samples,
            record.seconds,
            record.cycles,
            verified,
            stored,
            record.repairs,
            end,
        )
