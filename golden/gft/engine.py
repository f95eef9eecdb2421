"""Engine of GFT: samples vote in the counters, and the end of a batch flips the weights with the most votes
(arXiv 2410.09734, §4)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from popflip.golden.common.engine import Engine
from popflip.golden.common.error import output_delta, output_error
from popflip.golden.common.forward import activation, predict
from popflip.golden.common.prng import Xorshift32
from popflip.golden.common.status import Counts
from popflip.golden.conv.accumulate import accumulate
from popflip.golden.conv.backward import backward
from popflip.golden.conv.forward import forward
from popflip.golden.conv.patches import pixels
from popflip.golden.gft.config import Config
from popflip.golden.gft.flip import Flipped, flip
from popflip.golden.gft.initialise import initial
from popflip.golden.gft.select import Selection, select
from popflip.golden.memory.weights import State

_SEEN = 2**22  # inputs of patches held at a time; bounds memory, changes no result


class GftObserver:
    """Observes an engine. Both methods do nothing; override them."""

    def on_errors(self, x: NDArray[np.uint8], updates: NDArray[np.bool_], deltas: Sequence[NDArray[np.int32]]) -> None:
        """Called for samples ``x`` ``[n, K0]``. ``updates`` ``[n]`` marks those that trigger an update. ``deltas`` are
        their errors in each layer, ``[updates, neurons]``.
        """

    def on_flip(self, layer: int, counters: NDArray[np.int16], selection: Selection, flipped: Flipped) -> None:
        """Called at the end of a batch for each layer; ``counters`` ``[R, S]`` are those before the flips."""


class GftEngine(Engine):
    """GFT. ``observer`` is called during learning."""

    def __init__(self, config: Config, observer: GftObserver | None = None):
        self.config = config
        self.observer = observer or GftObserver()

    def initial(self) -> State:
        return initial(self.config)

    def learn(self, state: State, x: NDArray[np.uint8], y: NDArray[np.integer], counts: Counts) -> None:
        for chunk in self._chunks(len(x)):
            updates, v, deltas = self._errors(state, x[chunk], y[chunk], counts)
            image = pixels(x[chunk][updates], self.config.image)
            for index, (layer, delta) in enumerate(zip(self.config.plan, deltas, strict=True)):
                a = activation(v[index - 1]) if index else image
                m, mmax = state.counters[index], self.config.mmaxes[index]
                state.counters[index] = accumulate(m, delta, a, layer, mmax)

    def _errors(
        self, state: State, x: NDArray[np.uint8], y: NDArray[np.integer], counts: Counts
    ) -> tuple[NDArray[np.bool_], list[NDArray[np.int32]], list[NDArray[np.int32]]]:
        """Whether each sample triggers an update, bool ``[n]``; for those that do, sums and errors of each layer
        ``[updates, neurons]``.
        """
        config = self.config
        v = forward(state.weights, pixels(x, config.image), config.plan)
        updates, rival = output_error(v[-1], y, config.margin)
        counts.samples += len(x)
        counts.errors += int(np.count_nonzero(updates))
        counts.correct += int(np.count_nonzero(predict(v[-1]) == y))

        v = [sums[updates] for sums in v]
        delta_out = output_delta(y[updates], rival[updates], config.classes)
        deltas = backward(state.weights, v, delta_out, config.window, config.dclip, config.plan)
        self.observer.on_errors(x, updates, deltas)
        return updates, v, deltas

    def end_batch(self, state: State, k: Sequence[int], counts: Counts) -> None:
        """Flip at most ``k[l]`` synapses of each layer ``l``, and decay the counters."""
        config, prng = self.config, Xorshift32(state.rng)
        if len(k) != config.depth:
            raise ValueError(f"k: {len(k)} given, expected {config.depth} (one per layer)")
        for layer, (w, m) in enumerate(zip(state.weights, state.counters, strict=True)):
            selection = select(m, w, k[layer])
            flipped = flip(w, m, selection.mask, config, prng, config.word_base[layer])
            self.observer.on_flip(layer, m, selection, flipped)
            state.weights[layer], state.counters[layer] = flipped.weights, flipped.counters
            counts.count_flips(layer, flipped.flips, flipped.records)
        state.rng = prng.state
        counts.batches += 1

    def scores(self, state: State, x: NDArray[np.uint8]) -> NDArray[np.int32]:
        """Sums of the last layer."""
        image, plan = self.config.image, self.config.plan
        parts = (forward(state.weights, pixels(x[chunk], image), plan)[-1] for chunk in self._chunks(len(x)))
        return np.concatenate([np.empty((0, self.config.classes), np.int32), *parts])

    def _chunks(self, samples: int) -> Iterator[slice]:
        """Parts of ``samples`` whose patches fit :data:`_SEEN`."""
        largest = max((layer.pools * layer.synapses for layer in self.config.plan if layer.positions > 1), default=1)
        size = max(1, _SEEN // largest)
        return (slice(start, start + size) for start in range(0, samples, size))
