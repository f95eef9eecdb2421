"""Engine of GFT over layers with positions; a dense layer is the case of one position."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from popflip.golden.common.error import output_delta, output_error
from popflip.golden.common.forward import activation, predict
from popflip.golden.common.status import Counts
from popflip.golden.conv.accumulate import accumulate
from popflip.golden.conv.backward import backward
from popflip.golden.conv.config import ConvConfig
from popflip.golden.conv.forward import forward
from popflip.golden.conv.patches import pixels
from popflip.golden.gft.engine import GftEngine
from popflip.golden.memory.weights import State

_SEEN = 2**22  # inputs of patches held at a time; bounds memory, changes no result


class ConvEngine(GftEngine):
    """GFT over layers with positions. Select and flip are those of dense layers."""

    config: ConvConfig  # type: ignore[assignment]  # has every member that the dense stages read

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
