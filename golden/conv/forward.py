"""Forward: sums of inputs times weights over a layer's positions (arXiv 2410.09734, eq 1 and 7, at each position)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from popflip.golden.common.forward import activation
from popflip.golden.common.integers import matmul
from popflip.golden.conv.patches import patch_sums
from popflip.golden.layers import Layer


def forward(
    weights: Sequence[NDArray[np.int8]], x: NDArray[np.uint8], layers: Sequence[Layer]
) -> list[NDArray[np.int32]]:
    """Sums of every layer, int32 ``[n, neurons]`` each, ``[y][x][row]``, for activations ``x`` of the image, 0 or 1,
    ``[n, K0]`` (:func:`.patches.pixels`).

    ``v`` of a neuron is ``Σ w·a`` over its synapses and its ``pool × pool`` positions. The inputs ``a`` are ``x`` in
    layer 0, and the :func:`.activation` of the layer below elsewhere.
    """
    sums: list[NDArray[np.int32]] = []
    for w, layer in zip(weights, layers, strict=True):
        patches = patch_sums(activation(sums[-1]) if sums else x, layer)
        seen = patches.reshape(-1, layer.synapses)
        if not sums:  # skip inputs that are 0 in all samples, such as the edges of images
            used = seen.any(axis=0)
            seen, w = seen[:, used], w[:, used]
        bound = layer.pool**2 * layer.synapses  # |a·w| ≤ 1 at each synapse and position
        sums.append(matmul(seen, w.T, bound).reshape(len(x), layer.neurons))
    return sums
