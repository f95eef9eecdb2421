"""Backward: errors of the hidden neurons over a layer's positions (arXiv 2410.09734, eq 12, at each position)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from popflip.golden.common.integers import exact_float, product
from popflip.golden.conv.patches import scatter
from popflip.golden.layers import Layer

_BLOCK = 2**18  # errors of patches computed at a time: they stay in the processor's cache


def backward(
    weights: Sequence[NDArray[np.int8]],
    v: Sequence[NDArray[np.int32]],
    delta: NDArray[np.int32],
    window: Sequence[int],
    dclip: int,
    layers: Sequence[Layer],
) -> list[NDArray[np.int32]]:
    """``δ`` of every layer, int32 ``[n, neurons]`` each, from that of the last, ``delta`` ``[n, C]``.

    From the last layer down: ``δ^{l−1}_i = clip(e_i, ±dclip)`` if ``|v^{l−1}_i| ≤ window[l−1]``, else 0, with ``e``
    from :func:`errors`. ``v`` are the forward sums ``[n, neurons]`` of each layer; those of the last are not read.
    """
    deltas = [delta]
    for layer in range(len(weights) - 1, 0, -1):
        e = np.clip(errors(weights[layer], deltas[0], layers[layer]), -dclip, dclip).astype(np.int32)
        deltas.insert(0, np.where(np.abs(v[layer - 1]) <= window[layer - 1], e, 0))
    return deltas


def errors(w: NDArray[np.int8], delta: NDArray[np.int32], layer: Layer) -> NDArray[np.floating]:
    """``e`` of each input of ``layer``, ``[n, K]``, whole numbers: the sum of ``δ·w`` over all rows, positions and
    synapses that read it; no input is the bias's. Every position of a neuron has that neuron's ``δ``, ``[n, neurons]``.
    """
    taps = layer.synapses - layer.bias
    bound = int(np.abs(delta.reshape(-1, layer.rows)).sum(axis=1, dtype=np.int64).max(initial=0))  # |w| ≤ 1
    kind = exact_float(bound * layer.pool**2 * layer.kernel**2)
    e = np.empty((len(delta), layer.inputs.size), kind)
    block = max(1, _BLOCK // (layer.pools * taps))
    for start in range(0, len(delta), block):
        part = delta[start : start + block]
        patches = product(part.reshape(-1, layer.rows), w[:, :taps], bound).astype(kind, copy=False)
        e[start : start + block] = scatter(patches.reshape(len(part), layer.pools, taps), layer)
    return e
