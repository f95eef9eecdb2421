"""Winner: in each group of neurons, the wrong one that is easiest to correct (arXiv 2412.00119)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_NEVER = np.iinfo(np.int32).max  # above any |z|


def winners(z: NDArray[np.int32], wrong: NDArray[np.bool_], group: int) -> NDArray[np.intp]:
    """Rows to update, ascending, at most one per group, from sums ``z`` and ``wrong`` neurons, both ``[R]``.

    Group ``g`` is neurons ``g·group … min((g+1)·group, R)−1``. Its winner is the wrong neuron with the
    smallest ``|z|``, the lowest index on ties. A group without a wrong neuron has no winner.
    """
    size = min(group, z.size)
    groups = -(-z.size // size)
    distance = np.full(groups * size, _NEVER, np.int32)
    np.copyto(distance[: z.size], np.abs(z), where=wrong)
    by_group = distance.reshape(groups, size)
    nearest = np.argmin(by_group, axis=1)
    numbers = np.arange(groups)
    some = by_group[numbers, nearest] != _NEVER
    return (numbers * size + nearest)[some]
