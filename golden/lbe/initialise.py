"""Initial state of LBE: random counters, whose signs are the weights, and random local classifiers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from popflip.golden.common.mask import lanes
from popflip.golden.common.prng import Xorshift32, first_state
from popflip.golden.lbe.config import LbeConfig
from popflip.golden.memory.weights import State
from popflip.golden.network import WORD


@dataclass
class LbeState(State):
    """The state of LBE. ``weights`` are the signs of ``counters``, +1 for 0 (h = 2k + 1 of arXiv 2412.00119).

    ``classifiers`` (P of the paper) are the bits ρ of each layer, bool ``[C, R]``. Training never changes them.
    """

    classifiers: list[NDArray[np.bool_]] = field(default_factory=list)

    def sha256(self) -> str:
        """SHA-256 in hexadecimal over, layer by layer, counters as little-endian int16, row-major."""
        digest = hashlib.sha256()
        for m in self.counters:
            digest.update(m.astype("<i2").tobytes())
        return digest.hexdigest()


def signs(bits: NDArray[np.bool_]) -> NDArray[np.int8]:
    """Weights, int8: +1 where the bit is 1 (the counter is 0 or more), else −1."""
    return np.where(bits, np.int8(1), np.int8(-1))


def initial(config: LbeConfig) -> LbeState:
    """Random counters and local classifiers.

    For each layer, first the counters: 8 draws for each row and 32-synapse word. Their 32 bytes, in the order drawn and
    lowest byte first, are the word's counters: ``int8(byte) >> (9 − b)`` for ``b``-bit counters
    (``mmax = 2**(b−1) − 1``), half their range. Then the bits of ρ: class by class, one draw for 32 neurons.
    """
    prng = Xorshift32(first_state(config.seed))
    state = LbeState([], [], 0)
    shift = 8 - config.mmax.bit_length()
    for rows, synapses, words in zip(config.rows, config.synapses, config.words, strict=True):
        octets = prng.draws(rows * words * WORD // 4).astype("<u4").view(np.int8)
        m = (octets.reshape(rows, words * WORD)[:, :synapses] >> shift).astype(np.int16)
        row_words = -(-rows // WORD)
        state.counters.append(m)
        state.weights.append(signs(m >= 0))
        state.classifiers.append(lanes(prng.draws(config.classes * row_words).reshape(config.classes, row_words), rows))
    state.rng = prng.state
    return state
