"""Local scores: agreement of a layer's activations with the fixed random code of each class (arXiv 2412.00119).

Layer ``l`` has a local classifier ``ρ[l]``, ``C`` rows of ``K[l+1]`` bits. Row ``c`` scores class ``c``, and is the
desired activation of the layer's neurons for a sample of class ``c``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from popflip.golden.common.integers import signed_sum


def score(a: NDArray[np.uint64], classifier: NDArray[np.uint64], neurons: int) -> NDArray[np.int32]:
    """``y_c = K − 2·popcount(ρ_c XOR a)``, int32 ``[n, C]``, ``K = neurons``.

    Activations ``a`` ``[words, n]`` and the ``classifier`` ρ ``[words, C]`` are packed bits (:func:`.integers.pack`).
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
