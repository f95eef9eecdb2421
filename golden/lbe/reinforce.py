"""Reinforce: the counters of the winners' rows move towards the desired activation, and at random away from 0
(arXiv 2412.00119)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from popflip.golden.common.mask import bernoulli_words, lanes, words
from popflip.golden.common.prng import Xorshift32
from popflip.golden.lbe.config import LbeConfig
from popflip.golden.network import WORD


class Reinforced(NamedTuple):
    """Rows after their update.

    ``counters`` : ``[n, S]``; a weight is +1 where its counter is 0 or more.
    ``records`` : uint32 ``[m, 2]``, global index and changed weight bits of each changed word, in the order of updates.
    ``flips`` : changed weights.
    """

    counters: NDArray[np.int16]
    records: NDArray[np.uint32]
    flips: int


def reinforce(
    k: NDArray[np.int16],
    up: NDArray[np.bool_],
    rows: NDArray[np.intp],
    config: LbeConfig,
    prng: Xorshift32,
    word_base: int,
) -> Reinforced:
    """Update ``rows`` ``[n]``, counters ``k`` ``[n, S]``, of a layer whose first word has index ``word_base``.

    Row by row, each word draws a mask ``r``. ``up`` ``[n, S]`` is 1 where the input equals the neuron's desired
    activation: there ``k ← sat(k + 1)``, elsewhere ``k ← sat(k − 1)``. Then, where ``r = 1``, ``k ← sat(k + 1)`` if
    ``k ≥ 0``, else ``sat(k − 1)``. ``sat`` clips to ``−mmax − 1 … mmax``.
    """
    count, synapses = k.shape
    row_words = -(-synapses // WORD)
    masks = bernoulli_words(prng, config.reinforce_p256, count * row_words).reshape(count, row_words)
    moved = _saturate(k + (2 * up.view(np.int8) - 1), config.mmax)
    if config.reinforce_p256:
        away = (moved >> 15) | 1  # −1 below 0, else +1
        moved = _saturate(moved + away * lanes(masks, synapses).view(np.int8), config.mmax)
    changed = words((moved ^ k) < 0)  # the sign changes
    row, word = np.nonzero(changed)
    change = changed[row, word]
    return Reinforced(
        counters=moved,
        records=np.stack([word_base + rows[row] * row_words + word, change], axis=1).astype(np.uint32),
        flips=int(np.bitwise_count(change).sum()),
    )


def _saturate(k: NDArray[np.int16], mmax: int) -> NDArray[np.int16]:
    """``k`` clipped, in place."""
    return k.clip(np.int16(-mmax - 1), np.int16(mmax), out=k)
