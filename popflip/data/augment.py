"""Augmentation: every time a training image is learned, it is another one; the host moves it before it becomes bits.

::

    order ──▶ values[samples] ──▶ move by a pixel or not ──▶ thermometer ──▶ bits, for every device alike
                                       ▲
                                  moves, of the seed
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from popflip.data.datasets import thermometer

STEPS = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))
"""(rows down, columns right) an image goes in moves 0 … 4: none, up, down, left, right."""

STREAM = 1  # keeps the moves' generator apart from that of the sample order
SKIP = 2**16  # moves drawn at a time to get where a resumed run goes on


class Moves:
    """Moves 0 … 4 of the samples of a run.

    The ``i``-th sample of a run takes the ``i``-th draw of ``Generator(PCG64([seed, 1])).integers(0, 5)``, whichever
    sample it is: drawing many at once makes the same numbers.
    """

    def __init__(self, seed: int):
        self._generator = np.random.Generator(np.random.PCG64([seed, STREAM]))
        self._drawn = 0

    def take(self, first: int, count: int) -> NDArray[np.int64]:
        """Moves [count] of samples ``first``, ``first + 1``, … of the run, none of which was taken before."""
        if first < self._drawn:
            raise ValueError(f"moves of sample {first}: {self._drawn} were drawn already")
        while self._drawn < first:
            self._draw(min(first - self._drawn, SKIP))
        return self._draw(count)

    def _draw(self, count: int) -> NDArray[np.int64]:
        self._drawn += count
        return self._generator.integers(0, len(STEPS), count)


def shift(images: NDArray, moves: NDArray[np.integer]) -> NDArray:
    """Images [n, height, width] after a move 0 … 4 each, [n]. What leaves is lost, and 0 enters."""
    _, height, width = images.shape
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    moved = np.empty_like(images)
    for move, (down, right) in enumerate(STEPS):
        chosen = moves == move
        moved[chosen] = padded[chosen, 1 - down : 1 - down + height, 1 - right : 1 - right + width]
    return moved


@dataclass(frozen=True)
class MovingImages:
    """Training images that are moved each time they are learned, kept as values: bits are made a batch at a time."""

    values: NDArray  # [samples, features]
    image: tuple[int, int]  # height and width; their product is the number of features
    thresholds: NDArray  # [levels] or [levels, features]

    def __len__(self) -> int:
        return len(self.values)

    def bits(self, samples: NDArray[np.integer], moves: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Bits [n, levels × features] of ``samples`` [n] after their ``moves`` [n]: the image moves, then is coded."""
        images = shift(self.values[samples].reshape(-1, *self.image), moves)
        return thermometer(images.reshape(len(images), -1), self.thresholds)
