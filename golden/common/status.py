"""Status: the counts of a trainer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from popflip.golden.common.signature import FlipSignature


@dataclass(eq=False)
class Counts:
    """Counts since the last reset. To resume a run, set all of them.

    ``flips`` : weights changed in each layer. ``samples`` trained on, ``batches`` ended, ``errors`` : samples that
    triggered an update, ``correct`` : samples whose class was predicted before they were learned. ``signature`` :
    CRC-32 of all flips (:class:`.FlipSignature`).
    """

    flips: list[int]
    samples: int = 0
    batches: int = 0
    errors: int = 0
    correct: int = 0
    signature: int = 0

    def count_flips(self, layer: int, flips: int, records: NDArray[np.uint32]) -> None:
        """Add ``flips`` changed weights of ``layer`` and their ``records`` ``[n, 2]``, in scan order."""
        signature = FlipSignature(self.signature)
        signature.update(records)
        self.signature = signature.crc
        self.flips[layer] += flips
