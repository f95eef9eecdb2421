"""Engine: the interface between the trainer and a learning rule, the same for every rule."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from popflip.golden.common.status import Counts


class Engine(ABC):
    """Learns samples by one rule. The engine holds the configuration. The trainer owns ``state``, whose type depends on
    the rule, and ``counts``; methods update both in place.

    Inputs ``x`` are uint8 0 and 1 ``[n, K0]``, classes ``y`` ``[n]``. The trainer has checked both.
    """

    @abstractmethod
    def __init__(self, config: Any): ...

    @abstractmethod
    def initial(self) -> Any:
        """The initial state of a run."""

    @abstractmethod
    def learn(self, state: Any, x: NDArray[np.uint8], y: NDArray[np.integer], counts: Counts) -> None:
        """Learn samples of the current batch, in stream order."""

    @abstractmethod
    def end_batch(self, state: Any, k: Sequence[int], counts: Counts) -> None:
        """End the batch. ``k`` : flips to select in each layer. :class:`ValueError` if their number is wrong."""

    @abstractmethod
    def scores(self, state: Any, x: NDArray[np.uint8]) -> NDArray[np.int32]:
        """Score of each class, int32 ``[n, C]``, of inputs ``x``. Changes nothing."""
