"""Exact integer matrix products at floating-point speed, and sums of ±1·±1 products from packed bits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SINGLE, _DOUBLE = 2**24, 2**53  # float32 and float64 hold every integer up to here


def matmul(left: NDArray, right: NDArray, bound: int) -> NDArray[np.int32]:
    """``left @ right`` of integer matrices, exactly, as int32.

    ``bound`` : upper limit of ``Σ |left·right|`` of every element. :class:`ValueError` if it does not fit 32 bits.

    NumPy multiplies integers in plain loops, and floats with BLAS, some fifty times faster. The floats are exact: every
    factor, product and partial sum is an integer of magnitude at most ``bound``, in whatever order BLAS adds them, and
    the chosen float type holds every such integer. Nothing is ever rounded.
    """
    if not bound < 2**31:
        raise ValueError(f"a matrix product that may reach {bound} does not fit 32 bits")
    return product(left, right, bound).astype(np.int32)


def product(left: NDArray, right: NDArray, bound: int) -> NDArray[np.floating]:
    """:func:`matmul`, as floats. :class:`ValueError` if ``bound`` does not fit 53 bits."""
    if not bound <= _DOUBLE:
        raise ValueError(f"a matrix product that may reach {bound} does not fit 53 bits")
    kind = exact_float(bound)
    return left.astype(kind) @ right.astype(kind)


def exact_float(bound: int) -> type[np.floating]:
    """The smaller float that holds every integer of magnitude at most ``bound``, which fits 53 bits."""
    return np.float32 if bound <= _SINGLE else np.float64


def pack(bits: NDArray) -> NDArray[np.uint64]:
    """Bits ``[n, K]`` packed into ``[⌈K/64⌉, n]``: bit ``b`` of word ``g`` is number ``64g + b``, pads are 0.

    Words come first, so that NumPy adds the popcounts of all rows at once.
    """
    count, width = bits.shape
    octets = np.zeros((count, -(-width // 64) * 8), np.uint8)
    octets[:, : -(-width // 8)] = np.packbits(bits, axis=1, bitorder="little")
    return np.ascontiguousarray(octets.view("<u8").T).astype(np.uint64, copy=False)


def unpack(packed: NDArray[np.uint64], width: int) -> NDArray[np.bool_]:
    """Inverse of :func:`pack`: bits ``[n, width]``."""
    octets = np.ascontiguousarray(packed.T, "<u8").view(np.uint8)
    return np.unpackbits(octets, axis=1, count=width, bitorder="little").astype(np.bool_)


def signed_sum(left: NDArray[np.uint64], right: NDArray[np.uint64], width: int) -> NDArray[np.int32]:
    """``Σ ±1·±1`` over ``width`` bits; 1 is +1: ``width − 2·popcount(left XOR right)``.

    ``left`` and ``right`` are packed, ``[words, …]`` each, and broadcast; the result is ``[…]``.
    """
    return width - 2 * np.add.reduce(np.bitwise_count(left ^ right), axis=0, dtype=np.int32)
