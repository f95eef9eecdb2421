"""Words of patches that a chip with convolutions takes, by layer and position."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from popflip.golden.conv.patches import patch_sums, pixels
from popflip.golden.layers import Layer, Planes


class UpperWords(NamedTuple):
    """Words of a layer above the first, ``[positions down, across]``.

    ``kept`` : those that are taken: some synapse sees the image, or it is the position's last. ``dropped`` : those
    beside the image between them, which take a cycle of the gathering too.
    """

    kept: NDArray[np.int64]
    dropped: NDArray[np.int64]


def seen(x: NDArray[np.uint8], image: Planes, layer: Layer) -> NDArray[np.int8]:
    """What the synapses of the first ``layer`` see of samples ``x`` ``[n, K0]``, ``[n, down, across, synapses]``.

    Positions that fill no pool are left out.
    """
    grid = Layer(layer.inputs, 1, layer.kernel, layer.stride)
    patches = patch_sums(pixels(x, image), grid)
    patches = patches.reshape(len(x), grid.outputs.height, grid.outputs.width, layer.synapses)
    return patches[:, : layer.outputs.height * layer.pool, : layer.outputs.width * layer.pool]


def nonzero(patches: NDArray[np.int8], lanes: int) -> NDArray[np.int16]:
    """Words of ``lanes`` synapses that are not all 0, ``[n, down, across]``, of :func:`seen`."""
    return _words(patches, lanes).sum(axis=3, dtype=np.int16)


def listed(words: NDArray[np.int16], layer: Layer) -> NDArray[np.int16]:
    """Words in a sample's list, from its :func:`nonzero` ones.

    The last position of a pool has one if any has, and that of the last pool in any case.
    """
    result, pool = words.copy(), layer.pool
    begun = per_pool(words, layer).reshape(len(words), layer.outputs.height, layer.outputs.width) > 0
    begun[:, -1, -1] = True
    ends = result[:, pool - 1 :: pool, pool - 1 :: pool]
    ends += begun & (ends == 0)
    return result


def upper(layer: Layer, lanes: int) -> UpperWords:
    """The words of ``layer``, which is above the first. They are the same for all samples."""
    if layer.bias:
        return UpperWords(np.full((1, 1), -(-layer.synapses // lanes)), np.zeros((1, 1), np.int64))
    there = _words(seen(np.ones((1, layer.inputs.size), np.uint8), layer.inputs, layer), lanes)[0]
    row = layer.kernel * layer.inputs.channels
    kept, dropped = (np.zeros(there.shape[:2], np.int64) for _ in range(2))
    for py, across in enumerate(there):
        top = py * layer.stride - layer.padding
        first = max(0, -top) * row // lanes
        last = (min(layer.kernel, layer.inputs.height - top) * row - 1) // lanes
        kept[py] = across[:, first:last].sum(axis=1) + 1
        dropped[py] = last - first + 1 - kept[py]
    return UpperWords(kept, dropped)


def per_pool(words: NDArray[np.integer], layer: Layer) -> NDArray[np.int64]:
    """The sums of ``words`` ``[…, down, across]`` over the positions of each pool, ``[…, pools]``."""
    high, wide, pool = layer.outputs.height, layer.outputs.width, layer.pool
    parts = words.reshape(*words.shape[:-2], high, pool, wide, pool)
    return parts.sum(axis=(-3, -1), dtype=np.int64).reshape(*words.shape[:-2], high * wide)


def at_positions(pools: NDArray, layer: Layer) -> NDArray:
    """A value of each pool ``[n, pools]`` at all of its positions, ``[n, down, across]``."""
    grid = pools.reshape(len(pools), layer.outputs.height, layer.outputs.width)
    return grid.repeat(layer.pool, axis=1).repeat(layer.pool, axis=2)


def _words(patches: NDArray[np.int8], lanes: int) -> NDArray[np.bool_]:
    """Whether each word of ``lanes`` synapses has a synapse that sees no 0, ``[n, down, across, words]``."""
    synapses = patches.shape[3]
    count = -(-synapses // lanes)
    filled = np.zeros((*patches.shape[:3], count * lanes), bool)
    filled[..., :synapses] = patches != 0
    found: NDArray[np.bool_] = np.any(filled.reshape(*patches.shape[:3], count, lanes), axis=4)
    return found
