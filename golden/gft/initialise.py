"""Initial state of GFT: random weights, zero counters."""

from __future__ import annotations

import numpy as np

from popflip.golden.common.mask import lanes
from popflip.golden.common.prng import Xorshift32, first_state
from popflip.golden.gft.config import Config
from popflip.golden.memory.weights import State
from popflip.golden.network import Precision


def initial(config: Config) -> State:
    """Random weights and zero counters.

    For each layer, row and 32-synapse word in order: draw the signs ``p``, and ``z`` if ternary. A weight is 0 where
    ``z`` is 0; elsewhere it is +1 where ``p`` is 1 and −1 where ``p`` is 0.
    """
    prng = Xorshift32(first_state(config.seed))
    ternary = config.precision == Precision.TERNARY
    state = State([], [], 0)
    for rows, synapses, words in zip(config.rows, config.synapses, config.words, strict=True):
        draws = prng.draws(rows * words * (1 + ternary)).reshape(rows, words, 1 + ternary)
        w = np.where(lanes(draws[..., 0], synapses), np.int8(1), np.int8(-1))
        if ternary:
            w *= lanes(draws[..., 1], synapses)
        state.weights.append(w)
        state.counters.append(np.zeros((rows, synapses), np.int16))
    state.rng = prng.state
    return state
