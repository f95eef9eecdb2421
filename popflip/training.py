"""A training run on any device: sample order, schedule, the golden model alongside, and the last state known.

::

    reset or load ─▶ store ─▶ train(step) ─▶ end_batch(k) ─▶ status ─┬─▶ history, progress
     ▲                         ▲                                     ├─▶ equal to golden, to the last counter?
     │                         └── order                             └─▶ state, now and then ─▶ Keeper ─▶ save
     └──────────────────────── the chip was lost: the state of the Keeper ◀────────────────────────┘

A run is a sequence of **steps**; the status is read after each. GFT: a step is a batch. LBE, where a batch is one
sample: a step is up to :data:`LBE_STEP` samples and ends at a multiple of that, or where the run ends.

A chip that lost the run's state (:class:`ChipLost`) is repaired: it gets the last state known, and the run goes on from
there to the same end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from popflip.data.augment import Moves, MovingImages
from popflip.devices.base import Device, Status
from popflip.errors import ChipLost, ConfigError, DeviceError, Difference, Interrupted, LinkError
from popflip.golden.config import AnyConfig, Rule
from popflip.golden.memory.weights import State
from popflip.verification import compare, same_predictions

COUNT_WRAP = 2**32  # cycle counters have 32 bits

LBE_STEP = 256
"""Samples of a step under LBE."""

SAVE_EVERY = 60.0
"""Seconds between two readings of the state during a run."""
READING_SHARE = 0.02
"""Largest share of a run's time that goes into states that only serve a repair."""
REPAIRS = 5
"""Times that a chip may be lost in a row, without a step that can be kept, before the run gives up."""


@dataclass(frozen=True)
class StepResult:
    """One step: accuracy before learning, samples that triggered an update, weights flipped in each layer."""

    batch: int  # number of the step's last batch, counted from 1
    accuracy: float
    errors: int
    flips: tuple[int, ...]


@dataclass(frozen=True)
class Snapshot:
    """State and counts of a device after a step: all that a run needs to go on from there."""

    state: State
    status: Status


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
    end: Snapshot | None = None  # None from :func:`train`, which does not read the state


Result = TypeVar("Result")
OnStep = Callable[[StepResult], object]
OnSnapshot = Callable[[Snapshot], object]
Announce = Callable[[str], object]


def _ignore(_: object) -> None:
    """The callback when the caller gives none."""


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
    announce: Announce = _ignore,
    on_step: OnStep = _ignore,
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
    (:func:`store_training_set`), so it receives only sample numbers. Nothing is repaired. Raises the errors of
    :func:`run`.
    """
    course = _Course(device, golden, x, y, limit, on_step)
    course.train(stored)
    return course.result(stored)


def infer(
    device: Device, x: NDArray[np.uint8], end: Snapshot, announce: Announce = _ignore, *, loaded: bool = True
) -> NDArray[np.integer]:
    """Classes ``[samples]`` that ``device`` predicts for ``x`` ``[samples, inputs]`` in the state of ``end``.

    ``loaded``: the device is in that state already. A lost chip is repaired as by :func:`with_repairs`, whose errors
    this raises.
    """
    return with_repairs(lambda: device.infer(x), device, end, announce=announce, ready=loaded)


def with_repairs(
    work: Callable[[], Result],
    device: Device,
    start: Snapshot | None,
    *,
    golden: Device | None = None,
    announce: Announce = _ignore,
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
                    _restore(each, start)
            return work()
        except ChipLost as error:
            lost = error
    raise LinkError(f"{lost}; gave up after {REPAIRS} repairs")


def _restore(device: Device, snapshot: Snapshot | None) -> None:
    """Bring ``device`` into the state of ``snapshot``; None: the initial state of its seed."""
    if snapshot is None:
        device.reset()
    else:
        device.load(snapshot.state, snapshot.status)


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


# The last state known -------------------------------------------------------------------------------------------------


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
        _restore(device, self.last)

    def place(self, unit: str) -> str:
        """Where the last state known is, in words; ``unit`` is the name of a batch."""
        return "the beginning" if self.last is None else f"{unit} {self.last.status.batches}"

    def count_loss(self, error: ChipLost, unit: str) -> None:
        """Count a lost chip. Raises :class:`LinkError` if too many came without a state that could be kept."""
        self._losses += 1
        self._interval = 0.0
        if self._losses > REPAIRS:
            raise LinkError(f"{error}; gave up after {REPAIRS} repairs, all at {self.place(unit)}") from None


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
        self.record = _Record()
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
        moves = Moves(config.seed)
        try:
            for index, samples in steps(len(self.x), config, first, self.last):
                if isinstance(self.x, MovingImages):
                    bits = self.x.bits(samples, moves.take(index * config.batch, len(samples)))
                else:
                    bits = self.x[samples]
                if state_was_read:  # that took cycles, which do not belong to training
                    before = self.device.status()
                before = self._step(before, bits, samples, config.schedule(index, self.total), stored)
                stopping = self.stop()
                state_was_read = self._keep(stopping)
                if stopping:
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            reached = self.record.history[-1].batch if self.record.history else first
            raise Interrupted(f"interrupted after {self.unit} {reached} of {self.last}") from None

    def _step(
        self, before: Status, bits: NDArray[np.uint8], samples: NDArray[np.intp], k: tuple[int, ...], stored: bool
    ) -> Status:
        """Train one step on the devices and compare them. Returns the status after it."""
        device, golden, record = self.device, self.golden, self.record
        record.start(before)
        if stored:
            device.train_stored(samples)
        else:
            device.train(bits, self.y[samples])
        device.end_batch(k)
        self.status = after = device.status()
        record.stop(after)
        if golden is not None:
            golden.train(bits, self.y[samples])
            golden.end_batch(k)
            compare(device, golden, after, self.unit)
        record.samples += len(samples)
        record.history.append(_result(before, after))
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


# Results --------------------------------------------------------------------------------------------------------------


@dataclass
class _Record:
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


def _result(before: Status, after: Status) -> StepResult:
    return StepResult(
        batch=after.batches,
        accuracy=(after.correct - before.correct) / (after.samples - before.samples),
        errors=after.errors - before.errors,
        flips=tuple(now - then for now, then in zip(after.flips, before.flips, strict=True)),
    )
