"""Patches: what the synapses of a layer see at its positions.

Sum pooling is linear. So a row's sum over the positions of a pool is one product of its weights with the *sum of the
patches* of those positions; and these are the patches, ``pool`` times as far apart, of an image in which neighbours are
added up. A layer takes ``pool²`` times fewer products that way.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from popflip.golden.common.forward import with_bias
from popflip.golden.layers import Layer, Planes


def pixels(x: NDArray[np.uint8], image: Planes) -> NDArray[np.uint8]:
    """Input bits ``[n, K0]`` as the activations of ``image``, ``[n, K0]``: from plane after plane to ``[y][x][c]``.

    Activation ``(y·W + x)·C + c`` is bit ``c·H·W + y·W + x``.
    """
    planes = x.reshape(len(x), image.channels, image.height * image.width)
    return planes.transpose(0, 2, 1).reshape(x.shape)


def padded(a: NDArray, layer: Layer) -> NDArray:
    """Activations ``[n, K]`` as the grid ``[n, Y, X, C]`` that patches at ``layer``'s positions cover.

    The grid starts ``padding`` pixels above and left of the image. It is 0 outside the image, and holds no pixel that
    no patch reaches.
    """
    planes, (high, wide) = layer.inputs, _grid(layer)
    grid = np.zeros((len(a), high, wide, planes.channels), a.dtype)
    inside = grid[:, layer.padding :, layer.padding :][:, : planes.height, : planes.width]
    image = a.reshape(len(a), planes.height, planes.width, planes.channels)
    inside[...] = image[:, : inside.shape[1], : inside.shape[2]]
    return grid


def patch_sums(a: NDArray, layer: Layer) -> NDArray[np.int8]:
    """What each synapse sees at the positions of each pool, added up: int8 ``[n, pools, S]``.

    ``a`` are activations ``[n, K]`` of 0 and ±1. At position ``(py, px)``, synapse ``(ky·k + kx)·C + c`` sees channel
    ``c`` of pixel ``(py·s + ky − k div 2, px·s + kx − k div 2)``, and 0 outside the image. The bias sees 1.
    """
    a = a.astype(np.int8, copy=False)
    if layer.kernel == layer.inputs.height == layer.inputs.width == 1:  # as in a dense layer
        return with_bias(a)[:, None] if layer.bias else a[:, None]
    grid = padded(a, layer)
    for axis in (1, 2):
        grid = _neighbours(grid, axis, layer)
    kernel, step, outputs = layer.kernel, layer.stride * layer.pool, layer.outputs
    patches = sliding_window_view(grid, (kernel, kernel), (1, 2))[:, ::step, ::step]  # [n, H', W', C, ky, kx]
    assert patches.shape[1:3] == (outputs.height, outputs.width)
    sums = patches.transpose(0, 1, 2, 4, 5, 3).reshape(len(a), layer.pools, layer.synapses - layer.bias)
    return np.concatenate([sums, np.ones((*sums.shape[:2], 1), np.int8)], axis=2) if layer.bias else sums


def scatter(e: NDArray, layer: Layer) -> NDArray:
    """The transpose of :func:`patch_sums`: for each input the sum of ``e`` ``[n, pools, S − bias]`` over all that
    read it, ``[n, K]``, of the same type.
    """
    planes, outputs = layer.inputs, layer.outputs
    kernel, step = layer.kernel, layer.stride * layer.pool
    patches = e.reshape(len(e), outputs.height, outputs.width, kernel, kernel, planes.channels)
    high, wide = ((size - 1) * step + kernel for size in (outputs.height, outputs.width))
    grid = np.zeros((len(e), high, wide, planes.channels), e.dtype)
    for ky in range(kernel):
        for kx in range(kernel):
            grid[:, ky : high - kernel + ky + 1 : step, kx : wide - kernel + kx + 1 : step] += patches[:, :, :, ky, kx]
    for axis in (1, 2):
        grid = _to_neighbours(grid, axis, layer)
    result = np.zeros((len(e), planes.height, planes.width, planes.channels), e.dtype)
    inside = grid[:, layer.padding :, layer.padding :][:, : planes.height, : planes.width]
    result[:, : inside.shape[1], : inside.shape[2]] = inside
    return result.reshape(len(e), planes.size)


def _grid(layer: Layer) -> tuple[int, int]:
    """Height and width of the pixels that the patches at all positions cover."""
    outputs = layer.outputs
    high, wide = ((size * layer.pool - 1) * layer.stride + layer.kernel for size in (outputs.height, outputs.width))
    return high, wide


def _neighbours(grid: NDArray, axis: int, layer: Layer) -> NDArray:
    """Each pixel plus the ``pool − 1`` pixels after it, ``stride`` apart, along ``axis``."""
    if layer.pool == 1:
        return grid
    length = grid.shape[axis] - (layer.pool - 1) * layer.stride
    total = _part(grid, axis, 0, length)
    for each in range(1, layer.pool):
        total = total + _part(grid, axis, each * layer.stride, length)
    return total


def _to_neighbours(grid: NDArray, axis: int, layer: Layer) -> NDArray:
    """The transpose of :func:`_neighbours`."""
    if layer.pool == 1:
        return grid
    length, reach = grid.shape[axis], (layer.pool - 1) * layer.stride
    shape = [size + reach * (place == axis) for place, size in enumerate(grid.shape)]
    result = np.zeros(shape, grid.dtype)
    for each in range(layer.pool):
        part = _part(result, axis, each * layer.stride, length)
        part += grid
    return result


def _part(grid: NDArray, axis: int, start: int, length: int) -> NDArray:
    """``length`` pixels of ``grid`` from ``start`` along ``axis``, as a view."""
    return grid[(slice(None),) * axis + (slice(start, start + length),)]
