"""Flip: a random part of the selected synapses moves by its counters' signs; all other counters decay
(arXiv 2410.09734, §4)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from popflip.golden.common.mask import bernoulli_words, lanes, words
from popflip.golden.common.prng import Xorshift32
from popflip.golden.gft.config import Config
from popflip.golden.network import WORD, Precision


class Flipped(NamedTuple):
    """A layer after its flips.

    ``weights``, ``counters`` : ``[R, S]``.
    ``records`` : uint32 ``[n, 2]``, global index and flip mask of each changed word, in scan order.
    ``flips`` : changed weights.
    """

    weights: NDArray[np.int8]
    counters: NDArray[np.int16]
    records: NDArray[np.uint32]
    flips: int


def flip(
    w: NDArray[np.int8],
    m: NDArray[np.int16],
    selected: NDArray[np.bool_],
    config: Config,
    prng: Xorshift32,
    word_base: int,
) -> Flipped:
    """Flip the ``selected`` synapses of a layer ``[R, S]`` at random. ``word_base`` is the index of its first word.

    Every word draws a mask ``r``, in scan order, whether or not any of its synapses is ``selected``. Where a synapse is
    selected and ``r = 1``: ``w ← sgn(m)`` (binary) or ``w ← w + sgn(m)`` (ternary), and ``m ← 0``. All other counters
    :func:`decay`.
    """
    rows, synapses = w.shape
    row_words = -(-synapses // WORD)
    masks = bernoulli_words(prng, config.flip_p256, rows * row_words).reshape(rows, row_words)
    flipped = selected & lanes(masks, synapses)
    sign = np.sign(m).astype(np.int8)
    moved = sign if config.precision == Precision.BINARY else w + sign
    changed = words(flipped).reshape(-1)
    index = np.flatnonzero(changed)
    return Flipped(
        weights=np.where(flipped, moved, w),
        counters=np.where(flipped, np.int16(0), decay(m, config.shift)),
        records=np.stack([word_base + index, changed[index]], axis=1).astype(np.uint32),
        flips=int(np.count_nonzero(flipped)),
    )


def decay(m: NDArray[np.int16], shift: int | None) -> NDArray[np.int16]:
    """Counters at the end of a batch: ``m − (m >> shift)``, rounding the shift down; 0 if ``shift`` is None."""
    if shift is None:
        return np.zeros_like(m)
    return m - (m >> min(shift, 15))  # after 15 shifts only the sign of an int16 is left
