"""Output error: which samples trigger an update, and the errors of the last layer (arXiv 2410.09734, §4)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def output_error(
    v: NDArray[np.int32], t: NDArray[np.integer], margin: int
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Whether each sample triggers an update, and its rival class, both ``[n]``, from sums ``v`` ``[n, C]`` and true
    classes ``t`` ``[n]``.

    The rival ``j`` is the lowest index among the largest ``v_c, c ≠ t``. A sample triggers an update while
    ``v_t − v_j ≤ margin``.
    """
    samples = np.arange(len(t))
    others = v.copy()
    others[samples, t] = np.iinfo(others.dtype).min  # below any sum, so never the rival
    rival = np.argmax(others, axis=1)
    return v[samples, t] - v[samples, rival] <= margin, rival


def output_delta(t: NDArray[np.integer], rival: NDArray[np.integer], classes: int) -> NDArray[np.int32]:
    """``δ`` of the last layer for samples that trigger an update, int32 ``[n, C]``.

    ``δ_t = +1``, ``δ_j = −1``, all others 0.
    """
    samples = np.arange(len(t))
    delta = np.zeros((len(t), classes), np.int32)
    delta[samples, t] = 1
    delta[samples, rival] = -1
    return delta
