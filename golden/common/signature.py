"""Flip signature: a checksum of every flip of a run. It compares two runs without reading a weight."""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray


class FlipSignature:
    """CRC-32 (zlib's) over the records of all flips so far; ``crc`` continues an earlier one.

    A record is 8 bytes: a word's global index (layer-major, then row, then word) and its flip mask, both 32 bits,
    little-endian.
    """

    def __init__(self, crc: int = 0):
        self.crc = crc

    def update(self, records: NDArray[np.uint32]) -> None:
        """Add ``records`` ``[n, 2]``, in scan order."""
        self.crc = zlib.crc32(records.astype("<u4").tobytes(), self.crc)
