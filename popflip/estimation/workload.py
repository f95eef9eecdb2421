"""What a run gives a chip to do, counted on the golden model: words with a one, rows that learn, words that flip.

Golden knows no geometry, so all that depends on one is counted for every size there is; :mod:`.cycles` picks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from popflip.devices.golden import GoldenDevice
from popflip.experiment import Experiment
from popflip.golden.common.packing import pack
from popflip.golden.config import Config
from popflip.golden.gft.flip import Flipped
from popflip.golden.gft.select import Selection
from popflip.golden.trainer import GftTrainer
from popflip.hw.config import MAX_SYNAPSES, MIN_SYNAPSES
from popflip.training import StepResult, train

WIDTHS = tuple(1 << bit for bit in range(MIN_SYNAPSES.bit_length() - 1, MAX_SYNAPSES.bit_length()))
"""Synapses a cycle, ``N``, that words are counted for."""
BANKS = (1, 2, 4, 8, 16, 32, 64)
"""Rows learned at once, ``Pc``, that rows are counted for."""


@dataclass(frozen=True)
class Changes:
    """The end of a batch in one layer: global index of each 32-synapse word that flipped in scan order, and row and
    synapse of each tie that was marked."""

    records: NDArray[np.integer]
    ties: NDArray[np.integer]  # [ties, 2]


@dataclass
class Work:
    """A run, sample by sample.

    ``words`` : words of a sample's inputs that hold a one or the bias, ``[samples]``, by ``N``. ``packed`` : bytes of
    its inputs if they are packed, ``[samples]``.
    ``taught`` : bool ``[samples]``; of those that are True, in order: ``first`` : rows of the first layer in the bank
    with most of them ``[teaching]``, by ``Pc``; ``above`` : rows of each layer above it ``[teaching, L − 1]``.
    ``batches`` : for each, what each layer's end was.
    """

    config: Config
    words: dict[int, NDArray[np.int64]]
    packed: NDArray[np.int64]
    taught: NDArray[np.bool_]
    first: dict[int, NDArray[np.int64]]
    above: NDArray[np.int64]
    batches: list[list[Changes]]

    def part(self, batches: int) -> Work:
        """``batches`` of the run, evenly spread; all of it if it has no more."""
        count, size = len(self.batches), self.config.batch
        if count <= batches:
            return self
        chosen = [(2 * place + 1) * count // (2 * batches) for place in range(batches)]
        samples = np.concatenate([np.arange(batch * size, (batch + 1) * size) for batch in chosen])
        teaching = (np.cumsum(self.taught) - 1)[samples[self.taught[samples]]]
        return Work(
            config=self.config,
            words={width: words[samples] for width, words in self.words.items()},
            packed=self.packed[samples],
            taught=self.taught[samples],
            first={banks: rows[teaching] for banks, rows in self.first.items()},
            above=self.above[teaching],
            batches=[self.batches[batch] for batch in chosen],
        )

    @property
    def samples(self) -> int:
        """Samples of the run."""
        return len(self.taught)


class _Watched(GftTrainer):
    """The golden model, and notes of what it does."""

    def __init__(self, config: Config):
        super().__init__(config)
        self.words: list[list[NDArray]] = []
        self.packed: list[NDArray] = []
        self.taught: list[NDArray] = []
        self.first: list[list[NDArray]] = []
        self.above: list[NDArray] = []
        self.changes: list[Changes] = []

    def _errors(self, x, y):
        updates, v, deltas = super()._errors(x, y)
        learns = [delta != 0 for delta in deltas]
        self.words.append([listed(x, width) for width in WIDTHS])
        self.packed.append(pack(np.packbits(x, axis=1, bitorder="little"))[1])
        self.taught.append(updates)
        self.first.append([fullest_bank(learns[0], banks) for banks in BANKS])
        above = [np.count_nonzero(rows, axis=1) for rows in learns[1:]]
        self.above.append(np.stack(above, axis=-1) if above else np.empty((len(learns[0]), 0), np.int64))
        return updates, v, deltas

    def _flipping(self, layer: int, selection: Selection, flipped: Flipped) -> None:
        counters = np.abs(self.state.counters[layer])
        last = selection.mask & (counters == selection.theta - 1) if selection.ties else np.zeros_like(selection.mask)
        self.changes.append(Changes(flipped.records[:, 0] - self.config.word_base[layer], np.argwhere(last)))


def listed(x: NDArray[np.uint8], width: int) -> NDArray[np.int64]:
    """Words of ``width`` synapses with a one or the bias, of inputs ``[n, K0]``, as ingest lists them."""
    samples, inputs = x.shape
    count = inputs // width + 1
    padded = np.zeros((samples, count * width), np.uint8)
    padded[:, :inputs] = x
    padded[:, -1] = 1  # as the bias does, the last word gets on the list
    return np.count_nonzero(padded.reshape(samples, count, width).any(axis=2), axis=1)


def fullest_bank(learns: NDArray[np.bool_], banks: int) -> NDArray[np.int64]:
    """Rows ``[n, R]`` that learn, of the bank ``row mod banks`` with most of them."""
    samples, rows = learns.shape
    turns = -(-rows // banks)
    padded = np.zeros((samples, turns * banks), np.int64)
    padded[:, :rows] = learns
    return padded.reshape(samples, turns, banks).sum(axis=1).max(axis=1, initial=0)


def of_run(
    experiment: Experiment, limit: int | None = None, on_step: Callable[[StepResult], None] = lambda result: None
) -> Work:
    """The work of an experiment's first ``limit`` batches, all if None. ``on_step`` is told of each."""
    config = experiment.config
    assert isinstance(config, Config)
    device = GoldenDevice(config)
    device.trainer = golden = _Watched(config)
    train(device, experiment.learned, experiment.y_train, limit, on_step=on_step)
    return Work(
        config=config,
        words={width: np.concatenate([part[place] for part in golden.words]) for place, width in enumerate(WIDTHS)},
        packed=np.concatenate(golden.packed),
        taught=np.concatenate(golden.taught),
        first={banks: np.concatenate([part[place] for part in golden.first]) for place, banks in enumerate(BANKS)},
        above=np.concatenate(golden.above),
        batches=[golden.changes[first : first + config.depth] for first in range(0, len(golden.changes), config.depth)],
    )
