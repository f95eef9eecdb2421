"""Trainer: the stages in order. Samples vote, a batch's end flips (arXiv 2410.09734, §4)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .accumulate import accumulate
from .backward import backward
from .config import Config
from .error import output_delta, output_error
from .flip import flip
from .forward import activation, forward, predict, with_bias
from .prng import Xorshift32
from .select import select
from .signature import FlipSignature
from .weights import State, initial

_CHUNK = 1024  # samples taken at a time; bounds memory, changes no result


class Trainer:
    """A network that learns a stream of samples.

    ``state`` is what learning changes; the counts, all since :meth:`reset`: ``samples`` trained on, ``batches`` ended,
    ``errors`` (samples that taught), ``correct`` (samples whose class was predicted before learning), ``flips``
    (weights changed, a layer) and ``signature`` of those flips. To resume a run, set them.
    """

    def __init__(self, config: Config):
        self.config = config
        self.reset()

    def reset(self) -> None:
        """Initial weights and random state of the configuration's seed; counters and counts 0."""
        self.state: State = initial(self.config)
        self.samples = 0
        self.batches = 0
        self.errors = 0
        self.correct = 0
        self.flips = [0] * self.config.depth
        self._signature = FlipSignature()

    @property
    def signature(self) -> int:
        """CRC-32 of all flips since reset."""
        return self._signature.crc

    @signature.setter
    def signature(self, crc: int) -> None:
        self._signature = FlipSignature(crc)

    def train(self, x: NDArray[np.uint8], y: NDArray[np.integer]) -> None:
        """Samples of the current batch in stream order: inputs of 0 and 1 ``[n, K0]``, and their classes ``[n]``."""
        self._check_inputs(x)
        if y.shape != x.shape[:1]:
            raise ValueError(f"classes: shape {y.shape}, expected {x.shape[:1]} (one per sample)")
        if y.size and not 0 <= y.min() <= y.max() < self.config.classes:
            raise ValueError(f"classes: {y.min()} … {y.max()} is outside 0 … {self.config.classes - 1}")
        for start in range(0, len(x), _CHUNK):
            self._learn(x[start : start + _CHUNK], y[start : start + _CHUNK])

    def _learn(self, x: NDArray[np.uint8], y: NDArray[np.integer]) -> None:
        config, state = self.config, self.state
        v = forward(state.weights, x)
        teaches, rival = output_error(v[-1], y, config.margin)
        self.samples += len(x)
        self.errors += int(np.count_nonzero(teaches))
        self.correct += int(np.count_nonzero(predict(v[-1]) == y))

        v = [sums[teaches] for sums in v]
        delta_out = output_delta(y[teaches], rival[teaches], config.classes)
        deltas = backward(state.weights, v, delta_out, config.window, config.dclip)
        for layer, delta in enumerate(deltas):
            a = with_bias(activation(v[layer - 1]) if layer else x[teaches])
            state.counters[layer] = accumulate(state.counters[layer], delta, a, config.mmax)

    def end_batch(self, k: Sequence[int]) -> None:
        """Flip at most ``k[l]`` synapses of each layer ``l`` and decay the counters."""
        if len(k) != self.config.depth:
            raise ValueError(f"k: {len(k)} given, expected {self.config.depth} (one per layer)")
        state, prng = self.state, Xorshift32(self.state.rng)
        for layer, (w, m) in enumerate(zip(state.weights, state.counters, strict=True)):
            selected = select(m, w, k[layer]).mask
            flipped = flip(w, m, selected, self.config, prng, self.config.word_base[layer])
            state.weights[layer], state.counters[layer] = flipped.weights, flipped.counters
            self.flips[layer] += flipped.flips
            self._signature.update(flipped.records)
        state.rng = prng.state
        self.batches += 1

    def infer(self, x: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Predicted classes ``[n]`` of inputs ``[n, K0]``; changes nothing."""
        self._check_inputs(x)
        chunks = (x[start : start + _CHUNK] for start in range(0, len(x), _CHUNK))
        return np.concatenate([np.empty(0, np.int64), *(predict(forward(self.state.weights, c)[-1]) for c in chunks)])

    def _check_inputs(self, x: NDArray[np.uint8]) -> None:
        if x.ndim != 2 or x.shape[1] != self.config.inputs:
            raise ValueError(f"inputs: shape {x.shape}, expected (samples, {self.config.inputs})")
