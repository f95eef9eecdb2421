"""One API for whatever learns: the golden model, the simulated chip, a board on a serial port.

::

    run ──▶ Device ──┬── GoldenDevice ──▶ golden.trainer
                     └── ChipDevice ──▶ frames ──┬── SimulatedChip (RTL in this process)
                                                 └── SerialTransport (RTL on a board)

The same calls with the same arguments leave the same weights, counters, random state and signature in all three.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from popflip.golden.config import AnyConfig
from popflip.golden.errors import ConfigError
from popflip.golden.memory.weights import State

if TYPE_CHECKING:
    from popflip.replay import LinkSpeed

DEFAULT_ROWS, DEFAULT_SYNAPSES = 4, 32
"""MAC array of a simulated chip when nobody says otherwise: rows and synapses a cycle."""


class DeviceError(ConfigError):
    """A device that cannot be opened or used. The message says which, why and what to do."""


@dataclass(frozen=True)
class Status:
    """What a device counts since its reset; ``cycles``, by the names of ``CYCLE_COUNTERS``, where there is a clock."""

    samples: int = 0
    batches: int = 0  # LBE: as many as samples
    errors: int = 0  # samples that taught; LBE: at least one layer
    correct: int = 0  # training samples whose class was predicted before learning
    signature: int = 0  # CRC-32 of the flips
    rng: int = 0  # xorshift32 state
    flips: tuple[int, ...] = ()  # weights changed, one a layer
    cycles: dict[str, int] | None = None


class Device(ABC):
    """Something that learns as ``config`` says. ``x`` is uint8 of 0 and 1, [samples, inputs]; ``y`` int, [samples]."""

    store_samples = 0
    """Training samples it can keep, to be trained by their numbers."""

    def __init__(self, config: AnyConfig):
        self.config = config

    @abstractmethod
    def reset(self) -> None:
        """The initial state of ``config.seed``, zero status."""

    @abstractmethod
    def train(self, x: NDArray[np.uint8], y: NDArray[np.integer]) -> None:
        """Learn from samples of the current batch; may be called many times before :meth:`end_batch`."""

    def store(self, x: NDArray[np.uint8], y: NDArray[np.integer]) -> None:
        """Keep samples, no more than :attr:`store_samples`, instead of those kept before."""
        raise NotImplementedError

    def train_stored(self, numbers: NDArray[np.integer]) -> None:
        """:meth:`train`, with samples that were stored."""
        raise NotImplementedError

    @property
    def link_speed(self) -> LinkSpeed | None:
        """What is known of its link, where there is a line with a speed."""
        return None

    @abstractmethod
    def end_batch(self, k: tuple[int, ...]) -> None:
        """End the batch with what ``config.schedule`` says. GFT: select ``k[l]`` synapses of each layer, flip them and
        decay the counters. LBE: nothing, ``k`` is empty; batches are single samples, any number of them at once."""

    @abstractmethod
    def infer(self, x: NDArray[np.uint8]) -> NDArray[np.integer]:
        """The predicted class of each sample. Changes nothing that :meth:`status` or :meth:`state` tell but cycles."""

    @abstractmethod
    def status(self) -> Status:
        """Counts since reset."""

    @abstractmethod
    def state(self) -> State:
        """A copy of the weights, the counters and the random state."""

    @abstractmethod
    def load(self, state: State, status: Status | None = None) -> None:
        """Take over ``state``; counts and signature go on from ``status``, or from zero."""

    def close(self) -> None:
        """Give back whatever is held (port, simulation). Nothing else may be called afterwards."""
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class GoldenDevice(Device):
    """The golden model: NumPy in this process, no clock."""

    def __init__(self, config: AnyConfig):
        from popflip.golden.trainer import Trainer

        super().__init__(config)
        self.trainer = Trainer(config)

    def reset(self) -> None:
        self.trainer.reset()

    def train(self, x: NDArray[np.uint8], y: NDArray[np.integer]) -> None:
        self.trainer.train(x, y)

    def end_batch(self, k: tuple[int, ...]) -> None:
        self.trainer.end_batch(k)

    def infer(self, x: NDArray[np.uint8]) -> NDArray[np.integer]:
        return self.trainer.infer(x)

    def status(self) -> Status:
        trainer = self.trainer
        return Status(
            samples=trainer.samples,
            batches=trainer.batches,
            errors=trainer.errors,
            correct=trainer.correct,
            signature=trainer.signature,
            rng=trainer.state.rng,
            flips=tuple(trainer.flips),
        )

    def state(self) -> State:
        return self.trainer.state.copy()

    def load(self, state: State, status: Status | None = None) -> None:
        trainer, counts = self.trainer, status or Status(flips=(0,) * self.config.depth)
        trainer.state = state.copy()
        trainer.samples, trainer.batches = counts.samples, counts.batches
        trainer.errors, trainer.correct = counts.errors, counts.correct
        trainer.signature, trainer.flips = counts.signature, list(counts.flips)


def open_device(
    name: str,
    config: AnyConfig,
    rows: int = DEFAULT_ROWS,
    synapses: int = DEFAULT_SYNAPSES,
    waves: Path | None = None,
    announce: Callable[[str], object] | None = None,
    learn_rows: int = 1,
    store: int = 0,
    baud: int | None = None,
    compact: bool = False,
) -> Device:
    """Open ``golden``, ``sim`` or a serial port, at ``baud`` if its board was built for another than the usual one.

    The simulated chip takes ``rows`` × ``synapses`` a cycle, teaches ``learn_rows``, can keep ``store`` samples, is
    ``compact`` or not, and records its signals in ``waves``; ``announce`` is called with a line of text before it is
    built.
    """
    if waves is not None and name != "sim":
        raise DeviceError(f"--waves: only the simulated chip has signals to record, {name} does not")
    if name == "golden":
        return GoldenDevice(config)
    if name != "sim" and not _looks_like_a_port(name):
        raise DeviceError(f"--device {name}: not golden, sim, nor a serial port such as /dev/ttyUSB1 or COM3")
    from popflip.devices.chip import ChipDevice

    if name == "sim":
        from popflip.hw.config import ChipConfig
        from popflip.sim.chip import SimulatedChip

        shape = ChipConfig.of(config, rows, synapses, store_samples=store, learn_rows=learn_rows, compact=compact)
        chip = SimulatedChip(shape, waves, announce)
        return ChipDevice(chip, config, "the simulated chip")
    from popflip.devices.chip import BAUD, SerialTransport

    baud = BAUD if baud is None else baud
    return ChipDevice(SerialTransport(name, baud), config, name, baud)


def _looks_like_a_port(name: str) -> bool:
    """Whether the name has a folder (/dev/…), is COM and a number, or names a kind of port (socket://…)."""
    return "/" in name or (name[:3].upper() == "COM" and name[3:].isdigit())
