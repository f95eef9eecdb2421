"""The chip's order of a stored set: a permutation of ``0 … count − 1`` that the chip makes number by number from a key.

A Feistel network permutes the numbers of ``w`` bits, where ``w`` is the least width, at least 2, that holds
``count − 1``. Its halves are the even and the odd bits of a number, so they need no shifts by ``w``. A number that
leaves the set is permuted again until it is back (cycle walking: Black and Rogaway, "Ciphers with Arbitrary Finite
Domains", 2002). That takes fewer than two passes on average where ``count > 2``.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from popflip.golden.common.prng import Xorshift32, first_state
from popflip.golden.errors import ConfigError

ROUNDS = 6
KEY_WORDS = ROUNDS // 2
"""Random words of a key: two halves of 16 bits each, a half a round."""
MOST = 1 << 24
"""Most samples of a set: halves of 12 bits."""
STATE_MASK = 0x5BD1E995
"""What tells the order's generator from the one of weights and masks: their first states differ in these bits."""

Key = tuple[int, ...]


def order_state(seed: int) -> int:
    """First state of the generator of keys: the run's own with the bits of :data:`STATE_MASK` inverted; 1 if 0."""
    return first_state(seed) ^ STATE_MASK or 1


def draw_key(prng: Xorshift32) -> Key:
    """The next key: of each of the words, first the lower 16 bits, then the upper ones."""
    halves = ((word & 0xFFFF, word >> 16) for word in (prng.draw() for _ in range(KEY_WORDS)))
    return tuple(half for pair in halves for half in pair)


def key_of(seed: int, epoch: int) -> Key:
    """Key of ``epoch``, counted from 0: the ``epoch``-th one that the run's generator of keys draws."""
    prng = Xorshift32(order_state(seed))
    prng.draws(KEY_WORDS * epoch)
    return draw_key(prng)


def permuted(key: Key, count: int, numbers: NDArray[np.integer]) -> NDArray[np.int64]:
    """The samples at places ``numbers`` of the order, int64, same shape.

    Raises :class:`ConfigError` if ``count`` is not 1 … :data:`MOST`, ValueError if a number is not 0 … count − 1.
    """
    _check(count)
    places = np.asarray(numbers, np.int64)
    if places.size and not 0 <= places.min() <= places.max() < count:
        raise ValueError(f"places {places.min()} … {places.max()} are outside 0 … {count - 1}")
    result = places.reshape(-1).copy()
    left = np.arange(result.size)  # numbers that are not in the set, all of them at first
    while left.size:
        result[left] = _encrypt(key, width(count), result[left])
        left = left[result[left] >= count]
    return result.reshape(places.shape)


def permutation(key: Key, count: int) -> NDArray[np.int64]:
    """The whole order, int64 ``[count]``. Raises :class:`ConfigError` as :func:`permuted`."""
    _check(count)
    return permuted(key, count, np.arange(count))


def _check(count: int) -> None:
    if not 1 <= count <= MOST:
        raise ConfigError(f"samples {count}: the chip's order has 1 … {MOST:,} samples")


def width(count: int) -> int:
    """Bits of the network's numbers."""
    return max(2, (count - 1).bit_length())


def scramble(half: NDArray[np.int64], key: int) -> NDArray[np.int64]:
    """The round function: ``x ← half ^ key; x += x << 7; x ^= x >> 6; x += x << 3; x ^= x >> 8``, modulo 2¹⁶."""
    x = half ^ key
    x = x + (x << 7) & 0xFFFF
    x ^= x >> 6
    x = x + (x << 3) & 0xFFFF
    return x ^ x >> 8


def _encrypt(key: Key, bits: int, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """One pass through the network: rounds change the odd bits and the even bits in turn, the odd ones first."""
    even, odd = _gather(numbers), _gather(numbers >> 1)
    even_bits, odd_bits = (1 << bits - bits // 2) - 1, (1 << bits // 2) - 1
    for number, part in enumerate(key):
        if number % 2:
            even ^= scramble(odd, part) & even_bits
        else:
            odd ^= scramble(even, part) & odd_bits
    return _spread()[even] | _spread()[odd] << 1


def _gather(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Every second bit, from bit 0."""
    result = np.zeros_like(numbers)
    for place in range(12):
        result |= (numbers >> 2 * place & 1) << place
    return result


@cache
def _spread() -> NDArray[np.int64]:
    """Table of 4,096 entries: a number with a 0 between any two of its bits."""
    numbers = np.arange(1 << 12, dtype=np.int64)
    result = np.zeros_like(numbers)
    for place in range(12):
        result |= (numbers >> place & 1) << 2 * place
    return result
