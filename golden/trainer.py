"""Trainer: the stages in order. GFT: samples vote, a batch's end flips (arXiv 2410.09734, §4). LBE: every sample moves
the weights of the neurons that are easiest to put right (arXiv 2412.00119)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from popflip.golden.common.error import output_delta, output_error
from popflip.golden.common.forward import activation, fires, forward, lbe_forward, predict, with_bias
from popflip.golden.common.integers import pack, unpack
from popflip.golden.common.prng import Prefetched, Xorshift32
from popflip.golden.common.signature import FlipSignature
from popflip.golden.config import AnyConfig, Config, LbeConfig, Rule
from popflip.golden.gft.accumulate import accumulate
from popflip.golden.gft.backward import backward
from popflip.golden.gft.flip import Flipped, flip
from popflip.golden.gft.select import Selection, select
from popflip.golden.lbe.reinforce import reinforce
from popflip.golden.lbe.score import predict as predict_score
from popflip.golden.lbe.score import score, triggers
from popflip.golden.lbe.winner import winners
from popflip.golden.memory.weights import LbeState, State, initial, signs

_CHUNK = 1024  # samples taken at a time; bounds memory, changes no result
_LBE_CHUNK = 16  # those LBE predicts at a time: what they need stays in the processor's cache


class Trainer:
    """A network that learns a stream of samples; ``Trainer(config)`` is the one of the configuration's rule.

    ``state`` is what learning changes; the counts, all since :meth:`reset`: ``samples`` trained on, ``batches`` ended,
    ``errors`` (samples that taught), ``correct`` (samples whose class was predicted before learning), ``flips``
    (weights changed, a layer) and ``signature`` of those flips. To resume a run, set them.
    """

    config: Any  # Config or LbeConfig, as the rule wants
    state: Any  # State or LbeState

    def __new__(cls, config: AnyConfig) -> Trainer:
        return super().__new__(TRAINERS[config.rule] if cls is Trainer else cls)

    def __init__(self, config: AnyConfig):
        self.config = config
        self.reset()

    def reset(self) -> None:
        """Initial weights and random state of the configuration's seed; counts 0."""
        self.state = initial(self.config)
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

    def end_batch(self, k: Sequence[int]) -> None:
        """End the batch, with what the configuration's ``schedule`` says."""
        raise NotImplementedError

    def infer(self, x: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Predicted classes ``[n]`` of inputs ``[n, K0]``; changes nothing."""
        self._check_inputs(x)
        chunks = (x[start : start + _CHUNK] for start in range(0, len(x), _CHUNK))
        return np.concatenate([np.empty(0, np.int64), *map(self._predict, chunks)])

    def _learn(self, x: NDArray[np.uint8], y: NDArray[np.integer]) -> None:
        """:meth:`train` for a chunk that was checked."""
        raise NotImplementedError

    def _predict(self, x: NDArray[np.uint8]) -> NDArray[np.int64]:
        """:meth:`infer` for a chunk that was checked."""
        raise NotImplementedError

    def _check_inputs(self, x: NDArray[np.uint8]) -> None:
        if x.ndim != 2 or x.shape[1] != self.config.inputs:
            raise ValueError(f"inputs: shape {x.shape}, expected (samples, {self.config.inputs})")


class GftTrainer(Trainer):
    """GFT: samples vote in the counters, and :meth:`end_batch` flips the weights with the most votes."""

    config: Config
    state: State

    def _learn(self, x: NDArray[np.uint8], y: NDArray[np.integer]) -> None:
        config, state = self.config, self.state
        updates, v, deltas = self._errors(x, y)
        for layer, delta in enumerate(deltas):
            a = with_bias(activation(v[layer - 1]) if layer else x[updates])
            state.counters[layer] = accumulate(state.counters[layer], delta, a, config.mmax)

    def _errors(
        self, x: NDArray[np.uint8], y: NDArray[np.integer]
    ) -> tuple[NDArray[np.bool_], list[NDArray[np.int32]], list[NDArray[np.int32]]]:
        """Which samples teach, bool ``[n]``, and of these the sums and errors of each layer ``[teaching, R]``."""
        config, state = self.config, self.state
        v = forward(state.weights, x)
        updates, rival = output_error(v[-1], y, config.margin)
        self.samples += len(x)
        self.errors += int(np.count_nonzero(updates))
        self.correct += int(np.count_nonzero(predict(v[-1]) == y))

        v = [sums[updates] for sums in v]
        delta_out = output_delta(y[updates], rival[updates], config.classes)
        return updates, v, backward(state.weights, v, delta_out, config.window, config.dclip)

    def end_batch(self, k: Sequence[int]) -> None:
        """Flip at most ``k[l]`` synapses of each layer ``l`` and decay the counters."""
        if len(k) != self.config.depth:
            raise ValueError(f"k: {len(k)} given, expected {self.config.depth} (one per layer)")
        state, prng = self.state, Xorshift32(self.state.rng)
        for layer, (w, m) in enumerate(zip(state.weights, state.counters, strict=True)):
            selection = select(m, w, k[layer])
            flipped = flip(w, m, selection.mask, self.config, prng, self.config.word_base[layer])
            self._flipping(layer, selection, flipped)
            state.weights[layer], state.counters[layer] = flipped.weights, flipped.counters
            self.flips[layer] += flipped.flips
            self._signature.update(flipped.records)
        state.rng = prng.state
        self.batches += 1

    def _flipping(self, layer: int, selection: Selection, flipped: Flipped) -> None:
        """For those who watch: what ``layer`` selected and flipped, before its state changes."""

    def _predict(self, x: NDArray[np.uint8]) -> NDArray[np.int64]:
        return predict(forward(self.state.weights, x)[-1])


class LbeTrainer(Trainer):
    """LBE: every sample is a batch of its own, and sees the weights the one before left.

    ``errors`` are samples by which at least one layer was triggered; ``batches`` is ``samples``.
    """

    config: LbeConfig
    state: LbeState

    def _learn(self, x: NDArray[np.uint8], y: NDArray[np.integer]) -> None:
        state, classes = self.state, y.tolist()
        weights, classifiers = self._packed()
        inputs, prng = pack(x), Prefetched(state.rng)
        try:
            for sample, t in enumerate(classes):
                self._learn_one(inputs[:, sample : sample + 1], t, weights, classifiers, prng)
        finally:
            state.rng = prng.state
            layers = zip(weights, self.config.synapses, strict=True)
            state.weights = [signs(unpack(packed, synapses)) for packed, synapses in layers]

    def _learn_one(
        self,
        a: NDArray[np.uint64],
        t: int,
        weights: list[NDArray[np.uint64]],
        classifiers: list[NDArray[np.uint64]],
        prng: Xorshift32,
    ) -> None:
        """One sample, inputs ``[words, 1]``, of class ``t``. Changes the packed ``weights`` along with the counters."""
        config, state = self.config, self.state
        triggered = False
        for layer, (inputs, neurons) in enumerate(zip(config.synapses, config.rows, strict=True)):
            z = lbe_forward(weights[layer], a, inputs)[0]
            fired = fires(z)
            a_next = pack(fired[None])
            y = score(a_next, classifiers[layer], neurons)[0]
            if triggers(y, t, config.margin[layer]):
                triggered = True
                desired = state.classifiers[layer][t]
                rows = winners(z, fired != desired, config.group[layer])
                if rows.size:
                    up = unpack(a, inputs) == desired[rows, None]
                    counters = state.counters[layer]
                    updated = reinforce(counters[rows], up, rows, config, prng, config.word_base[layer])
                    counters[rows] = updated.counters
                    weights[layer][:, rows] = pack(updated.counters >= 0)
                    self.flips[layer] += updated.flips
                    self._signature.update(updated.records)
            a = a_next
        self.samples += 1
        self.batches += 1
        self.errors += triggered
        self.correct += int(predict_score(y)) == t

    def end_batch(self, k: Sequence[int]) -> None:
        """Nothing: a sample's update is made when it is learned. ``k`` is empty."""
        if len(k):
            raise ValueError(f"k: {len(k)} given, expected 0 (LBE selects nothing)")

    def _predict(self, x: NDArray[np.uint8]) -> NDArray[np.int64]:
        config = self.config
        weights, classifiers = self._packed()
        predictions = np.empty(len(x), np.int64)
        for start in range(0, len(x), _LBE_CHUNK):
            a = pack(x[start : start + _LBE_CHUNK])
            for w, inputs in zip(weights, config.synapses, strict=True):
                a = pack(fires(lbe_forward(w, a, inputs)))
            y = score(a, classifiers[-1], config.rows[-1])
            predictions[start : start + _LBE_CHUNK] = predict_score(y)
        return predictions

    def _packed(self) -> tuple[list[NDArray[np.uint64]], list[NDArray[np.uint64]]]:
        """Weights and classifiers of each layer as packed bits."""
        return [pack(w > 0) for w in self.state.weights], [pack(rho) for rho in self.state.classifiers]


TRAINERS: dict[Rule, type[Trainer]] = {Rule.GFT: GftTrainer, Rule.LBE: LbeTrainer}
