"""The one source of randomness: a 32-bit xorshift generator (Marsaglia 2003)."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

_MASK = 2**32 - 1


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
        yields the ``2^j`` after them.
        """
        words = np.empty(count, np.uint32)
        if count:
            words[0] = self.draw()
        known, jump = 1, 0
        while known < count:
            words[known : 2 * known] = _apply(_jump_table(jump), words[: min(known, count - known)])
            known, jump = 2 * known, jump + 1
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
