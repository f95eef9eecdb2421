"""The work of a run, counted on the golden model: nonzero words, rows that learn, words that flip.

The golden model has no geometry. Counts that depend on one are therefore made for every possible array width and number
of banks, and :mod:`.cycles` picks those of its chip.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from popflip.devices.golden import GoldenDevice
from popflip.estimation.changes import Changes, changes_of, spread
from popflip.estimation.conv.work import ConvCounter, ConvWork
from popflip.experiment import Experiment
from popflip.golden.common.packing import pack
from popflip.golden.config import Config
from popflip.golden.conv.patches import pixels
from popflip.golden.gft.engine import GftEngine, GftObserver
from popflip.golden.gft.flip import Flipped
from popflip.golden.gft.select import Selection
from popflip.history import StepResult
from popflip.hw.config import MAX_SYNAPSES, MIN_SYNAPSES
from popflip.training import train

WIDTHS = tuple(1 << bit for bit in range(MIN_SYNAPSES.bit_length() - 1, MAX_SYNAPSES.bit_length()))
"""Synapses per cycle, ``N``, for which words are counted."""
BANKS = (1, 2, 4, 8, 16, 32, 64)
"""Rows updated at once, ``Pc``, for which rows are counted."""


@dataclass
class Work:
    """The work of a run, sample by sample and batch by batch.

    ``words`` : words of a sample's inputs that hold a one or the bias, [samples], by ``N``.
    ``packed`` : bytes of a sample's packed inputs, [samples].
    ``updated`` : whether a sample triggers an update, [samples]; of those that do, in order:
    ``first_rows`` : rows of the first layer that learn, in the bank with most of them, [updates], by ``Pc``;
    ``upper_rows`` : rows that learn in each layer above, [updates, L − 1].
    ``batches`` : the changes of each layer, for each batch.
    """

    config: Config
    words: dict[int, NDArray[np.int64]]
    packed: NDArray[np.int64]
    updated: NDArray[np.bool_]
    first_rows: dict[int, NDArray[np.int64]]
    upper_rows: NDArray[np.int64]
    batches: list[list[Changes]]

    @property
    def samples(self) -> int:
        """Samples of the run."""
        return len(self.updated)

    def part(self, batches: int) -> Work:
        """The work of ``batches`` batches, evenly spread over the run; all of it if it has no more."""
        size, chosen = self.config.batch, spread(len(self.batches), batches)
        if chosen is None:
            return self
        samples = np.concatenate([np.arange(batch * size, (batch + 1) * size) for batch in chosen])
        updates = (np.cumsum(self.updated) - 1)[samples[self.updated[samples]]]
        return Work(
            config=self.config,
            words={width: words[samples] for width, words in self.words.items()},
            packed=self.packed[samples],
            updated=self.updated[samples],
            first_rows={banks: rows[updates] for banks, rows in self.first_rows.items()},
            upper_rows=self.upper_rows[updates],
            batches=[self.batches[batch] for batch in chosen],
        )


def count_work(
    experiment: Experiment,
    limit: int | None = None,
    on_step: Callable[[StepResult], None] = lambda result: None,
    every: int = 1,
) -> Work | ConvWork:
    """Train the golden model and count the work of the first ``limit`` batches, all if None. Rule GFT only.

    ``every`` : of so many batches one is counted, the first one included. Calls ``on_step`` after each batch.
    """
    config = experiment.config
    assert isinstance(config, Config)
    counter = Counter(config, every)
    device = GoldenDevice(config, GftEngine(config, counter))
    train(device, experiment.training_samples, experiment.y_train, limit, on_step=on_step)
    return counter.work()


class Counter(GftObserver):
    """Observes the golden model and counts the work of every ``every``-th batch, the first one included."""

    def __init__(self, config: Config, every: int = 1):
        self._counter = ConvCounter(config) if config.convolves else _DenseCounter(config)
        self._last_layer, self._every, self._batch = config.depth - 1, every, 0

    def work(self) -> Work | ConvWork:
        """The work so far."""
        return self._counter.work()

    def on_errors(self, x: NDArray[np.uint8], updates: NDArray[np.bool_], deltas: Sequence[NDArray[np.int32]]) -> None:
        if self._batch % self._every == 0:
            self._counter.on_errors(x, updates, deltas)

    def on_flip(self, layer: int, counters: NDArray[np.int16], selection: Selection, flipped: Flipped) -> None:
        if self._batch % self._every == 0:
            self._counter.on_flip(layer, counters, selection, flipped)
        self._batch += layer == self._last_layer


class _DenseCounter(GftObserver):
    """Observes the golden model and counts its work, that of a dense network."""

    def __init__(self, config: Config):
        self._config = config
        self._words: list[list[NDArray]] = []
        self._packed: list[NDArray] = []
        self._updated: list[NDArray] = []
        self._first_rows: list[list[NDArray]] = []
        self._upper_rows: list[NDArray] = []
        self._changes: list[Changes] = []

    def work(self) -> Work:
        """The work so far."""
        depth = self._config.depth
        return Work(
            config=self._config,
            words={width: np.concatenate([part[place] for part in self._words]) for place, width in enumerate(WIDTHS)},
            packed=np.concatenate(self._packed),
            updated=np.concatenate(self._updated),
            first_rows={
                banks: np.concatenate([part[place] for part in self._first_rows]) for place, banks in enumerate(BANKS)
            },
            upper_rows=np.concatenate(self._upper_rows),
            batches=[self._changes[first : first + depth] for first in range(0, len(self._changes), depth)],
        )

    def on_errors(self, x: NDArray[np.uint8], updates: NDArray[np.bool_], deltas: Sequence[NDArray[np.int32]]) -> None:
        x = pixels(x, self._config.image)
        learns = [delta != 0 for delta in deltas]
        self._words.append([nonzero_words(x, width) for width in WIDTHS])
        self._packed.append(pack(np.packbits(x, axis=1, bitorder="little"))[1])
        self._updated.append(updates)
        self._first_rows.append([fullest_bank(learns[0], banks) for banks in BANKS])
        upper = [np.count_nonzero(rows, axis=1) for rows in learns[1:]]
        self._upper_rows.append(np.stack(upper, axis=-1) if upper else np.empty((len(learns[0]), 0), np.int64))

    def on_flip(self, layer: int, counters: NDArray[np.int16], selection: Selection, flipped: Flipped) -> None:
        self._changes.append(changes_of(counters, selection, flipped, self._config.word_base[layer]))


def nonzero_words(x: NDArray[np.uint8], width: int) -> NDArray[np.int64]:
    """Words of ``width`` synapses with a one or the bias, [n], of inputs ``x`` [n, K0], as ingest counts them."""
    samples, inputs = x.shape
    count = inputs // width + 1
    padded = np.zeros((samples, count * width), np.uint8)
    padded[:, :inputs] = x
    padded[:, -1] = 1  # the bias is in the last word
    return np.count_nonzero(padded.reshape(samples, count, width).any(axis=2), axis=1)


def fullest_bank(learns: NDArray[np.bool_], banks: int) -> NDArray[np.int64]:
    """Rows that learn in the bank with most of them, [n], of ``learns`` [n, R]. Bank ``row mod banks`` has a row."""
    samples, rows = learns.shape
    turns = -(-rows // banks)
    padded = np.zeros((samples, turns * banks), np.int64)
    padded[:, :rows] = learns
    return padded.reshape(samples, turns, banks).sum(axis=1).max(axis=1, initial=0)
