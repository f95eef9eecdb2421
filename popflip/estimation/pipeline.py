"""A model of how samples move through the chip, with the latencies of its engines as constants::

    slot free ─▶ bytes in ─▶ first layer ─▶ … ─▶ last layer ─▶ verdict ─┬───────────▶ slot free
                             (two samples take turns on the array)      └─▶ learn ──▶ slot free

It covers what no counter does: pipelines that fill and drain, and samples that wait for a slot.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import NamedTuple

from popflip.hw.config import ChipConfig

RECEIVED = {False: 3, True: 6}
"""Cycles from a sample's last byte to the array, by whether the chip takes packed samples."""
LATENCY = {False: 8, True: 9}
"""Cycles from the weights of a word to the use of the row's sum, by whether the chip is pipelined."""
VERDICT = {False: 4, True: 5}
"""Cycles from the last class's sum to the verdict, by whether the chip is pipelined."""


class Batch(NamedTuple):
    """Cycles of a batch's samples.

    ``receive`` : from the last byte of the sample before to this one's.
    ``forward`` : the array's, layer by layer.
    ``updated`` : whether a sample triggers an update; of those that do, in order:
    ``learn`` : from the verdict to the end of learning;
    ``blocking`` : the cycles of them in which learning reads weights, so that the array waits.
    """

    receive: list[int]
    forward: list[list[int]]
    updated: list[bool]
    learn: list[int]
    blocking: list[int]


def batch_cycles(chip: ChipConfig, batch: Batch) -> int:
    """Cycles from the first byte of a batch to the end of its last sample."""
    return _Pipeline(chip, batch).run()


@dataclass
class _Context:
    """One of the two samples on their way forward, the layer it waits for, and since when."""

    sample: int | None = None
    layer: int = 0
    ready: int = 0


class _Pipeline:
    """The times at which the parts of the chip are next free, as samples go through it in order."""

    def __init__(self, chip: ChipConfig, batch: Batch):
        self._batch = batch
        self._last_layer = chip.depth - 1
        self._received = RECEIVED[chip.packs]
        self._latency = chip.read_latency + LATENCY[chip.pipelined]
        self._verdict = self._latency + chip.fold.bit_length() - 1 + chip.classes + VERDICT[chip.pipelined]
        self._learns, self._blocks = iter(batch.learn), iter(batch.blocking)
        self._contexts = (_Context(), _Context())
        self._slots = [0] * chip.slots  # a heap
        self._loaded = 0  # samples
        self._link = self._array = self._learn = self._end = 0
        self._current = 0  # context that had the array last
        self._next_verdict = 0  # context whose last layer comes next: verdicts keep the samples' order

    def run(self) -> int:
        """The cycle in which the last sample ends."""
        while self._loaded < len(self._batch.forward) or any(each.sample is not None for each in self._contexts):
            context = self._contexts[self._loaded & 1]
            if self._loaded < len(self._batch.forward) and context.sample is None and self._slots:
                self._load(context)
            else:
                self._issue()
        return self._end

    def _load(self, context: _Context) -> None:
        """Receive the next sample into a free slot."""
        self._link = max(self._link, heapq.heappop(self._slots)) + self._batch.receive[self._loaded]
        context.sample, context.layer = self._loaded, 0
        context.ready = max(context.ready, self._link + self._received)
        self._loaded += 1

    def _issue(self) -> None:
        """Give the array the layer that is ready first; if both are, the one of the other sample."""
        able = [number for number in (1 - self._current, self._current) if self._may_go(number)]
        self._current = min(able, key=lambda number: max(self._array, self._contexts[number].ready))
        context = self._contexts[self._current]
        sample = context.sample
        assert sample is not None
        self._array = max(self._array, context.ready) + self._batch.forward[sample][context.layer]
        if context.layer < self._last_layer:
            context.layer += 1
            context.ready = self._array + self._latency
        else:
            self._next_verdict = 1 - self._next_verdict
            context.sample, context.ready = None, self._array
            self._finish(sample)

    def _may_go(self, number: int) -> bool:
        context = self._contexts[number]
        return context.sample is not None and (context.layer < self._last_layer or self._next_verdict == number)

    def _finish(self, sample: int) -> None:
        """Free the sample's slot after its verdict, or after learning from it."""
        done = self._array + self._verdict
        if self._batch.updated[sample]:
            done = self._learn = max(self._learn, done) + next(self._learns)
            self._array += next(self._blocks)
        heapq.heappush(self._slots, done)
        self._end = max(self._end, done)
