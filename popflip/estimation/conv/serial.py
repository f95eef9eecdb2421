"""Cycles that a run takes on a compact chip with convolutions, whose forward pass and learning share one walk
(:mod:`popflip.hw.serial`). A sample ends before the next one begins, so the cycles of samples add up: all are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from popflip.estimation.conv.words import at_positions, seen
from popflip.golden.layers import Layer, Planes
from popflip.hw.config import ChipConfig
from popflip.hw.conv.fields import field
from popflip.hw.serial.places import Places

WIDTHS = (4, 8)
"""Synapses a cycle, ``N``, that such a chip may have."""
BYTE = 9
"""Cycles in which a byte comes into the image."""
POSITION = 3
"""Cycles of a position in the forward pass, without those of its taps."""
UNIT = 2
"""Cycles in which learning reads the errors of ``N`` rows."""
ROW = 2
"""Cycles of a row at a position, whether it learns or not; of one that learns also :data:`SWEEP`."""
SWEEP = 2
"""Cycles of a row that learns, without those of its words."""
WORD, WORD_WITH_ERRORS = 1, 3
"""Cycles of a word that takes votes, without those of its taps; one of activations passes errors back."""
AROUND = 2
"""Cycles of learning before a sample's errors are cleared and after its last layer."""
VERDICT, FREED = 3, 4
"""Cycles from the last sum of a sample to the start of learning, and to the next sample if it triggers no update."""


class Learning(NamedTuple):
    """Of each sample: ``cycles`` to learn it, without those that clear its errors, and ``visits``, words of counters
    that take votes; both ``[n]``."""

    cycles: NDArray[np.int64]
    visits: NDArray[np.int64]


def taps(plan: Sequence[Layer], lanes: int, index: int) -> int:
    """Steps of the walk over a patch: units of ``lanes`` activations and a bias, or in the first layer bits."""
    return plan[0].synapses if index == 0 else int(_units(plan, lanes, index).max()) + _bias(plan, lanes, index)


def _units(plan: Sequence[Layer], lanes: int, index: int) -> NDArray[np.int64]:
    """Units inside the image that a row of a layer above the first sees at each position, ``[down, across]``."""
    it, layer = field(tuple(plan), index), plan[index]
    parts = -(-it.planes.channels // lanes)
    if layer.bias:
        return np.full((1, 1), it.height * it.width * parts)
    planes = Planes(it.planes.height, it.planes.width)
    pixels = seen(np.ones((1, planes.size), np.uint8), planes, Layer(planes, 1, layer.kernel, layer.stride, layer.pool))
    return pixels[0].sum(axis=2, dtype=np.int64) * parts


def _bias(plan: Sequence[Layer], lanes: int, index: int) -> int:
    """1 if the bias of a row has a word of its own."""
    it = field(tuple(plan), index)
    return int(it.bias and it.taps % lanes == 0)


class _Row(NamedTuple):
    """A row's sweep of a layer at each position, ``[…, down, across]``: words that take votes, and ``cycles``, without
    those in which its error is looked at."""

    visits: NDArray[np.int64]
    cycles: NDArray[np.int64]


def _row(plan: Sequence[Layer], lanes: int, index: int, words: NDArray[np.integer]) -> _Row:
    """The sweep of a row. ``words`` : those of the first layer that are not all 0, ``[n, down, across]``."""
    steps = taps(plan, lanes, index) + SWEEP
    if index == 0:
        return _Row(words.astype(np.int64), steps + WORD * words.astype(np.int64))
    units, bias = _units(plan, lanes, index), _bias(plan, lanes, index)
    return _Row(units + bias, steps + WORD_WITH_ERRORS * units + WORD * bias)


def learning(
    plan: Sequence[Layer], lanes: int, words: NDArray[np.int16], learns: Sequence[NDArray[np.bool_]]
) -> Learning:
    """What samples take to learn, ``lanes`` synapses a cycle.

    ``words`` : words of the first layer that are not all 0, ``[n, down, across]``. ``learns`` : whether ``δ ≠ 0``, for
    each hidden layer, ``[n, pools, rows]``.
    """
    last = _row(plan, lanes, len(plan) - 1, words)
    both = 2 * (1 + ROW + int(last.cycles[0, 0]))  # the label's row and the rival's, each with a cycle for its error
    cycles = np.full(len(words), AROUND + len(plan) + 1 + both, np.int64)
    visits = np.full(len(words), 2 * int(last.visits[0, 0]), np.int64)
    for index, (layer, errors) in enumerate(zip(plan[:-1], learns, strict=True)):
        row, count = _row(plan, lanes, index, words), at_positions(errors.sum(axis=2), layer)
        takes = (UNIT + ROW * lanes) * -(-layer.rows // lanes) + count * row.cycles
        if index == 0:  # a position that sees nothing ends with its first row, unless the layer above voted just before
            first = at_positions(errors.argmax(axis=2), layer)
            blank = (words == 0) & (count > 0)
            blank[:, 0, 0] &= len(plan) > 2
            takes = np.where(blank, UNIT * (first // lanes + 1) + ROW * (first + 1) + row.cycles, takes)
        cycles += takes.sum(axis=(1, 2))
        visits += (row.visits * count).sum(axis=(1, 2))
    return Learning(cycles, visits)


def forward_busy(chip: ChipConfig) -> int:
    """Words that the array takes for a sample."""
    plan, lanes = chip.plan, chip.array_synapses
    words = [chip.words[0], *(taps(plan, lanes, index) for index in range(1, chip.depth))]
    return sum(groups * layer.positions * each for groups, layer, each in zip(chip.groups, plan, words, strict=True))


def forward_cycles(chip: ChipConfig) -> int:
    """Cycles of a sample in the forward pass until all sums of the last layer's last group have left."""
    plan, rows = chip.plan, chip.array_rows
    total = 1
    for index, (groups, layer) in enumerate(zip(chip.groups, plan, strict=True)):
        pool = layer.pool**2 * (taps(plan, chip.array_synapses, index) + POSITION) + rows + 1
        total += 1 + layer.pools * groups * pool
    return total


def learn_cycles(chip: ChipConfig, cycles: NDArray[np.int64]) -> NDArray[np.int64]:
    """Cycles from a verdict to the end of learning, ``[updates]``, of samples with :class:`Learning`'s ``cycles``."""
    return cycles + Places(chip).depth


def run_cycles(chip: ChipConfig, samples: int, batch: int, learn: NDArray[np.int64]) -> int:
    """Cycles of all batches without select, flip and those in which the chip waits for the link.

    ``learn`` : :func:`learn_cycles`, ``[updates]``.
    """
    forward = forward_cycles(chip)
    absent = chip.array_rows - 1 - (chip.rows[-1] - 1) % chip.array_rows  # rows of the last group: their sums leave too
    summed = forward - absent - 1
    image = BYTE * chip.input_bytes - (-chip.inputs % 8)
    alone = -(-samples // batch) * image  # each batch's first image comes while nothing else goes on
    without = samples - len(learn)
    return alone + without * max(forward, summed + FREED) + len(learn) * (summed + VERDICT) + int(learn.sum())
