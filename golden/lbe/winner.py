"""Winner: in each group of neurons, the wrong one that is easiest to correct (arXiv 2412.00119), or a right one that is
nearly wrong."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_RIGHT = np.int32(2**30)  # above any |z|: a right neuron comes after every wrong one
_NEVER = np.iinfo(np.int32).max  # above all of them


def winners(z: NDArray[np.int32], wrong: NDArray[np.bool_], group: int, near: int = 0) -> NDArray[np.intp]:
    """Rows to update, ascending, at most one per group, from sums ``z`` and ``wrong`` neurons, both ``[R]``.

    Group ``g`` is neurons ``g·group … min((g+1)·group, R)−1``. Its winner is the wrong neuron with the
    smallest ``|z|``, the lowest index on ties. In a group without a wrong neuron it is the one with the smallest
    ``|z|`` below ``near``, if there is any: the paper's rule is that with ``near = 0``.
    """
    size = min(group, z.size)
    groups = -(-z.size // size)
    distance = np.full(groups * size, _NEVER, np.int32)
    magnitude = np.abs(z)
    np.copyto(distance[: z.size], magnitude, where=wrong)
    if near:
        np.copyto(distance[: z.size], _RIGHT + magnitude, where=~wrong & (magnitude < near))
    by_group = distance.reshape(groups, size)
    nearest = np.argmin(by_group, axis=1)
    numbers = np.arange(groups)
    some = by_group[numbers, nearest] != _NEVER
    return (numbers * size + nearest)[some]
