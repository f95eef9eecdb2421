"""Random masks: which synapses of a word flip (GFT: flip probability of arXiv 2410.09734, §4) or are reinforced (LBE:
reinforcement probability of arXiv 2412.00119)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from popflip.golden.common.prng import Xorshift32
from popflip.golden.network import WORD

_ALL_ONES = 2**WORD - 1


def bernoulli(prng: Xorshift32, n: int) -> int:
    """A single mask of :func:`bernoulli_words`, as an int."""
    return int(bernoulli_words(prng, n, 1)[0])


def bernoulli_words(prng: Xorshift32, n: int, count: int) -> NDArray[np.uint32]:
    """``count`` masks of 32 independent bits, each 1 with probability ``n / 256``; uint32 ``[count]``, in draw order.

    A mask ``r`` starts at 0 and takes one random word ``u`` for each bit of ``n``, from the lowest set bit up to bit 7:
    ``r | u`` where the bit is set, which maps a probability ``p`` to ``(1 + p) / 2``; else ``r & u``, which halves it.
    ``n = 256`` gives all ones, ``n = 0`` all zeros, without a draw. :class:`ValueError` if ``n`` is outside 0 … 256.
    """
    if not 0 <= n <= 256:
        raise ValueError(f"probability {n} / 256 is outside 0 … 256")
    if n in (0, 256):
        return np.full(count, _ALL_ONES if n else 0, np.uint32)
    lowest = (n & -n).bit_length() - 1
    draws = prng.draws(count * (8 - lowest)).reshape(count, 8 - lowest)
    mask = np.zeros(count, np.uint32)
    for bit in range(lowest, 8):
        u = draws[:, bit - lowest]
        mask = mask | u if n >> bit & 1 else mask & u
    return mask


def lanes(words: NDArray[np.uint32], synapses: int) -> NDArray[np.bool_]:
    """Bits of ``words`` ``[R, W]`` as bool ``[R, S]``, no pads: lane ``b`` of word ``g`` is synapse ``32g + b``."""
    octets = np.ascontiguousarray(words, "<u4").view(np.uint8)
    return np.unpackbits(octets, axis=1, count=synapses, bitorder="little").astype(np.bool_)


def words(bits: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Inverse of :func:`lanes`: bits ``[R, S]`` packed into uint32 ``[R, ⌈S/32⌉]``, pads 0."""
    rows, synapses = bits.shape
    padded = np.zeros((rows, -(-synapses // WORD) * WORD), np.bool_)
    padded[:, :synapses] = bits
    return np.packbits(padded, axis=1, bitorder="little").view("<u4").astype(np.uint32)
