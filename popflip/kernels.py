"""Kernels: the learned weights of a convolutional layer as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from popflip.golden.layers import Layer


def kernel_layers(plan: Sequence[Layer]) -> list[int]:
    """Positions in ``plan`` of the layers that have kernels: all convolutional ones, but those of one pixel."""
    return [index for index, layer in enumerate(plan) if layer.kernel > 1]


def picture(w: NDArray[np.int8], layer: Layer) -> NDArray[np.float32]:
    """The weights ``w`` ``[rows, S]`` of ``layer`` as pixels −1, 0 and +1, with NaN between kernels.

    A layer that reads several channels has a line of kernels for each row, with a kernel for each channel. One that
    reads a single channel has its rows' kernels line by line, in about a square.
    """
    size, channels = layer.kernel, layer.inputs.channels
    kernels = w.reshape(layer.rows, size, size, channels).transpose(0, 3, 1, 2).reshape(-1, size, size)
    columns = channels if channels > 1 else math.ceil(math.sqrt(layer.rows))
    lines = -(-len(kernels) // columns)
    tiles = np.full((lines * columns, size + 1, size + 1), np.nan, np.float32)
    tiles[: len(kernels), :size, :size] = kernels
    grid = tiles.reshape(lines, columns, size + 1, size + 1).transpose(0, 2, 1, 3)
    return grid.reshape(lines * (size + 1), columns * (size + 1))[:-1, :-1]
