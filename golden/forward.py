"""Forward: popcounts of inputs against weights, layer by layer (arXiv 2410.09734, eq 1 and 7)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .integers import matmul


def activation(v: NDArray[np.int32]) -> NDArray[np.int8]:
    """Output of hidden neurons: +1 if ``v > 0``, else −1."""
    return 2 * (v > 0).astype(np.int8) - 1


def with_bias(a: NDArray) -> NDArray[np.int8]:
    """Inputs of a layer's synapses, int8 ``[n, K + 1]``: ``a`` ``[n, K]``, then the bias, whose input is always 1."""
    inputs = np.ones((a.shape[0], a.shape[1] + 1), np.int8)
    inputs[:, :-1] = a
    return inputs


def forward(weights: Sequence[NDArray[np.int8]], x: NDArray[np.uint8]) -> list[NDArray[np.int32]]:
    """Sums ``v_o = Σ_i a_i·w_oi`` of every layer, int32 ``[n, R]`` each, for input bits ``x``, 0 or 1, ``[n, K0]``.

    Layer 0 takes ``a = x``, a deeper one ``a =`` :func:`activation` of the sums before it.
    """
    sums: list[NDArray[np.int32]] = []
    for w in weights:
        a = with_bias(activation(sums[-1]) if sums else x)
        sums.append(matmul(a, w.T, bound=w.shape[1]))  # |a·w| ≤ 1 at each synapse
    return sums


def predict(v: NDArray[np.int32]) -> NDArray[np.int64]:
    """Classes ``[n]``: the lowest index among the largest sums of the last layer ``[n, C]``."""
    return np.argmax(v, axis=1)
