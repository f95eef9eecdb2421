"""Exact cycles of the pass that flips a layer: one a word, and the waits for masks, records and ties."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from popflip.estimation.changes import Changes
from popflip.golden.config import WORD
from popflip.hw.common.signature import INDEX_BITS, bits_a_cycle
from popflip.hw.config import ChipConfig

FILL = {False: 2, True: 5}
"""Cycles before the first word and after the last one, without the memory read, by whether the chip is pipelined."""
SETTLED = 4
"""Words after which a wait no longer affects the pace."""


def flip_cycles(chip: ChipConfig, flip_p256: int, layer: int, changes: Changes) -> int:
    """Cycles of the pass over ``layer`` that makes ``changes``."""
    return _Pass(chip, flip_p256, layer).run(*_waits(chip, layer, changes))


def _waits(chip: ChipConfig, layer: int, changes: Changes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cycles that each word of a layer waits for records and for ties, [R·W + 1] in scan order.

    The word after one with flips waits until their record is in the signature; a word's ties are marked one by one.
    """
    words, rows, lanes = chip.words[layer], chip.rows[layer], chip.array_synapses
    records, ties = (np.zeros(rows * words + 1, np.int64) for _ in range(2))
    row, mask = np.divmod(changes.records.astype(np.int64), chip.mask_words[layer])
    last = np.minimum((mask + 1) * WORD // lanes - 1 if lanes < WORD else mask * WORD // lanes, words - 1)
    after = row * words + last + 1
    np.add.at(records, after, (INDEX_BITS + WORD) // bits_a_cycle(chip))
    if lanes > WORD:  # a record in one 32-synapse part of a word delays the other parts too
        parts = np.minimum(lanes // WORD, chip.mask_words[layer] - last * lanes // WORD)
        waiting, first, number = np.unique(after, return_index=True, return_counts=True)
        records[waiting] += parts[first] - number
    np.add.at(ties, changes.ties[:, 0] * words + changes.ties[:, 1] // lanes, 1)
    return records, ties


class _Pass:
    """The times at which words leave select and flip, one word after another.

    ``taken``, ``taken_before`` : when flip took the last word and the one before it. ``passed`` : when select passed
    the last one on, into a queue of two if the chip is pipelined.
    """

    def __init__(self, chip: ChipConfig, flip_p256: int, layer: int):
        self._chip = chip
        self._lanes = chip.array_synapses
        self._words = chip.words[layer]
        self._count = chip.rows[layer] * self._words
        self._mask_words = chip.mask_words[layer]
        self._mask_period = max(1, WORD // self._lanes)  # words that share a mask
        lowest = flip_p256 & -flip_p256
        self._draws = 8 - min(7, lowest.bit_length() - 1)  # cycles of a mask
        self._period = 3 if chip.compact else 1  # cycles of a word: a single-port memory reads and writes in turn
        self._steady = self._draws == 1 and self._lanes <= WORD  # no word waits for a mask
        self._taken, self._taken_before, self._passed = 0, -1, -1
        self._next = 0  # word

    def run(self, records: NDArray[np.int64], ties: NDArray[np.int64]) -> int:
        """Cycles of the pass whose words wait for ``records`` and ``ties``."""
        events = np.flatnonzero(records + ties) if self._steady else np.arange(self._count + 1)
        for event in events.tolist():
            self._skip_to(event)
            for word in range(self._next, min(event, self._count - 1) + 1):
                self._take(word, int(records[word]), int(ties[word]))
        fill = FILL[self._chip.pipelined] + self._chip.read_latency - 2 * self._chip.compact
        return self._taken + self._period * (self._count - self._next) + int(records[-1]) + fill

    def _skip_to(self, event: int) -> None:
        """Advance over words that wait for nothing, which leave at a constant pace."""
        if event > self._next:
            skipped = max(0, event - self._next - SETTLED) if self._steady else 0
            self._taken += self._period * skipped
            self._taken_before += self._period * skipped
            self._passed += self._period * skipped
            self._next += skipped

    def _take(self, word: int, record_wait: int, tie_wait: int) -> None:
        if self._chip.pipelined:
            self._passed = max(self._passed + 1 + tie_wait, self._taken_before + 1)
            earliest = self._passed + 1
        else:
            earliest = self._taken + self._period + tie_wait
        self._taken_before = self._taken
        self._taken = max(self._taken + self._mask_cycles(word), self._taken + 1 + record_wait, earliest)
        self._next = word + 1

    def _mask_cycles(self, word: int) -> int:
        """Cycles until the word's mask is drawn, at least the word's own."""
        place = word % self._words
        if self._steady or place % self._mask_period:
            return self._period
        if word == 0:  # its mask is drawn while thresholds are found
            return max(self._period, 1)
        masks = min(max(1, self._lanes // WORD), self._mask_words - place * self._lanes // WORD)
        return max(self._period, self._draws * masks)
