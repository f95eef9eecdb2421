"""Backward: errors of the hidden neurons, from those of the layer above (arXiv 2410.09734, eq 12)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from popflip.golden.common.integers import matmul


def backward(
    weights: Sequence[NDArray[np.int8]],
    v: Sequence[NDArray[np.int32]],
    delta: NDArray[np.int32],
    window: Sequence[int],
    dclip: int,
) -> list[NDArray[np.int32]]:
    """``δ`` of every layer, int32 ``[n, R]`` each, from that of the last, ``delta`` ``[n, C]``.

    From the last layer down: ``e_i = Σ_o δ^l_o·w^l_oi``, where the bias has no neuron below it, and
    ``δ^{l−1}_i = clip(e_i, ±dclip)`` if ``|v^{l−1}_i| ≤ window[l−1]``, else 0: a neuron outside the window does not
    learn. ``v`` are the forward sums ``[n, R]`` of each layer; those of the last layer are not read.
    """
    deltas = [delta]
    for layer in range(len(weights) - 1, 0, -1):
        w = weights[layer][:, :-1]
        bound = int(np.abs(deltas[0]).sum(axis=1).max(initial=0))  # |w| ≤ 1
        e = np.clip(matmul(deltas[0], w, bound), -dclip, dclip)
        deltas.insert(0, np.where(np.abs(v[layer - 1]) <= window[layer - 1], e, 0))
    return deltas
