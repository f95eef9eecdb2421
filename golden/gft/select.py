"""Select: exactly the ``k`` synapses of a layer with the largest counters (arXiv 2410.09734, eq 11)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Selection:
    """Which synapses of a layer may flip.

    ``theta`` : all candidates with ``|m| ≥ theta`` are selected.
    ``ties`` : number of candidates with ``|m| = theta − 1`` that are selected too, the first in scan order; 0 if
    ``theta`` is 1.
    ``mask`` : the selected synapses, bool ``[R, S]``.
    """

    theta: int
    ties: int
    mask: NDArray[np.bool_]


def select(m: NDArray[np.int16], w: NDArray[np.int8], k: int) -> Selection:
    """The ``k`` candidates of a layer with the largest ``A = |m|``, ties in scan order; all of them if at most ``k``.

    A synapse is a candidate if its weight can move by ``s = sgn(m)``: ``s ≠ 0`` and ``s ≠ w``. ``theta`` is the
    smallest value ``≥ 1`` with ``#{candidates with A ≥ theta} ≤ k``; it is ``mmax + 1`` if more than ``k`` candidates
    are saturated.
    """
    sign = np.sign(m)
    candidates = (sign != 0) & (sign != w)
    magnitude = np.abs(m)
    histogram = np.bincount(magnitude[candidates])
    at_least = np.append(np.cumsum(histogram[::-1])[::-1], 0)  # [A]: candidates with |m| ≥ A
    theta = max(1, int(np.argmax(at_least <= k)))
    mask = candidates & (magnitude >= theta)
    ties = 0
    if theta > 1:
        ties = k - int(at_least[theta])
        last = np.flatnonzero(candidates & (magnitude == theta - 1))[:ties]
        mask.flat[last] = True
    return Selection(theta, ties, mask)
