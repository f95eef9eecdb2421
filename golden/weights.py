"""State of a network: its weights, its counters and the random state; and how they start."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .config import WORD, Config, Precision
from .mask import lanes
from .prng import Xorshift32, first_state


@dataclass
class State:
    """All that learning changes, one array a layer ``[R, S]``: row (neuron), synapse (the bias is the last).

    ``weights`` (W of arXiv 2410.09734) are int8: −1, +1, and 0 if ternary. ``counters`` (Δ, eq 10) are int16 within
    ±mmax. ``rng`` is the xorshift32 state.
    """

    weights: list[NDArray[np.int8]]
    counters: list[NDArray[np.int16]]
    rng: int

    def sha256(self) -> str:
        """Hash, in hexadecimal: layer by layer, weights as int8, then counters as int16 little-endian, row-major."""
        digest = hashlib.sha256()
        for w, m in zip(self.weights, self.counters, strict=True):
            digest.update(w.astype(np.int8).tobytes())
            digest.update(m.astype("<i2").tobytes())
        return digest.hexdigest()

    def copy(self) -> State:
        """A state of its own: later training of either leaves the other as it was."""
        return State([w.copy() for w in self.weights], [m.copy() for m in self.counters], self.rng)


def initial(config: Config) -> State:
    """Random weights and zero counters.

    For each layer, row and 32-synapse word in order: draw the signs ``p``; ternary: draw ``z``. Where ``z`` is 0 the
    weight is 0; elsewhere +1 where ``p`` is 1, −1 where it is 0.
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


def first_difference(state: State, golden: State) -> str | None:
    """Where two states first differ, in scan order (layer, row, word, then synapse; a weight before its counter)."""
    for layer, (w, m, golden_w, golden_m) in enumerate(
        zip(state.weights, state.counters, golden.weights, golden.counters, strict=True)
    ):
        places = np.argwhere((w != golden_w) | (m != golden_m))
        if not places.size:
            continue
        row, synapse = (int(index) for index in places[0])
        kind, mine, theirs = (
            ("weight", w, golden_w) if w[row, synapse] != golden_w[row, synapse] else ("counter", m, golden_m)
        )
        return (
            f"layer {layer}, row {row}, word {synapse // WORD}, synapse {synapse}: {kind} is {mine[row, synapse]}, "
            f"golden has {theirs[row, synapse]}"
        )
    return None
