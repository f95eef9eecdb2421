"""State of a network: weights, counters and random state; its hash, and the comparison of two states."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from popflip.golden.network import WORD


@dataclass
class State:
    """All that learning changes, one array ``[R, S]`` per layer: row (neuron), synapse (the bias is the last).

    ``weights`` (W of arXiv 2410.09734) are int8: −1, +1, and 0 if ternary. ``counters`` (Δ, eq 10) are int16 within
    ±mmax. ``rng`` is the state of the random generator. LBE adds its classifiers (:class:`.LbeState`).
    """

    weights: list[NDArray[np.int8]]
    counters: list[NDArray[np.int16]]
    rng: int

    def sha256(self) -> str:
        """SHA-256 in hexadecimal over each layer: weights as int8, then counters as little-endian int16, row-major."""
        digest = hashlib.sha256()
        for w, m in zip(self.weights, self.counters, strict=True):
            digest.update(w.astype(np.int8).tobytes())
            digest.update(m.astype("<i2").tobytes())
        return digest.hexdigest()

    def copy(self) -> State:
        """An independent copy: training either state leaves the other unchanged."""
        return replace(self, weights=[w.copy() for w in self.weights], counters=[m.copy() for m in self.counters])


def first_difference(state: State, golden: State) -> str | None:
    """Text that names the first difference between ``state`` and ``golden``; None if they are equal.

    The order is layer, row, synapse, and a weight before its counter.
    """
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
