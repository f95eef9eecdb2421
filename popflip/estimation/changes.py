"""What the end of a batch changes, as the golden model counts it; and batches spread over a run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from popflip.golden.gft.flip import Flipped
from popflip.golden.gft.select import Selection


@dataclass(frozen=True)
class Changes:
    """Changes of one layer at the end of a batch."""

    records: NDArray[np.integer]  # 32-synapse words with a flip, numbered within the layer, in scan order
    ties: NDArray[np.integer]  # [ties, 2]: row and synapse of each tie that was selected


def changes_of(counters: NDArray[np.int16], selection: Selection, flipped: Flipped, word_base: int) -> Changes:
    """The changes of a layer whose ``counters`` ``[R, S]`` had this ``selection``. ``word_base`` : its first word."""
    tied = np.abs(counters) == selection.theta - 1 if selection.ties else np.zeros_like(selection.mask)
    return Changes(flipped.records[:, 0] - word_base, np.argwhere(selection.mask & tied))


def spread(count: int, batches: int) -> list[int] | None:
    """``batches`` of ``count`` batches, evenly spread; None if there are no more than that."""
    if count <= batches:
        return None
    return [(2 * place + 1) * count // (2 * batches) for place in range(batches)]
