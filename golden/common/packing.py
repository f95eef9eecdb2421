"""Packing: a sample without its zero bytes. Most bytes of an image are zero, and each byte sent takes ten bits on the
link and a cycle on the chip.

Bytes come in groups of :data:`GROUP`. A packed group is a mask, whose bit ``i`` is 1 if byte ``i`` of the group is not
zero, followed by the nonzero bytes in order. Trailing masks of 0 are dropped, except the sample's first mask: ::

    00 00 07 80 00 00 00 00 | 00 00 00 00 00 00 00 00 | 00 01 00 00 00     sample
    0c 07 80                | 00                      | 02 01              packed
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

GROUP = 8
"""Bytes per mask."""


def pack(samples: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """All ``samples``, bytes ``[n, B]``, packed one after the other, and the packed size of each in bytes, ``[n]``.

    A packed sample has its nonzero bytes and 1 to ``⌈B/8⌉`` masks.
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
    """Inverse of :func:`pack`: ``packed`` samples of ``sizes`` ``[n]`` bytes as ``[n, width]`` bytes.

    Accepts any bytes, not only what :func:`pack` produces: bytes without a mask are zero, bytes past ``width`` are
    dropped. :class:`ValueError` if ``sizes`` are not positive or do not add up to ``len(packed)``.
    """
    sizes = np.asarray(sizes, np.int64)
    if (sizes < 1).any() or sizes.sum() != len(packed):
        raise ValueError(f"{len(packed)} bytes are not {len(sizes)} packed samples of such sizes")
    starts = np.cumsum(sizes) - sizes
    samples = np.zeros((len(sizes), width), np.uint8)
    mask = np.zeros(len(sizes), np.int64)  # of each sample's group, bytes still to come
    base = np.full(len(sizes), -GROUP)  # number of the group's first byte
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
