"""The only source of randomness: a 32-bit xorshift generator (Marsaglia 2003)."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

_MASK = 2**32 - 1
_STRIDE = 6  # log2 of the words made from each starting word of a long run
_LONG = 4096  # words of a long run: stepping many at once beats doubling alone
_AHEAD = 2**15  # words that Prefetched draws from its source at a time


def first_state(seed: int) -> int:
    """Initial state of a run: ``0x9E3779B9 ^ (7919·seed mod 2³²)``; 1 if that is 0, a state xorshift never leaves."""
    return 0x9E3779B9 ^ (7919 * seed & _MASK) or 1


class Xorshift32:
    """``x ^= x<<13; x ^= x>>17; x ^= x<<5`` (mod 2³²). The new ``x`` is both the word drawn and the next state."""

    def __init__(self, state: int):
        if not 1 <= state <= _MASK:
            raise ValueError(f"xorshift32 state {state} is outside 1 … {_MASK}")
        self.state = state

    def draw(self) -> int:
        """The next word."""
        x = self.state
        x ^= x << 13 & _MASK
        x ^= x >> 17
        x ^= x << 5 & _MASK
        self.state = x
        return x

    def draws(self, count: int) -> NDArray[np.uint32]:
        """The next ``count`` words, uint32 ``[count]``: the same as ``count`` calls of :meth:`draw`, by doubling.

        A step is linear over GF(2), so a jump of ``2^j`` steps is one matrix. Applied to the first ``2^j`` words, it
        yields the next ``2^j``. A long run makes only every 64th word this way, and fills the gaps by stepping all of
        those words at once.
        """
        if not count:
            return np.empty(0, np.uint32)
        stride = _STRIDE if count >= _LONG else 0
        starts = self._every(stride, -(-count >> stride))
        block = np.empty((1 << stride, starts.size), np.uint32)
        block[0] = starts
        for before, after in pairwise(block):
            np.bitwise_xor(before, before << np.uint32(13), out=after)
            after ^= after >> np.uint32(17)
            after ^= after << np.uint32(5)
        words = block.T.reshape(-1)[:count]
        self.state = int(words[-1])
        return words

    def _every(self, stride: int, count: int) -> NDArray[np.uint32]:
        """The next word and ``count − 1`` more, each ``2**stride`` steps after the one before. Draws only the first."""
        words = np.empty(count, np.uint32)
        words[0] = self.draw()
        known, jump = 1, stride
        while known < count:
            words[known : 2 * known] = _apply(_jump_table(jump), words[: min(known, count - known)])
            known, jump = 2 * known, jump + 1
        return words


class Prefetched(Xorshift32):
    """The same words, drawn ahead in blocks: faster for short calls. Never write ``state``, the last word drawn."""

    def __init__(self, state: int):
        super().__init__(state)
        self._source = Xorshift32(state)
        self._words = np.empty(0, np.uint32)
        self._used = 0

    def draw(self) -> int:
        return int(self.draws(1)[0])

    def draws(self, count: int) -> NDArray[np.uint32]:
        if self._used + count > self._words.size:
            more = self._source.draws(max(_AHEAD, count))
            self._words = np.concatenate([self._words[self._used :], more])
            self._used = 0
        words = self._words[self._used : self._used + count]
        self._used += count
        if count:
            self.state = int(words[-1])
        return words


def _apply(table: NDArray[np.uint32], words: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """A linear map of 32-bit ``words``. ``table[q][b]`` is its value at ``b << 8q``."""
    result = table[0][words & 255]
    for byte in range(1, 4):
        result ^= table[byte][words >> np.uint32(8 * byte) & 255]
    return result


@cache
def _jump_table(power: int) -> NDArray[np.uint32]:
    """Table for :func:`_apply` of ``2^power`` steps of the generator: uint32 ``[4, 256]``."""
    if power == 0:
        x = np.arange(256, dtype=np.uint32) << 8 * np.arange(4, dtype=np.uint32)[:, None]
        x ^= x << np.uint32(13)
        x ^= x >> np.uint32(17)
        return x ^ x << np.uint32(5)
    half = _jump_table(power - 1)
    return _apply(half, half)
