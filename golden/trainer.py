"""Trainer: a network that learns a stream of samples. The engine of its rule does the work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from popflip.golden.common.engine import Engine
from popflip.golden.common.forward import predict
from popflip.golden.common.status import Counts
from popflip.golden.config import AnyConfig, Rule
from popflip.golden.gft.engine import GftEngine
from popflip.golden.lbe.engine import LbeEngine

ENGINES: dict[Rule, type[Engine]] = {Rule.GFT: GftEngine, Rule.LBE: LbeEngine}

_CHUNK = 1024  # samples processed at a time; bounds memory, changes no result


def initial(config: AnyConfig) -> Any:
    """The initial state of a run of ``config``: a :class:`.State`, for LBE an :class:`.LbeState`."""
    return ENGINES[config.rule](config).initial()


class Trainer(Counts):
    """A network that learns, with its counts since :meth:`reset`.

    ``state`` holds all that learning changes. ``engine`` replaces the engine of the configuration's rule.
    """

    def __init__(self, config: AnyConfig, engine: Engine | None = None):
        self.config = config
        self.engine = engine or ENGINES[config.rule](config)
        self.reset()

    def reset(self) -> None:
        """Set weights and random state to the initial ones of the configuration's seed, and all counts to 0."""
        super().__init__(flips=[0] * self.config.depth)
        self.state = self.engine.initial()

    def train(self, x: NDArray[np.uint8], y: NDArray[np.integer]) -> None:
        """Learn samples of the current batch in stream order: inputs of 0 and 1 ``[n, K0]``, classes ``[n]``.

        :class:`ValueError` if a shape or a class does not fit the network.
        """
        self._check_inputs(x)
        if y.shape != x.shape[:1]:
            raise ValueError(f"classes: shape {y.shape}, expected {x.shape[:1]} (one per sample)")
        if y.size and not 0 <= y.min() <= y.max() < self.config.classes:
            raise ValueError(f"classes: {y.min()} … {y.max()} is outside 0 … {self.config.classes - 1}")
        for start in range(0, len(x), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            self.engine.learn(self.state, x[chunk], y[chunk], self)

    def end_batch(self, k: Sequence[int]) -> None:
        """End the batch. ``k`` : synapses to select in each layer, from the configuration's ``schedule``; LBE: empty.

        :class:`ValueError` if their number is wrong.
        """
        self.engine.end_batch(self.state, k, self)

    def infer(self, x: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Predicted classes ``[n]`` of inputs ``[n, K0]``: the largest score, the lowest class on ties.

        :class:`ValueError` if the shape does not fit the network.
        """
        return predict(self.scores(x))

    def scores(self, x: NDArray[np.uint8]) -> NDArray[np.int32]:
        """Scores of each class, int32 ``[n, C]``, of inputs ``[n, K0]``; changes nothing.

        GFT: sums of the last layer. LBE: agreement of the last layer with each class's row of its classifier.
        :class:`ValueError` if the shape does not fit the network.
        """
        self._check_inputs(x)
        chunks = (self.engine.scores(self.state, x[start : start + _CHUNK]) for start in range(0, len(x), _CHUNK))
        return np.concatenate([np.empty((0, self.config.classes), np.int32), *chunks])

    def _check_inputs(self, x: NDArray[np.uint8]) -> None:
        if x.ndim != 2 or x.shape[1] != self.config.inputs:
            raise ValueError(f"inputs: shape {x.shape}, expected (samples, {self.config.inputs})")
