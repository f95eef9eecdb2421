"""Cycles that a run takes on a chip, from the work that the golden model counted (:mod:`.workload`). Rule GFT.

Forward, learn, select and flip follow from the work exactly. The total also holds waiting, which is modelled
(:mod:`.pipeline`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from popflip.estimation.conv import cycles as conv
from popflip.estimation.conv import serial
from popflip.estimation.conv.work import ConvWork
from popflip.estimation.flip_pass import flip_cycles
from popflip.estimation.pipeline import Batch, batch_cycles
from popflip.estimation.workload import Work
from popflip.hw.config import ChipConfig
from popflip.hw.gft.select import digit_bits, passes
from popflip.hw.lib import popcount


@dataclass(frozen=True)
class Cycles:
    """Cycles of a run on one chip, by the chip's own counters. :attr:`total` is modelled, the others are exact.

    ``turns`` : all cycles of forward and of learning, on a chip where they take turns; exact.
    """

    samples: int
    forward_busy: int
    learn_busy: int
    select: int
    flip: int
    total: int
    turns: tuple[int, int] | None = None

    @property
    def parts(self) -> tuple[int, int]:
        """Cycles that forward and learning need: those in which they are busy, or all that they take in turns."""
        return self.turns or (self.forward_busy, self.learn_busy)

    @property
    def ideal(self) -> float:
        """Cycles per sample if the busier engine never waited; if they take turns, if nothing else did."""
        return (sum(self.turns) if self.turns else max(self.parts)) / self.samples


def cycles_of(chip: ChipConfig, work: Work | ConvWork) -> Cycles:
    """The cycles of ``work`` on ``chip``."""
    select = select_cycles(chip) * len(work.batches)
    flip = sum(
        flip_cycles(chip, work.config.flip_p256, layer, changes)
        for batch in work.batches
        for layer, changes in enumerate(batch)
    )
    turns = None
    if isinstance(work, ConvWork) and chip.serial:
        forward = np.full(work.samples, serial.forward_busy(chip))
        learn = work.serial_visits[chip.array_synapses]
        learning = serial.learn_cycles(chip, work.serial_cycles[chip.array_synapses])
        turns = work.samples * serial.forward_cycles(chip), int(learning.sum())
        running = serial.run_cycles(chip, work.samples, work.config.batch, learning)
    elif isinstance(work, ConvWork):
        forward, learn = conv.forward_busy(chip, work), conv.learn_busy(chip, work)
        running = conv.run_cycles(chip, work)
    else:
        forward, learn = forward_cycles(chip, work), learn_cycles(chip, work)
        running = sum(batch_cycles(chip, batch) for batch in _batches(chip, work, forward, learn))
    return Cycles(
        samples=work.samples,
        forward_busy=int(forward.sum()),
        learn_busy=int(learn.sum()),
        select=select,
        flip=flip,
        total=running + select + flip,
        turns=turns,
    )


def sent_bytes(chip: ChipConfig, packed: NDArray[np.int64]) -> NDArray[np.int64]:
    """Bytes on the link of each training sample, [samples]: packed if the chip takes it and that is shorter.

    ``packed`` [samples] : bytes of the samples' packed inputs.
    """
    if not chip.packs:
        return np.full(len(packed), chip.sample_bytes)
    return np.minimum(chip.size_bytes + chip.label_bytes + packed, chip.sample_bytes)


def receive_cycles(chip: ChipConfig, work: Work) -> NDArray[np.int64]:
    """Cycles from a sample's last byte to the next one's, [samples].

    A byte takes a cycle. The link also checks the label, and the size of a packed sample, before it passes any byte on.
    """
    sent = sent_bytes(chip, work.packed)
    return sent + chip.label_bytes + chip.size_bytes * (sent < chip.sample_bytes)


def forward_cycles(chip: ChipConfig, work: Work) -> NDArray[np.int64]:
    """Cycles of the array, [samples, L]: one a word for ``P`` rows; the first layer takes nonzero words only."""
    upper = [groups * words for groups, words in zip(chip.groups[1:], chip.array_words[1:], strict=True)]
    first = np.maximum(work.words[chip.array_synapses] - chip.bias_apart, 1) * chip.groups[0]
    return np.column_stack([first, *(np.full(len(first), cycles) for cycles in upper)])


def learn_cycles(chip: ChipConfig, work: Work) -> NDArray[np.int64]:
    """Cycles of learning, one for each counter word updated, [updates, L]: rows that learn times nonzero words."""
    first = work.first_rows[chip.learn_rows] * work.words[chip.array_synapses][work.updated]
    return np.column_stack([first, work.upper_rows * np.array(chip.words[1:], np.int64)])


def learn_waits(chip: ChipConfig, work: Work) -> NDArray[np.int64]:
    """Cycles in which learning a sample updates no word, [updates].

    The backward pass hands on the errors of one word before those of the next: one a cycle with one counter bank, and
    a word in ``N / Pc`` cycles with several.
    """
    words = sum(chip.words[1:])
    rows = work.first_rows[1] + work.upper_rows[:, :-1].sum(axis=1)
    if chip.learn_rows > 1:
        spacing = chip.array_synapses // chip.learn_rows
        return np.full(len(rows), (words - 1) * spacing + 6 + min(4, spacing // 2))
    return rows + (6 * words if chip.pipelined else 2 * words + 4)


def select_cycles(chip: ChipConfig) -> int:
    """Cycles of select in a batch: the passes that find the thresholds of all layers. Equal in every batch."""
    turns = passes(chip, digit_bits(chip))
    fill = (
        2
        + popcount.latency(chip.array_synapses)
        + chip.read_latency
        + (3 if chip.learn_rows > 1 else 1 + chip.pipelined)
    )
    bank_rows = chip.counter_map.bank_rows
    return sum(2 + turns * (rows * words + fill) for rows, words in zip(bank_rows, chip.words, strict=True))


def _batches(chip: ChipConfig, work: Work, forward: NDArray[np.int64], learn: NDArray[np.int64]) -> list[Batch]:
    """The batches of ``work`` as :mod:`.pipeline` takes them."""
    size = work.config.batch
    receive, updated, layers = receive_cycles(chip, work).tolist(), work.updated.tolist(), forward.tolist()
    learning = (learn.sum(axis=1) * (1 + chip.compact) + learn_waits(chip, work)).tolist()
    blocking = learn[:, 1:].sum(axis=1).tolist()
    batches, begin = [], 0
    for first in range(0, work.samples, size):
        samples = slice(first, first + size)
        end = begin + sum(updated[samples])
        batches.append(
            Batch(receive[samples], layers[samples], updated[samples], learning[begin:end], blocking[begin:end])
        )
        begin = end
    return batches
