"""Packing: a sample's bytes without those that are zero. Most of an image's bytes are, and each one that is sent costs
a link ten bits and the chip a cycle.

Bytes go in groups of :data:`GROUP`. A group is a mask, whose bit ``i`` says that byte ``i`` of the group is not zero,
and those bytes in order. Masks of zero at the end are left out, but for the sample's very first one: ::

    00 00 07 80 00 00 00 00 | 00 00 00 00 00 00 00 00 | 00 01 00 00 00     as it is
    0c 07 80                | 00                      | 02 01              packed
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

GROUP = 8
"""Bytes that share a mask."""


def pack(samples: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """``samples`` ``[n, B]`` bytes: all of them packed, one behind the other, and how many bytes each takes, ``[n]``.

    A sample takes a byte for each that is not zero, and 1 to ``⌈B/8⌉`` more.
    """
    count, width = samples.shape
    groups = -(-width // GROUP)
    padded = np.zeros((count, groups * GROUP), np.uint8)
    padded[:, :width] = samples
    padded = padded.reshape(count, groups, GROUP)
    there = padded != 0
    content = np.concatenate([np.packbits(there, axis=2, bitorder="little"), padded], axis=2)
    kept = np.ones(content.shape, bool)
    kept[:, :, 1:] = there
    kept[:, 1:, 0] = np.logical_or.accumulate(there.any(axis=2)[:, ::-1], axis=1)[:, ::-1][:, 1:]
    return content[kept], np.count_nonzero(kept, axis=(1, 2))


def unpack(packed: NDArray[np.uint8], sizes: NDArray[np.integer], width: int) -> NDArray[np.uint8]:
    """Inverse of :func:`pack`: ``sizes`` ``[n]`` bytes of ``packed`` each become ``width`` bytes, ``[n, width]``.

    Any bytes are a sample, whether :func:`pack` makes them or not: bytes that are not reached are zero, those past the
    last one are left out. :class:`ValueError` if ``sizes`` are not positive or do not add up to ``packed``.
    """
    sizes = np.asarray(sizes, np.int64)
    if (sizes < 1).any() or sizes.sum() != len(packed):
        raise ValueError(f"{len(packed)} bytes are not {len(sizes)} packed samples of such sizes")
    starts = np.cumsum(sizes) - sizes
    samples = np.zeros((len(sizes), width), np.uint8)
    mask = np.zeros(len(sizes), np.int64)  # of the group, of bytes that are still to come
    base = np.full(len(sizes), -GROUP)  # first byte of the group
    for place in range(int(sizes.max(initial=0))):
        rows = np.flatnonzero(sizes > place)
        byte = packed[starts[rows] + place]
        begins = mask[rows] == 0
        lowest = mask[rows] & -mask[rows]
        column = base[rows] + np.log2(np.maximum(lowest, 1)).astype(np.int64)
        inside = ~begins & (column < width)
        samples[rows[inside], column[inside]] = byte[inside]
        base[rows[begins]] += GROUP
        mask[rows] = np.where(begins, byte, mask[rows] ^ lowest)
    return samples
