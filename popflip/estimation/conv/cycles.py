"""Cycles that a run takes on a chip with convolutions, from its :class:`.work.ConvWork`.

``forward_busy`` and ``learn_busy`` are exact. How samples wait for each other is modelled::

    bytes ─▶ image ─▶ slide ─▶ blank ─▶ forward ─▶ verdict ─┬───────────▶ slot free
                                                            └─▶ learn ──▶ slot free
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from popflip.estimation.conv.words import upper
from popflip.estimation.conv.work import ConvWork
from popflip.hw.config import ChipConfig
from popflip.hw.conv.deltas import fetches
from popflip.hw.conv.fields import Fields
from popflip.hw.conv.patch_words import PatchWords
from popflip.hw.conv.patches import Slide
from popflip.hw.conv.signatures import copies_weights

DRAIN = 6
"""Cycles of forward between two layers, without the latencies of weights, array and patch words."""
SWEEP = 16
"""Cycles of learning before the first word of a layer and after the last one, without the latency of counters."""
ROWS_WITH_ERRORS = 2
"""Rows of the last layer that learn: the label's and the rival's."""
VERDICT = 6
"""Cycles from the last class's sum to the verdict."""


class _Times(NamedTuple):
    """Cycles of a sample in the stages before the forward pass: into its image, out of it, and blank activations."""

    receive: int
    slide: int
    blank: int


def forward_busy(chip: ChipConfig, work: ConvWork) -> NDArray[np.int64]:
    """Words that the array takes for each sample, [samples]: exact."""
    kept = sum(
        groups * int(upper(layer, chip.array_synapses).kept.sum())
        for groups, layer in zip(chip.groups[1:], chip.plan[1:], strict=True)
    )
    return work.listed[chip.array_synapses].astype(np.int64) * chip.groups[0] + kept


def learn_busy(chip: ChipConfig, work: ConvWork) -> NDArray[np.int64]:
    """Visits of blocks of counters, [updates]: exact."""
    return work.visits[chip.array_synapses, chip.learn_rows].astype(np.int64)


def receive_cycles(chip: ChipConfig) -> int:
    """Cycles in which a sample comes into its image, if the link is faster: one a byte, and one a step of a plane."""
    planes, steps = chip.plan[0].inputs, Slide(chip.plan[0]).steps
    return chip.input_bytes + planes.channels * planes.height * steps


def slide_cycles(chip: ChipConfig) -> int:
    """Cycles in which the patches of a sample are made."""
    return Slide(chip.plan[0]).cycles


def ingest_cycles(chip: ChipConfig) -> int:
    """Cycles a sample of the slower part of ingest."""
    return max(receive_cycles(chip), slide_cycles(chip))


def learn_cycles(chip: ChipConfig, work: ConvWork) -> NDArray[np.int64]:
    """Cycles from a verdict to the end of learning, [updates]: a model."""
    lanes, banks = chip.array_synapses, chip.learn_rows
    latency = chip.read_latency + 2
    if fetches(chip):
        first = work.listed[lanes][work.updated].astype(np.int64) * chip.counter_map.bank_rows[0]
    else:
        first = work.first_sweeps[lanes, banks, latency].astype(np.int64)
    return first + work.upper_sweeps[lanes, banks] + chip.depth * (SWEEP + latency) + _clearing(chip, SWEEP + latency)


def _clearing(chip: ChipConfig, around: int) -> int:
    """Cycles in which learning waits until the errors of the sample before are cleared, a unit a cycle.

    They are cleared while the last layer is swept, in cycles in which none of its units is added. ``around`` : cycles
    of a sweep without words.
    """
    fields, words = Fields(chip), -(-chip.plan[-1].synapses // chip.array_synapses)
    sums = zip(fields.fields[:-1], fields.pixel_groups, strict=False)
    cleared = sum(
        it.planes.height
        * it.planes.width
        * (-(-it.planes.channels // fields.unit) if groups == 1 else groups * fields.parts)
        for it, groups in sums
    )
    sweep = words * max(ROWS_WITH_ERRORS, fields.units)
    return max(0, cleared + words * fields.units - sweep - around)


def forward_cycles(chip: ChipConfig, work: ConvWork) -> NDArray[np.int64]:
    """Cycles of each sample in the forward pass, [samples]: its words, those that are dropped, and a drain a layer."""
    dropped = sum(
        groups * int(upper(layer, chip.array_synapses).dropped.sum())
        for groups, layer in zip(chip.groups[1:], chip.plan[1:], strict=True)
    )
    latency = chip.read_latency + PatchWords.latency + DRAIN
    return forward_busy(chip, work) + dropped + chip.depth * latency


def run_cycles(chip: ChipConfig, work: ConvWork) -> int:
    """Cycles of all batches without select and flip: a model."""
    forward = forward_cycles(chip, work).tolist()
    reads = work.upper_visits[chip.array_synapses, chip.learn_rows]  # the array waits for those of learning
    blocking = np.zeros_like(reads) if copies_weights(chip) else reads
    learn = iter(zip(learn_cycles(chip, work).tolist(), blocking.tolist(), strict=True))
    groups = chip.plan[0].pools * Fields(chip).pixel_groups[0]
    times = _Times(receive_cycles(chip), slide_cycles(chip), groups)
    updated, size, total = work.updated.tolist(), work.config.batch, 0
    for first in range(0, work.samples, size):
        part = slice(first, first + size)
        total += _batch(chip, times, forward[part], updated[part], learn)
    return total


def _batch(
    chip: ChipConfig, times: _Times, forward: list[int], updated: list[bool], learn: Iterator[tuple[int, int]]
) -> int:
    """Cycles of a batch from its first byte to the end of its last sample."""
    free = [0] * chip.slots  # when each slot is free again: a heap
    read = [0, 0]  # when each image is read
    filled = made = blank = gone = learned = 0  # when the last sample left each stage
    for number, cycles in enumerate(forward):
        image = number % 2
        filled = max(filled, read[image]) + times.receive
        taken = max(filled, heappop(free))  # a sample takes any free slot when its image is complete
        read[image] = made = max(made, taken) + times.slide
        blank = max(made, blank, gone - cycles) + times.blank
        gone = max(gone, blank) + cycles
        ends = gone + VERDICT + chip.classes
        if updated[number]:
            takes, blocks = next(learn)
            ends = learned = max(learned, ends) + takes
            gone += blocks
        heappush(free, ends)
    return max(free)
