"""State of a network: its weights, its counters and the random state; and how they start, by rule."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from popflip.golden.common.mask import lanes
from popflip.golden.common.prng import Xorshift32, first_state
from popflip.golden.config import WORD, AnyConfig, Config, LbeConfig, Precision


@dataclass
class State:
    """All that learning changes, one array a layer ``[R, S]``: row (neuron), synapse (the bias is the last).

    ``weights`` (W of arXiv 2410.09734) are int8: −1, +1, and 0 if ternary. ``counters`` (Δ, eq 10) are int16 within
    ±mmax. ``rng`` is the xorshift32 state. GFT's; :class:`LbeState` is LBE's.
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
        return replace(self, weights=[w.copy() for w in self.weights], counters=[m.copy() for m in self.counters])


@dataclass
class LbeState(State):
    """The state of LBE: ``weights`` are −1, +1, the signs of ``counters`` (of 0: +1; h = 2k + 1 of arXiv 2412.00119).

    ``classifiers`` (its P) are the bits ρ of each layer, bool ``[C, R]``, and never change.
    """

    classifiers: list[NDArray[np.bool_]] = field(default_factory=list)

    def sha256(self) -> str:
        """Hash, in hexadecimal: layer by layer the counters as int16 little-endian, row-major."""
        digest = hashlib.sha256()
        for m in self.counters:
            digest.update(m.astype("<i2").tobytes())
        return digest.hexdigest()


def signs(bits: NDArray[np.bool_]) -> NDArray[np.int8]:
    """LBE's weights: +1 where the bit is 1 (the counter is 0 or more), else −1."""
    return np.where(bits, np.int8(1), np.int8(-1))


def initial(config: AnyConfig) -> State:
    """The state a run of ``config`` starts from: :func:`gft_initial` or :func:`lbe_initial`."""
    return lbe_initial(config) if isinstance(config, LbeConfig) else gft_initial(config)


def lbe_initial(config: LbeConfig) -> LbeState:
    """Random counters and local classifiers.

    For each layer: 8 draws for each row and 32-synapse word, whose 32 bytes in the order drawn, lowest byte first, are
    the word's counters; of ``b``-bit counters (``mmax = 2**(b−1) − 1``) ``int8(byte) >> (9 − b)``, half their range.
    Then, class by class, one draw for 32 neurons: the bits of ρ.
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


def gft_initial(config: Config) -> State:
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
