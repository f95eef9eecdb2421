"""Accumulate: every sample that triggers an update votes in the counters of its synapses (arXiv 2410.09734, eq 10)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from popflip.golden.common.integers import product

_CHUNK = 128  # samples in a product: more make products cheaper, but let more counters saturate
_BLOCK = 2**18  # counters updated at a time: they stay in the processor's cache
_SPARSE = 16  # if at most 1/16 of a block needs a walk, gathering those counters is cheaper than walking the block


def accumulate(m: NDArray[np.int16], delta: NDArray[np.int32], a: NDArray[np.int8], mmax: int) -> NDArray[np.int16]:
    """Counters ``[R, S]`` after ``m_oi ← sat(m_oi + δ_o·a_i)`` for each sample in stream order.

    ``delta`` is ``[n, R]``, ``a`` the inputs of the synapses ``[n, S]``, bias included. ``sat`` clips to ±mmax after
    every sample, so that the order of samples matters.
    """
    m = m.copy()
    rows, synapses = np.flatnonzero(delta.any(axis=0)), np.flatnonzero(a.any(axis=0))  # other counters do not change
    a = np.ascontiguousarray(a[:, synapses])  # sample by sample, the order of the walk
    height = max(1, _BLOCK // max(1, synapses.size))
    for top in range(0, rows.size, height):
        block = rows[top : top + height]
        place = np.ix_(block, synapses)
        counters = m[place]
        for start in range(0, len(delta), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            counters = _accumulate_block(counters, delta[chunk, block], a[chunk], mmax)
        m[place] = counters
    return m


def _accumulate_block(
    m: NDArray[np.int16], delta: NDArray[np.int32], a: NDArray[np.int8], mmax: int
) -> NDArray[np.int16]:
    """:func:`accumulate` for a few samples: two matrix products, and a walk over the counters where order may matter.

    Let ``up`` and ``down`` be the sums of a counter's positive and negative votes, ``change = up − down`` and
    ``travel = up + down``. In any order of votes, the counter stays within ``m − down … m + up``. If that range lies
    within ±mmax, that is ``|2m + change| + travel ≤ 2·mmax``, it never saturates. If all votes have one sign, that is
    ``travel = |change|``, it moves one way and stops at ±mmax. Either way it ends at ``clip(m + change)``. All other
    counters are walked sample by sample.
    """
    largest = int(np.abs(delta).max(initial=0))
    bound = 2 * (mmax + len(delta) * largest)  # of every sum below; |a| ≤ 1
    change = product(delta.T, a, bound)
    travel = product(np.abs(delta).T, np.abs(a), bound)
    moved = m + change
    ordered = (np.abs(moved + m) + travel > 2 * mmax) & (travel > np.abs(change))

    kind = np.int16 if mmax + largest <= np.iinfo(np.int16).max else np.int32  # holds a sum before it is clipped
    wide, delta, a = m.astype(kind), delta.astype(kind), a.astype(kind)
    if np.count_nonzero(ordered) * _SPARSE > m.size:
        return _walk(wide, (delta_s[:, None] * a_s for delta_s, a_s in zip(delta, a, strict=True)), mmax)
    result = np.clip(moved, -mmax, mmax).astype(np.int16)
    row, synapse = np.nonzero(ordered)
    if row.size:
        votes = (delta_s[row] * a_s[synapse] for delta_s, a_s in zip(delta, a, strict=True))
        result[row, synapse] = _walk(wide[row, synapse], votes, mmax)
    return result


def _walk(m: NDArray, votes: Iterable[NDArray], mmax: int) -> NDArray[np.int16]:
    """Counters after all ``votes``, clipped after each; a sample's votes have the shape and type of ``m``."""
    low, high = m.dtype.type(-mmax), m.dtype.type(mmax)
    for vote in votes:
        vote += m
        m = np.clip(vote, low, high, out=vote)
    return m.astype(np.int16)
