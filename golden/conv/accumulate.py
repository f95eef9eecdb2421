"""Accumulate: every sample that triggers an update votes at each position of a layer (arXiv 2410.09734, eq 10)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from popflip.golden.common.integers import exact_float, product
from popflip.golden.conv.patches import patch_sums
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
        rows = near[ordered.any(axis=1)]
        if rows.size:
            exact = votes[:, rows].astype(exact_float(bound))
            result[rows] = _sample_by_sample(m[rows], exact, a, patches, layer, mmax)
    return result


def _sample_by_sample(
    m: NDArray[np.int16], votes: NDArray[np.floating], a: NDArray, patches: NDArray[np.int8], layer: Layer, mmax: int
) -> NDArray[np.int16]:
    """:func:`_accumulate_chunk` of some rows ``[rows, S]``, with one product a sample. Counters that may reach an end
    within a sample take its votes one by one. ``votes`` are floats that hold all sums.
    """
    errors = votes.reshape(len(a), layer.pools, len(m))
    summed = patches.reshape(len(a), layer.pools, -1).astype(votes.dtype)
    inside = _magnitudes(a, summed, layer)
    value = m.astype(votes.dtype)
    for number, (error, patch) in enumerate(zip(errors, summed, strict=True)):
        change, travel = error.T @ patch, np.abs(error.T) @ inside[number % len(inside)]
        moved = np.clip(value + change, -mmax, mmax)
        row, synapse = np.nonzero((np.abs(2 * value + change) + travel > 2 * mmax) & (travel > np.abs(change)))
        if row.size:
            steps = _one_by_one(error, a[number], layer, row, synapse)
            moved[row, synapse] = saturating_sum(value[row, synapse].astype(np.int16), steps, mmax)
        value = moved
    return value.astype(np.int16)


def _one_by_one(
    error: NDArray, a: NDArray, layer: Layer, row: NDArray[np.intp], synapse: NDArray[np.intp]
) -> NDArray[np.int32]:
    """Votes of a sample for some counters, ``[steps, T]``, position after position, without those where no row learns.

    ``error`` is ``[pools, rows]``, ``a`` the inputs ``[K]``; ``row`` and ``synapse`` are ``[T]``.
    """
    pool, outputs, single = layer.pool, layer.outputs, Layer(layer.inputs, 1, layer.kernel, layer.stride)
    error = error.astype(np.int32).reshape(outputs.height, outputs.width, -1).repeat(pool, axis=0).repeat(pool, axis=1)
    patches = patch_sums(a[None], single).reshape(single.outputs.height, single.outputs.width, -1)
    learns = error.any(axis=2)
    return error[learns][:, row] * patches[: len(error), : error.shape[1]][learns][:, synapse]


def _travel(
    votes: NDArray[np.int32], a: NDArray, patches: NDArray[np.int8], layer: Layer, bound: int
) -> NDArray[np.floating]:
    """Sums of the magnitudes of votes, ``[rows, S]``, for ``votes`` ``[n·pools, rows]`` and their ``patches``."""
    inside = _magnitudes(a, patches.reshape(len(a), layer.pools, -1), layer)
    magnitudes = np.abs(votes).reshape(len(a), layer.pools, -1)
    if len(inside) < len(a):
        magnitudes = magnitudes.sum(axis=0, keepdims=True)
    return product(magnitudes.reshape(-1, votes.shape[1]).T, inside.reshape(-1, inside.shape[2]), bound)


def _magnitudes(a: NDArray, patches: NDArray, layer: Layer) -> NDArray:
    """The patches of the magnitudes of inputs, ``[n, pools, S]``; ``[1, pools, S]`` if all samples have the same."""
    if (a < 0).any():  # ±1: all inputs inside the image count alike
        return patch_sums(np.ones((1, layer.inputs.size), np.int8), layer).astype(patches.dtype)
    return patches


def saturating_sum(m: NDArray[np.int16], votes: NDArray[np.int32], mmax: int) -> NDArray[np.int16]:
    """Counters ``[T]`` after ``m ← clip(m + vote, ±mmax)`` for each of ``votes`` ``[steps, T]`` in order.

    Let ``top`` be the largest sum of the first votes, as many as it takes, and ``total`` the sum of all. A counter that
    can only meet ``+mmax`` loses there what ``m + top`` is beyond it, and no more: it ends at ``total + min(m, mmax −
    top)``. At the lower end it is the same with the signs changed. Counters that may meet both ends are
    :func:`_joined_steps`.
    """
    if not len(votes):
        return m.copy()
    largest = int(np.abs(votes).max(initial=0))
    kind = np.int32 if len(votes) * largest + 3 * mmax < 2**31 else np.int64
    sums = np.cumsum(votes, axis=0, dtype=kind)
    start, total, top, bottom = m.astype(kind), sums[-1], sums.max(axis=0), sums.min(axis=0)
    over, under = np.maximum(start + top - mmax, 0), np.maximum(-mmax - start - bottom, 0)
    result = (start + total - over + under).astype(np.int16)
    both = np.flatnonzero(((over > 0) & (start + bottom - over < -mmax)) | ((under > 0) & (start + top + under > mmax)))
    if both.size:
        result[both] = _joined_steps(m[both], votes[:, both].astype(kind), mmax)
    return result


def _joined_steps(m: NDArray[np.int16], total: NDArray, mmax: int) -> NDArray[np.int16]:
    """:func:`saturating_sum` of votes ``total`` ``[steps, T]``.

    A step is a function ``clip(m + total, low, high)``, and so are two steps one after the other. So neighbours are
    joined, then neighbours of these, until one function is left: a few passes over all votes instead of many steps.
    """
    low: NDArray = np.broadcast_to(total.dtype.type(-mmax), total.shape)
    high: NDArray = np.broadcast_to(total.dtype.type(mmax), total.shape)
    while len(total) > 1:
        if len(total) % 2:  # one more step that changes nothing
            total = np.concatenate([total, np.zeros_like(total[:1])])
            low = np.concatenate([low, np.full_like(low[:1], -mmax)])
            high = np.concatenate([high, np.full_like(high[:1], mmax)])
        then, least, most = total[1::2], low[1::2], high[1::2]
        low, high = np.clip(low[::2] + then, least, most), np.clip(high[::2] + then, least, most)
        total = total[::2] + then
    return np.clip(m + total[0], low[0], high[0]).astype(np.int16)
