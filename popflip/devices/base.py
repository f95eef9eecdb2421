"""One interface to every learner: the golden model, the simulated chip, a board on a serial port.

::

    training ──▶ Device ──┬── GoldenDevice ──▶ golden.trainer
                          └── ChipDevice ──▶ frames ──┬── SimulatedChip (RTL in this process)
                                                      └── SerialTransport (RTL on a board)

The same calls with the same arguments give the same weights, counters, random state and signature on all three.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from popflip.errors import PopflipError
from popflip.golden.common.order import Key
from popflip.golden.config import AnyConfig
from popflip.golden.memory.weights import State

BITS_PER_BYTE = 10
"""Bits on a serial line for each byte: a start bit, eight data bits, a stop bit."""


@dataclass(frozen=True)
class Status:
    """Counts since the last reset. ``cycles`` has the keys of ``CYCLE_COUNTERS``; None without a clock."""

    samples: int = 0
    batches: int = 0  # LBE: equals samples
    errors: int = 0  # samples that triggered an update; LBE: in at least one layer
    correct: int = 0  # training samples predicted correctly before the update
    signature: int = 0  # CRC-32 of the flips
    rng: int = 0  # xorshift32 state
    flips: tuple[int, ...] = ()  # weights changed, per layer
    cycles: dict[str, int] | None = None


@dataclass(frozen=True)
class LinkSpeed:
    """A board's clock and link speed. Sizes are bytes on the line per training sample, framing included.

    ``sample_bytes`` is the size of a sample that is sent, ``number_bytes`` that of the number of a stored one (None:
    the chip has no store).
    """

    clock_hz: int
    baud: int
    sample_bytes: float
    number_bytes: float | None

    def samples_per_second(self, size: float) -> float:
        """Samples of ``size`` bytes that the link carries per second."""
        return self.baud / BITS_PER_BYTE / size


class Device(ABC):
    """A learner configured by ``config``. ``x`` is uint8 [samples, inputs] of 0 and 1; ``y`` is int [samples]."""

    store_samples = 0
    """Training samples that :meth:`store` can hold."""
    walks = False
    """Whether the device walks through its stored set by itself (:meth:`train_set`)."""

    def __init__(self, config: AnyConfig):
        self.config = config

    @abstractmethod
    def reset(self) -> None:
        """Return to the initial state of ``config.seed``, with zero status."""

    @abstractmethod
    def train(self, x: NDArray[np.uint8], y: NDArray[np.integer]) -> None:
        """Learn from samples of the current batch. May be called many times before :meth:`end_batch`."""

    def store(self, x: NDArray[np.uint8], y: NDArray[np.integer]) -> None:
        """Store samples, at most :attr:`store_samples`, on the device; they replace those stored before."""
        raise NotImplementedError

    def train_stored(self, numbers: NDArray[np.integer]) -> None:
        """Learn stored samples as :meth:`train` does; ``numbers`` [n] are their positions in the store, from 0."""
        raise NotImplementedError

    def train_set(self, key: Key, place: int, samples: int, schedule: Sequence[tuple[int, ...]]) -> None:
        """Learn the stored set in the order of ``key``, from ``place`` on (:mod:`popflip.golden.common.order`).

        For each item of ``schedule``, learn ``samples`` samples and end the batch, as :meth:`end_batch` does with that
        item. Without any, learn ``samples`` samples.
        """
        raise NotImplementedError

    def infer_set(self, key: Key, place: int, samples: int) -> NDArray[np.integer]:
        """The predicted classes of ``samples`` samples of the stored set, in the order of ``key`` from ``place`` on."""
        raise NotImplementedError

    @property
    def link_speed(self) -> LinkSpeed | None:
        """Speed of the link; None if the device has no serial line or does not know its clock."""
        return None

    @abstractmethod
    def end_batch(self, k: tuple[int, ...]) -> None:
        """End the batch. ``k`` comes from ``config.schedule``.

        GFT: select ``k[l]`` synapses of each layer, flip them and decay the counters. LBE: does nothing, ``k`` is
        empty; each sample is a batch, so one call may follow any number of samples.
        """

    @abstractmethod
    def infer(self, x: NDArray[np.uint8]) -> NDArray[np.integer]:
        """The predicted class of each sample. Changes neither :meth:`status` (except cycles) nor :meth:`state`."""

    @abstractmethod
    def status(self) -> Status:
        """Counts since reset."""

    @abstractmethod
    def state(self) -> State:
        """A copy of the weights, the counters and the random state."""

    @abstractmethod
    def load(self, state: State, status: Status | None = None) -> None:
        """Replace the state. Counts and signature continue from ``status``, or from zero."""

    @abstractmethod
    def reopen(self) -> None:
        """Take up the device again after :class:`ChipLost`, and check that it is the same one.

        Afterwards its state and its stored samples are undefined: call :meth:`load` (or :meth:`reset`), and
        :meth:`store` if samples were stored. A device that cannot get lost does nothing. Raises :class:`LinkError` if
        the chip does not answer, and :class:`DeviceError` if another one does.
        """

    def close(self) -> None:
        """Release the port or the simulation. No other method may be called afterwards."""
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with nullcontext() if error is None else suppress(PopflipError):  # the first error is the one to report
            self.close()
