"""The one source of randomness: a 32-bit xorshift generator (Marsaglia 2003)."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

_MASK = 2**32 - 1
_STRIDE = 6  # in long runs of words, 2**_STRIDE of them are made from each starting word
_LONG = 4096  # words from which that is faster than doubling alone
_AHEAD = 2**15  # words that Prefetched makes at a time


def first_state(seed: int) -> int:
    """State a run starts from: ``0x9E3779B9 ^ (7919·seed mod 2³²)``, or 1 if that is 0, which xorshift never leaves."""
    return 0x9E3779B9 ^ (7919 * seed & _MASK) or 1


class Xorshift32:
    """``x ^= x<<13; x ^= x>>17; x ^= x<<5`` (mod 2³²); the new ``x`` is both the word drawn and the next state."""

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
        """The next ``count`` words: ``count`` calls of :meth:`draw`, made by doubling.

        A step is linear over GF(2), so a jump of ``2^j`` steps is one matrix, and applied to the first ``2^j`` words it
        yields the ``2^j`` after them. Of a long run only every 64th word is made like that, and those between by
        stepping all of these at once.
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
        """The next word and the ``count − 1`` that follow it at distances of ``2**stride``; only the first is drawn."""
        words = np.empty(count, np.uint32)
        words[0] = self.draw()
        known, jump = 1, stride
        while known < count:
            words[known : 2 * known] = _apply(_jump_table(jump), words[: min(known, count - known)])
            known, jump = 2 * known, jump + 1
        return words


class Prefetched(Xorshift32):
    """The same words, made many at a time: for many short calls. ``state`` is the last word drawn; it is only read."""

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
    """A linear map of 32-bit words, given as its values ``table[q][b]`` at ``b << 8q``."""
    result = table[0][words & 255]
    for byte in range(1, 4):
        result ^= table[byte][words >> np.uint32(8 * byte) & 255]
    return result


@cache
def _jump_table(power: int) -> NDArray[np.uint32]:
    """``2^power`` steps of the generator, as :func:`_apply` wants them: uint32 ``[4, 256]``."""
    if power == 0:
        x = np.arange(256, dtype=np.uint32) << 8 * np.arange(4, dtype=np.uint32)[:, None]
        x ^= x << np.uint32(13)
        x ^= x >> np.uint32(17)
        return x ^ x << np.uint32(5)
    half = _jump_table(power - 1)
    return _apply(half, half)
