"""Local scores: how well a layer's activations agree with each class's fixed random ones (arXiv 2412.00119).

Layer ``l`` has a local classifier ``ρ[l]``, ``C`` rows of ``K[l+1]`` bits. Row ``c`` is both what class ``c`` is scored
by and what the layer's neurons are to be for a sample of class ``c``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from popflip.golden.common.integers import signed_sum


def score(a: NDArray[np.uint64], classifier: NDArray[np.uint64], neurons: int) -> NDArray[np.int32]:
    """``y_c = K − 2·popcount(ρ_c XOR a)``, int32 ``[n, C]``, ``K = neurons``.

    ``a`` is the activations ``[words, n]``, ``classifier`` the ρ ``[words, C]``, both packed (:func:`integers.pack`).
    """
    return signed_sum(a[:, :, None], classifier[:, None, :], neurons)


def predict(y: NDArray[np.int32]) -> NDArray[np.int64]:
    """Classes ``[n]``: the lowest index among the largest scores of the last layer ``[n, C]``."""
    return np.argmax(y, axis=-1)


def triggers(y: NDArray[np.int32], t: int, margin: int) -> bool:
    """Whether a sample of class ``t`` updates a layer with scores ``y`` ``[C]``: ``y_t − max_{c≠t} y_c < margin``."""
    rivals = y.copy()
    rivals[t] = np.iinfo(y.dtype).min  # below any score
    return int(y[t]) - int(rivals.max()) < margin
