"""The golden model as a :class:`Device`: NumPy in this process, no clock."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from popflip.devices.base import Device, Status
from popflip.golden.common.engine import Engine
from popflip.golden.config import AnyConfig
from popflip.golden.memory.weights import State
from popflip.golden.trainer import Trainer


class GoldenDevice(Device):
    """The golden model of ``config``. Its status has no cycles. ``engine`` replaces the rule's own engine."""

    def __init__(self, config: AnyConfig, engine: Engine | None = None):
        super().__init__(config)
        self.trainer = Trainer(config, engine)

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

    def reopen(self) -> None:
        pass
