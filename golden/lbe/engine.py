"""Engine of LBE: every sample moves the weights of the neurons that are easiest to correct (arXiv 2412.00119)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from popflip.golden.common.engine import Engine
from popflip.golden.common.forward import fires, lbe_forward
from popflip.golden.common.integers import pack, unpack
from popflip.golden.common.prng import Prefetched, Xorshift32
from popflip.golden.common.status import Counts
from popflip.golden.lbe.config import LbeConfig
from popflip.golden.lbe.initialise import LbeState, initial, signs
from popflip.golden.lbe.reinforce import reinforce
from popflip.golden.lbe.score import predict, score, triggers
from popflip.golden.lbe.winner import winners

_CHUNK = 16  # samples scored at a time: their activations stay in the processor's cache

Packed = list[NDArray[np.uint64]]
"""Bits of each layer, packed (:func:`.integers.pack`); 1 is +1."""


class LbeEngine(Engine):
    """LBE. Every sample is a batch, and uses the weights that the previous one left."""

    def __init__(self, config: LbeConfig):
        self.config = config

    def initial(self) -> LbeState:
        return initial(self.config)

    def learn(self, state: LbeState, x: NDArray[np.uint8], y: NDArray[np.integer], counts: Counts) -> None:
        """Learn samples one by one. ``errors`` counts those that update at least one layer."""
        weights, classifiers = _packed(state)
        inputs, prng = pack(x), Prefetched(state.rng)
        try:
            for sample, t in enumerate(y.tolist()):
                a = inputs[:, sample : sample + 1]
                triggered, y_last = self._learn_one(state, weights, classifiers, a, t, prng, counts)
                counts.samples += 1
                counts.batches += 1
                counts.errors += triggered
                counts.correct += int(predict(y_last)) == t
        finally:
            state.rng = prng.state
            layers = zip(weights, self.config.synapses, strict=True)
            state.weights = [signs(unpack(packed, synapses)) for packed, synapses in layers]

    def _learn_one(
        self,
        state: LbeState,
        weights: Packed,
        classifiers: Packed,
        a: NDArray[np.uint64],
        t: int,
        prng: Xorshift32,
        counts: Counts,
    ) -> tuple[bool, NDArray[np.int32]]:
        """Learn one sample, packed ``a`` ``[words, 1]``, of class ``t``. Return whether it updates any layer, and the
        last layer's scores ``[C]``.
        """
        config, triggered = self.config, False
        for layer, (inputs, neurons) in enumerate(zip(config.synapses, config.rows, strict=True)):
            z = lbe_forward(weights[layer], a, inputs)[0]
            fired = fires(z)
            a_next = pack(fired[None])
            y = score(a_next, classifiers[layer], neurons)[0]
            if triggers(y, t, config.margin[layer]):
                triggered = True
                desired = state.classifiers[layer][t]
                rows = winners(z, fired != desired, config.group[layer], config.near[layer])
                if rows.size:
                    up = unpack(a, inputs) == desired[rows, None]
                    self._update(state, weights, layer, rows, up, prng, counts)
            a = a_next
        return triggered, y

    def _update(
        self,
        state: LbeState,
        weights: Packed,
        layer: int,
        rows: NDArray[np.intp],
        up: NDArray[np.bool_],
        prng: Xorshift32,
        counts: Counts,
    ) -> None:
        """Reinforce ``rows`` of ``layer``, and set their packed ``weights`` to the signs of their counters."""
        counters = state.counters[layer]
        updated = reinforce(counters[rows], up, rows, self.config, prng, self.config.word_base[layer])
        counters[rows] = updated.counters
        weights[layer][:, rows] = pack(updated.counters >= 0)
        counts.count_flips(layer, updated.flips, updated.records)

    def end_batch(self, state: LbeState, k: Sequence[int], counts: Counts) -> None:
        """Does nothing: every sample updates the weights at once. ``k`` is empty."""
        if len(k):
            raise ValueError(f"k: {len(k)} given, expected 0 (LBE selects nothing)")

    def scores(self, state: LbeState, x: NDArray[np.uint8]) -> NDArray[np.int32]:
        """Agreement of the last layer's activations with each class's row of its classifier."""
        config = self.config
        weights, classifiers = _packed(state)
        scores = np.empty((len(x), config.classes), np.int32)
        for start in range(0, len(x), _CHUNK):
            a = pack(x[start : start + _CHUNK])
            for w, inputs in zip(weights, config.synapses, strict=True):
                a = pack(fires(lbe_forward(w, a, inputs)))
            scores[start : start + _CHUNK] = score(a, classifiers[-1], config.rows[-1])
        return scores


def _packed(state: LbeState) -> tuple[Packed, Packed]:
    """Weights and classifiers of every layer as packed bits."""
    return [pack(w > 0) for w in state.weights], [pack(rho) for rho in state.classifiers]
