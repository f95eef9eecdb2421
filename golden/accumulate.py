"""Accumulate: every sample that teaches votes in the counters of the synapses it uses (arXiv 2410.09734, eq 10)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .integers import matmul

_CHUNK = 64  # samples in a product: more make products cheaper, and let more counters come near saturation


def accumulate(m: NDArray[np.int16], delta: NDArray[np.int32], a: NDArray[np.int8], mmax: int) -> NDArray[np.int16]:
    """Counters ``[R, S]`` after ``m_oi ← sat(m_oi + δ_o·a_i)`` for each sample in stream order.

    ``delta`` is ``[n, R]``, ``a`` the inputs of the synapses ``[n, S]``, bias included. ``sat`` clips to ±mmax after
    every sample, so the order counts; see :func:`_accumulate_rows` for how it is kept.
    """
    m = m.copy()
    for start in range(0, len(delta), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        rows = np.flatnonzero(delta[chunk].any(axis=0))
        if rows.size:
            m[rows] = _accumulate_rows(m[rows].astype(np.int32), delta[chunk, rows], a[chunk], mmax)
    return m


def _accumulate_rows(
    m: NDArray[np.int32], delta: NDArray[np.int32], a: NDArray[np.int8], mmax: int
) -> NDArray[np.int32]:
    """:func:`accumulate` for a few samples, in two matrix products and a walk over the counters that need one.

    Let ``change`` be the sum of a counter's votes and ``travel`` the sum of their magnitudes. The votes up are
    ``(travel + change)/2`` in all, the votes down ``(travel − change)/2``. A counter whose ``m`` plus all votes up is
    within mmax, and minus all votes down within −mmax, saturates in no order; that is
    ``|2m + change| + travel ≤ 2·mmax``. One whose votes all have one sign (``travel = |change|``) stops at the end it
    runs into, if any. Both end at ``clip(m + change)``. Only the others are walked sample by sample.
    """
    largest = int(np.abs(delta).max())
    bound = len(delta) * largest  # |a| ≤ 1
    change = matmul(delta.T, a, bound)
    travel = matmul(np.abs(delta).T, np.abs(a), bound)
    result = np.clip(m + change, -mmax, mmax)
    row, synapse = np.nonzero((np.abs(2 * m + change) + travel > 2 * mmax) & (travel > np.abs(change)))
    if row.size:
        walked = m[row, synapse]
        for delta_s, a_s in zip(delta, a, strict=True):
            walked = np.minimum(np.maximum(walked + delta_s[row] * a_s[synapse], -mmax), mmax)
        result[row, synapse] = walked
    return result
