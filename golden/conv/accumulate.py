"""Accumulate: every sample that triggers an update votes at each position of a layer (arXiv 2410.09734, eq 10)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from popflip.golden.common.integers import product
from popflip.golden.conv.patches import padded, patch_sums
from popflip.golden.gft.accumulate import accumulate as accumulate_dense
from popflip.golden.layers import Layer

_CHUNK = 128  # samples in a product: more make products cheaper, but let more counters saturate


def accumulate(
    m: NDArray[np.int16], delta: NDArray[np.int32], a: NDArray, layer: Layer, mmax: int
) -> NDArray[np.int16]:
    """Counters ``[R, S]`` after ``m_oi ← sat(m_oi + δ_o·a_i)`` for each sample in stream order, each position ``(py,
    px)`` in order, each row ``o`` and each synapse ``i`` whose input lies inside the image.

    ``delta`` is ``[n, neurons]``, the same at all positions of a neuron; ``a`` are the layer's inputs ``[n, K]``, 0 and
    1 or ±1. ``sat`` clips to ±mmax after every vote, so that the order of votes matters.
    """
    if layer.positions == 1:
        return accumulate_dense(m, delta, patch_sums(a, layer)[:, 0], mmax)
    for start in range(0, len(delta), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        m = _accumulate_chunk(m, delta[chunk], a[chunk], layer, mmax)
    return m.copy()


def _accumulate_chunk(
    m: NDArray[np.int16], delta: NDArray[np.int32], a: NDArray, layer: Layer, mmax: int
) -> NDArray[np.int16]:
    """:func:`accumulate` for a few samples: a matrix product for all votes, and the votes of a counter one by one where
    their order may matter (as in :mod:`.gft.accumulate`).

    Let ``change`` be the sum of a counter's votes and ``travel`` the sum of their magnitudes. If ``|2m + change| +
    travel ≤ 2·mmax``, the counter never saturates. If ``travel = |change|``, it moves one way and stops at ±mmax.
    Either way it ends at ``clip(m + change)``.
    """
    votes = delta.reshape(-1, layer.rows)
    patches = patch_sums(a, layer).reshape(-1, layer.synapses)
    farthest = layer.pool**2 * np.abs(votes).sum(axis=0, dtype=np.int64)  # that a row's counters travel; |a| ≤ 1
    bound = 2 * (mmax + int(farthest.max(initial=0)))
    change = product(votes.T, patches, bound)
    moved = m + change
    result = np.clip(moved, -mmax, mmax).astype(np.int16)
    near = np.flatnonzero(np.abs(m).max(axis=1) + farthest > mmax)  # rows that may reach an end
    if near.size:
        travel = _travel(votes[:, near], a, patches, layer, bound)
        ordered = (np.abs(moved[near] + m[near]) + travel > 2 * mmax) & (travel > np.abs(change[near]))
        for row, synapses in zip(near, ordered, strict=True):
            places = np.flatnonzero(synapses)
            if places.size:
                steps = _row_votes(delta, a, layer, int(row), places)
                result[row, places] = saturating_sum(m[row, places], steps, mmax)
    return result


def _travel(
    votes: NDArray[np.int32], a: NDArray, patches: NDArray[np.int8], layer: Layer, bound: int
) -> NDArray[np.floating]:
    """Sums of the magnitudes of votes, ``[rows, S]``, for ``votes`` ``[n·pools, rows]`` and their ``patches``."""
    if (a < 0).any():  # ±1: all inputs inside the image count alike
        patches = patch_sums(np.ones((1, layer.inputs.size), np.int8), layer)[0]
        magnitudes = np.abs(votes).reshape(len(a), layer.pools, -1).sum(axis=0)
    else:
        magnitudes = np.abs(votes)
    return product(magnitudes.T, patches, bound)


def _row_votes(
    delta: NDArray[np.int32], a: NDArray, layer: Layer, row: int, synapses: NDArray[np.intp]
) -> NDArray[np.int32]:
    """Votes for some ``synapses`` ``[T]`` of a row in stream order, ``[steps, T]``, without steps of ``δ = 0``."""
    outputs = layer.outputs
    neurons = delta.reshape(len(delta), outputs.height, outputs.width, layer.rows)[..., row]
    at_positions = neurons.repeat(layer.pool, axis=1).repeat(layer.pool, axis=2)
    sample, py, px = np.nonzero(at_positions)
    grid = padded(a.astype(np.int8, copy=False), layer)
    ky, kx, channel = np.unravel_index(synapses, (layer.kernel, layer.kernel, layer.inputs.channels))
    corner = np.ravel_multi_index((sample, py * layer.stride, px * layer.stride, np.zeros_like(px)), grid.shape)
    offset = np.ravel_multi_index((np.zeros_like(ky), ky, kx, channel), grid.shape)
    return at_positions[sample, py, px][:, None] * grid.ravel()[corner[:, None] + offset]


def saturating_sum(m: NDArray[np.int16], votes: NDArray[np.int32], mmax: int) -> NDArray[np.int16]:
    """Counters ``[T]`` after ``m ← clip(m + vote, ±mmax)`` for each of ``votes`` ``[steps, T]`` in order.

    A step is a function ``clip(m + total, low, high)``, and so are two steps one after the other. So neighbours are
    joined, then neighbours of these, until one function is left: a few passes over all votes instead of many steps.
    """
    largest = int(np.abs(votes).max(initial=0))
    kind = np.int32 if len(votes) * largest + mmax < 2**31 else np.int64
    total: NDArray = votes.astype(kind, copy=False)
    low: NDArray = np.broadcast_to(kind(-mmax), total.shape)
    high: NDArray = np.broadcast_to(kind(mmax), total.shape)
    while len(total) > 1:
        if len(total) % 2:  # one more step that changes nothing
            total = np.concatenate([total, np.zeros_like(total[:1])])
            low = np.concatenate([low, np.full_like(low[:1], -mmax)])
            high = np.concatenate([high, np.full_like(high[:1], mmax)])
        then, least, most = total[1::2], low[1::2], high[1::2]
        low, high = np.clip(low[::2] + then, least, most), np.clip(high[::2] + then, least, most)
        total = total[::2] + then
    if not len(total):
        return m.copy()
    return np.clip(m + total[0], low[0], high[0]).astype(np.int16)
