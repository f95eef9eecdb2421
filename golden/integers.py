"""Integer matrix products at the speed of floating point."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SINGLE = 2**24  # a float32 is exact for every integer up to here; a float64 far beyond 32 bits


def matmul(left: NDArray, right: NDArray, bound: int) -> NDArray[np.int32]:
    """``left @ right`` of integer matrices, exactly, as int32.

    ``bound`` is one that ``Σ |left·right|`` of no element of the result exceeds. NumPy multiplies integers with plain
    loops and floats with BLAS, some fifty times faster. The float route is exact all the same: each factor, product and
    partial sum, in whatever order BLAS adds them up, is an integer of magnitude at most ``bound``, and the chosen float
    holds every such integer, so nothing is ever rounded.
    """
    if not bound < 2**31:
        raise ValueError(f"a matrix product that may reach {bound} does not fit 32 bits")
    kind = np.float32 if bound <= _SINGLE else np.float64
    return (left.astype(kind) @ right.astype(kind)).astype(np.int32)
