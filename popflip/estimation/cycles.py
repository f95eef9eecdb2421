"""How many cycles a chip takes for a run, from the work the golden model counted (:mod:`.work`). Rule GFT.

Four of the chip's six cycle counters follow from the work exactly: what forward and learn are busy for, select and
flip. Between them lies waiting: what the pipelines need to fill and drain, and slots that are all taken. That comes
from a model of a sample's way, with the engines' latencies as constants::

    slot free ─▶ bytes in ─▶ first layer ─▶ … ─▶ last layer ─▶ verdict ─┬───────────▶ slot free
                             (the array, two samples in turn)           └─▶ learn ──▶ slot free
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from popflip.estimation.workload import Changes, Work
from popflip.golden.config import WORD
from popflip.hw.common.signature import INDEX_BITS, bits_a_cycle
from popflip.hw.config import ChipConfig
from popflip.hw.gft.select import digit_bits, passes
from popflip.hw.lib import popcount

RECEIVED = {False: 3, True: 6}  # from a sample's last byte to the array, by whether the chip takes packed samples
LATENCY = {False: 8, True: 9}  # from a word's weights to what becomes of its sum, by whether the chip is fast
VERDICT = {False: 4, True: 5}  # from the last class's sum to the verdict, likewise
FLIP_FILL = {False: 2, True: 5}  # cycles before the first word and after the last one, besides a read, likewise
SETTLED = 4  # words after which what waited is felt no more


@dataclass(frozen=True)
class Cycles:
    """Cycles of a run on one chip; :attr:`total` is modelled, the others are exact."""

    samples: int
    forward_busy: int
    learn_busy: int
    select: int
    flip: int
    total: int

    @property
    def ideal(self) -> float:
        """Cycles a sample, were the engine with more to do never to wait."""
        return max(self.forward_busy, self.learn_busy) / self.samples


def of_work(chip: ChipConfig, work: Work) -> Cycles:
    """The cycles of ``work`` on ``chip``."""
    forward, learn = forward_cycles(chip, work), learn_cycles(chip, work)
    select = select_cycles(chip)
    flips = [
        sum(flip_cycles(chip, work, layer, changes) for layer, changes in enumerate(batch)) for batch in work.batches
    ]
    return Cycles(
        samples=work.samples,
        forward_busy=int(forward.sum()),
        learn_busy=int(learn.sum()),
        select=select * len(flips),
        flip=sum(flips),
        total=_total(chip, work, forward, learn) + select * len(flips) + sum(flips),
    )


def sent_bytes(chip: ChipConfig, packed: NDArray[np.int64]) -> NDArray[np.int64]:
    """Bytes on the link of training samples that are sent, ``[samples]``: as they are, or packed where that is shorter
    and the chip takes it. ``packed`` : what their inputs come to then, bytes ``[samples]``.
    """
    if not chip.packs:
        return np.full(len(packed), chip.sample_bytes)
    return np.minimum(chip.size_bytes + chip.label_bytes + packed, chip.sample_bytes)


def receive_cycles(chip: ChipConfig, work: Work) -> NDArray[np.int64]:
    """Cycles from a sample's last byte to the next one's, ``[samples]``: its bytes, and what is checked before any of
    them goes in, its label and the size of a packed one."""
    sent = sent_bytes(chip, work.packed)
    return sent + chip.label_bytes + chip.size_bytes * (sent < chip.sample_bytes)


def forward_cycles(chip: ChipConfig, work: Work) -> NDArray[np.int64]:
    """Words issued to the array, ``[samples, L]``: a group of ``P`` rows at a time, all words of the layers above."""
    above = [groups * words for groups, words in zip(chip.groups[1:], chip.array_words[1:], strict=True)]
    first = np.maximum(work.words[chip.array_synapses] - chip.bias_apart, 1) * chip.groups[0]
    return np.column_stack([first, *(np.full(len(first), cycles) for cycles in above)])


def learn_cycles(chip: ChipConfig, work: Work) -> NDArray[np.int64]:
    """Words of counters taken in one visit each, ``[teaching, L]``: rows that learn times words with a one."""
    first = work.first[chip.learn_rows] * work.words[chip.array_synapses][work.taught]
    return np.column_stack([first, work.above * np.array(chip.words[1:], np.int64)])


def select_cycles(chip: ChipConfig) -> int:
    """Cycles of the passes that find all layers' thresholds: the same in each batch."""
    turns = passes(chip, digit_bits(chip))
    fill = (
        2
        + popcount.latency(chip.array_synapses)
        + chip.read_latency
        + (3 if chip.learn_rows > 1 else 1 + chip.pipelined)
    )
    bank_rows = chip.counter_map.bank_rows
    return sum(2 + turns * (rows * words + fill) for rows, words in zip(bank_rows, chip.words, strict=True))


def flip_cycles(chip: ChipConfig, work: Work, layer: int, changes: Changes) -> int:
    """Cycles of the pass that flips ``layer``: a word each, and what words wait for: masks, records and ties."""
    words, rows, lanes = chip.words[layer], chip.rows[layer], chip.array_synapses
    record = (INDEX_BITS + WORD) // bits_a_cycle(chip)
    # Where something waits: the word after one whose flips are added up, and words whose ties are marked one by one.
    row, mask = np.divmod(changes.records.astype(np.int64), chip.mask_words[layer])
    last = np.minimum((mask + 1) * WORD // lanes - 1 if lanes < WORD else mask * WORD // lanes, words - 1)
    records, ties = (np.zeros(rows * words + 1, np.int64) for _ in range(2))
    np.add.at(records, row * words + last + 1, record)
    if lanes > WORD:  # the 32-synapse words of one that has a record are walked through, those without one too
        parts = np.minimum(lanes // WORD, chip.mask_words[layer] - last * lanes // WORD)
        waiting, first, number = np.unique(row * words + last + 1, return_index=True, return_counts=True)
        records[waiting] += parts[first] - number
    np.add.at(ties, changes.ties[:, 0] * words + changes.ties[:, 1] // lanes, 1)

    lowest = work.config.flip_p256 & -work.config.flip_p256
    draws = 8 - min(7, lowest.bit_length() - 1)  # cycles of a mask
    every = max(1, WORD // lanes)  # words that share a mask
    period = 3 if chip.compact else 1  # of words: where the memory has one port each is read, looked at and written
    steady = draws == 1 and lanes <= WORD
    places = np.flatnonzero(records + ties) if steady else np.arange(rows * words + 1)
    # ``taken``, ``taken_before`` : by flip; ``passed`` : by select, into a queue of two in fast chips.
    taken, taken_before, passed, place = 0, -1, -1, 0
    for event in places.tolist():
        if event > place:  # nothing waits in between, so all goes on at a word a cycle
            skip = max(0, event - place - SETTLED) if steady else 0
            taken, taken_before, passed = (time + period * skip for time in (taken, taken_before, passed))
            place += skip
        for index in range(place, min(event, rows * words - 1) + 1):
            waits, marks = int(records[index]), int(ties[index])
            drawn = period
            if not steady and index % words % every == 0:
                left = chip.mask_words[layer] - index % words * lanes // WORD
                made = draws * min(max(1, lanes // WORD), left) if index else 1  # while thresholds are found
                drawn = max(period, made)
            if chip.pipelined:
                passed = max(passed + 1 + marks, taken_before + 1)
                earliest = passed + 1
            else:
                earliest = taken + period + marks
            taken_before, taken = taken, max(taken + drawn, taken + 1 + waits, earliest)
            place = index + 1
    fill = FLIP_FILL[chip.pipelined] + chip.read_latency - 2 * chip.compact
    return taken + period * (rows * words - place) + int(records[-1]) + fill


def _total(chip: ChipConfig, work: Work, forward: NDArray, learn: NDArray) -> int:
    """Cycles of all samples, batch by batch, without select and flip."""
    size = work.config.batch
    learning = (learn.sum(axis=1) * (1 + chip.compact) + learn_waits(chip, work)).tolist()
    reads = learn[:, 1:].sum(axis=1).tolist()  # of weights by learn, for which the array waits
    taught, layers, receiving = work.taught.tolist(), forward.tolist(), receive_cycles(chip, work).tolist()
    total = begin = 0
    for first in range(0, work.samples, size):
        part = taught[first : first + size]
        end = begin + sum(part)
        come = receiving[first : first + size]
        total += _batch(chip, come, layers[first : first + size], part, learning[begin:end], reads[begin:end])
        begin = end
    return total


def _batch(
    chip: ChipConfig,
    receiving: list[int],
    forward: list[list[int]],
    taught: list[bool],
    learning: list[int],
    reads: list[int],
) -> int:
    """Cycles from the first byte of a batch to the end of its last sample."""
    latency = chip.read_latency + LATENCY[chip.pipelined]
    last = chip.depth - 1
    slots = [0] * chip.slots  # when each is free: a heap
    sample: list[int | None] = [None, None]  # that goes forward in each context, the layer it waits for, since when
    layer, ready = [0, 0], [0, 0]
    received = array = learned = end = loaded = current = turn = 0
    learns, waits = iter(learning), iter(reads)
    while loaded < len(forward) or sample != [None, None]:
        context = loaded & 1
        if loaded < len(forward) and sample[context] is None and slots:
            received = max(received, heapq.heappop(slots)) + receiving[loaded]
            sample[context], layer[context] = loaded, 0
            ready[context] = max(ready[context], received + RECEIVED[chip.packs])
            loaded += 1
            continue
        # The array takes what is ready first; of both, the sample it did not take before. Last layers keep the order.
        able = [c for c in (1 - current, current) if sample[c] is not None and (layer[c] < last or turn == c)]
        current = min(able, key=lambda c: max(array, ready[c]))
        index = sample[current]
        assert index is not None
        array = max(array, ready[current]) + forward[index][layer[current]]
        if layer[current] < last:
            layer[current] += 1
            ready[current] = array + latency
            continue
        turn = 1 - turn
        sample[current], ready[current] = None, array
        verdict = array + latency + chip.fold.bit_length() - 1 + chip.classes + VERDICT[chip.pipelined]
        if taught[index]:
            verdict = learned = max(learned, verdict) + next(learns)
            array += next(waits)
        heapq.heappush(slots, verdict)
        end = max(end, verdict)
    return end


def learn_waits(chip: ChipConfig, work: Work) -> NDArray[np.int64]:
    """Cycles in which a sample that is being learned takes no word, ``[teaching]``: a word's errors leave one by one,
    or in the time of a bank's lanes, before the next word's may."""
    words = sum(chip.words[1:])
    rows = work.first[1] + work.above[:, :-1].sum(axis=1)
    if chip.learn_rows > 1:
        spacing = chip.array_synapses // chip.learn_rows
        return np.full(len(rows), (words - 1) * spacing + 6 + min(4, spacing // 2))
    return rows + (6 * words if chip.pipelined else 2 * words + 4)
