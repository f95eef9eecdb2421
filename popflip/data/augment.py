"""Augmentation: each epoch, the host moves every training image at random before it is encoded.

::

    order ──▶ values[samples] ──▶ move by 0 or 1 pixel ──▶ thermometer ──▶ bits, the same for every device
                                       ▲
                               moves, from the seed
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from popflip.data.encoding import thermometer

STEPS = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))
"""(rows down, columns right) of moves 0 … 4: none, up, down, left, right."""

STREAM = 1  # separates the moves' generator from that of the sample order
SKIP = 2**16  # moves drawn at a time to reach the point where a run resumes


class Moves:
    """Moves 0 … 4 of the samples of a run.

    The ``i``-th sample trained takes the ``i``-th draw of ``Generator(PCG64([seed, 1])).integers(0, 5)``. The draws do
    not depend on how many are drawn at once.
    """

    def __init__(self, seed: int):
        self._generator = np.random.Generator(np.random.PCG64([seed, STREAM]))
        self._drawn = 0

    def take(self, first: int, count: int) -> NDArray[np.int64]:
        """Moves [count] of samples ``first``, ``first + 1``, … of the run.

        Raises :class:`ValueError` if the move of ``first`` was drawn before.
        """
        if first < self._drawn:
            raise ValueError(f"moves of sample {first}: {self._drawn} were drawn already")
        while self._drawn < first:
            self._draw(min(first - self._drawn, SKIP))
        return self._draw(count)

    def _draw(self, count: int) -> NDArray[np.int64]:
        self._drawn += count
        return self._generator.integers(0, len(STEPS), count)


def shift(images: NDArray, moves: NDArray[np.integer]) -> NDArray:
    """Images [n, height, width] after ``moves`` 0 … 4 [n]. Pixels that leave the image are lost; 0 enters."""
    _, height, width = images.shape
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    moved = np.empty_like(images)
    for move, (down, right) in enumerate(STEPS):
        chosen = moves == move
        moved[chosen] = padded[chosen, 1 - down : 1 - down + height, 1 - right : 1 - right + width]
    return moved


@dataclass(frozen=True)
class MovingImages:
    """Training images that move in each epoch. They are kept as values and encoded one batch at a time."""

    values: NDArray  # [samples, features]
    image: tuple[int, int]  # height and width; their product is the number of features
    thresholds: NDArray  # [levels] or [levels, features]

    def __len__(self) -> int:
        return len(self.values)

    def bits(self, samples: NDArray[np.integer], moves: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Bits [n, levels × features] of ``samples`` [n] after ``moves`` [n]: the image moves, then is encoded."""
        images = shift(self.values[samples].reshape(-1, *self.image), moves)
        return thermometer(images.reshape(len(images), -1), self.thresholds)
