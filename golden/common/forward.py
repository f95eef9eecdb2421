"""Forward: sums of inputs times weights, layer by layer (GFT: arXiv 2410.09734, eq 1 and 7).

LBE differs in three points: it has no bias, the inputs of its first layer are ±1 too, and a sum of 0 gives +1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from popflip.golden.common.integers import matmul, signed_sum


def activation(v: NDArray[np.int32]) -> NDArray[np.int8]:
    """Output of hidden neurons: +1 if ``v > 0``, else −1."""
    return 2 * (v > 0).astype(np.int8) - 1


def with_bias(a: NDArray) -> NDArray[np.int8]:
    """Inputs of a layer's synapses, int8 ``[n, K + 1]``: ``a`` ``[n, K]``, then a 1 for the bias."""
    inputs = np.ones((a.shape[0], a.shape[1] + 1), np.int8)
    inputs[:, :-1] = a
    return inputs


def forward(weights: Sequence[NDArray[np.int8]], x: NDArray[np.uint8]) -> list[NDArray[np.int32]]:
    """Sums ``v_o = Σ_i a_i·w_oi`` of every layer, int32 ``[n, R]`` each, for input bits ``x``, 0 or 1, ``[n, K0]``.

    The inputs ``a`` are ``x`` in layer 0, and the :func:`activation` of the layer below elsewhere.
    """
    sums: list[NDArray[np.int32]] = []
    for w in weights:
        a = with_bias(activation(sums[-1]) if sums else x)
        if not sums:  # skip inputs that are 0 in all samples, such as the edges of images
            used = a.any(axis=0)
            a, w = a[:, used], w[:, used]
        sums.append(matmul(a, w.T, bound=w.shape[1]))  # |a·w| ≤ 1 at each synapse
    return sums


def predict(v: NDArray[np.int32]) -> NDArray[np.int64]:
    """Classes ``[n]``: the lowest index among the largest sums of the last layer ``[n, C]``."""
    return np.argmax(v, axis=1)


def lbe_forward(weights: NDArray[np.uint64], a: NDArray[np.uint64], inputs: int) -> NDArray[np.int32]:
    """LBE's sums of one layer, ``z_o = K − 2·popcount(w_o XOR a)``, int32 ``[n, R]``, ``K = inputs``.

    ``weights`` ``[words, R]`` and ``a`` ``[words, n]`` are packed bits (:func:`.integers.pack`); 1 is +1.
    """
    return signed_sum(a[:, :, None], weights[:, None, :], inputs)


def fires(z: NDArray[np.int32]) -> NDArray[np.bool_]:
    """LBE's activation, as a bit: 1 (+1) if ``z ≥ 0``."""
    return z >= 0
