"""The work of a run of a network with convolutions: listed words, visits of blocks, words that flip.

Counts are made for every array width ``N`` and number of banks ``Pc`` of :data:`WIDTHS` and :data:`BANKS`;
:mod:`.cycles` picks those of its chip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd

import numpy as np
from numpy.typing import NDArray

from popflip.estimation.changes import Changes, changes_of, spread
from popflip.estimation.conv import serial
from popflip.estimation.conv.words import at_positions, listed, nonzero, per_pool, seen, upper
from popflip.golden.common.packing import pack
from popflip.golden.config import Config
from popflip.golden.gft.engine import GftObserver
from popflip.golden.gft.flip import Flipped
from popflip.golden.gft.select import Selection
from popflip.golden.layers import Layer
from popflip.hw.conv.fields import field

WIDTHS = (8, 16, 32, 64)
"""Synapses per cycle, ``N``, for which words are counted."""
BANKS = (1, 2, 4, 8)
"""Rows updated at once, ``Pc``, for which visits are counted."""
SPACINGS = {8: (3,), 16: (5, 7), 32: (5, 7), 64: (5, 7)}
"""Cycles between two visits of the same counters that chips of a width ``N`` may need."""
FAR = 2**12
"""More cycles than any spacing."""
CHUNK = 64
"""Samples whose patches are counted at a time."""


@dataclass
class ConvWork:
    """The work of a run, sample by sample and batch by batch.

    ``listed`` : words in a sample's list, [samples], by ``N``.
    ``packed`` : bytes of a sample's packed inputs, [samples].
    ``updated`` : whether a sample triggers an update, [samples]; of those that do, in order:
    ``visits`` : visits of blocks in all layers, [updates], by ``(N, Pc)``; ``upper_visits`` : those above the first.
    ``upper_sweeps`` : cycles of learning's sweeps above the first layer, [updates], by ``(N, Pc)``.
    ``first_sweeps`` : cycles of a sweep of the first layer, block after block of a word, [updates], by ``(N, Pc,
    spacing)``.
    ``serial_cycles``, ``serial_visits`` : :class:`.serial.Learning` on a compact chip, [updates], by ``N``.
    ``batches`` : the changes of each layer, for each batch.
    """

    config: Config
    listed: dict[int, NDArray[np.int32]]
    packed: NDArray[np.int64]
    updated: NDArray[np.bool_]
    visits: dict[tuple[int, int], NDArray[np.int32]]
    upper_visits: dict[tuple[int, int], NDArray[np.int32]]
    upper_sweeps: dict[tuple[int, int], NDArray[np.int32]]
    first_sweeps: dict[tuple[int, int, int], NDArray[np.int32]]
    serial_cycles: dict[int, NDArray[np.int64]]
    serial_visits: dict[int, NDArray[np.int64]]
    batches: list[list[Changes]]

    @property
    def samples(self) -> int:
        """Samples of the run."""
        return len(self.updated)

    def part(self, batches: int) -> ConvWork:
        """The work of ``batches`` batches, evenly spread over the run; all of it if it has no more."""
        chosen = spread(len(self.batches), batches)
        if chosen is None:
            return self
        size = self.config.batch
        samples = np.concatenate([np.arange(batch * size, (batch + 1) * size) for batch in chosen])
        updates = (np.cumsum(self.updated) - 1)[samples[self.updated[samples]]]
        return ConvWork(
            config=self.config,
            listed={key: each[samples] for key, each in self.listed.items()},
            packed=self.packed[samples],
            updated=self.updated[samples],
            visits={key: each[updates] for key, each in self.visits.items()},
            upper_visits={key: each[updates] for key, each in self.upper_visits.items()},
            upper_sweeps={key: each[updates] for key, each in self.upper_sweeps.items()},
            first_sweeps={key: each[updates] for key, each in self.first_sweeps.items()},
            serial_cycles={key: each[updates] for key, each in self.serial_cycles.items()},
            serial_visits={key: each[updates] for key, each in self.serial_visits.items()},
            batches=[self.batches[batch] for batch in chosen],
        )


class ConvCounter(GftObserver):
    """Observes the golden model and counts its work."""

    def __init__(self, config: Config):
        self._config = config
        self._upper = {
            (index, lanes): upper(layer, lanes) for index, layer in enumerate(config.plan) if index for lanes in WIDTHS
        }
        self._units = {lanes: units(config.plan, lanes) for lanes in WIDTHS}
        self._parts: list[dict] = []
        self._packed: list[NDArray] = []
        self._updated: list[NDArray] = []
        self._changes: list[Changes] = []

    def work(self) -> ConvWork:
        """The work so far."""
        depth = self._config.depth
        joined = {key: np.concatenate([part[key] for part in self._parts]) for key in self._parts[0]}

        def of(name: str) -> dict:
            found = {key[1:]: value for key, value in joined.items() if key[0] == name}
            return {key[0] if len(key) == 1 else key: value for key, value in found.items()}

        return ConvWork(
            config=self._config,
            listed=of("listed"),
            packed=np.concatenate(self._packed),
            updated=np.concatenate(self._updated),
            visits=of("visits"),
            upper_visits=of("above"),
            upper_sweeps=of("upper"),
            first_sweeps=of("first"),
            serial_cycles=of("serial cycles"),
            serial_visits=of("serial visits"),
            batches=[self._changes[first : first + depth] for first in range(0, len(self._changes), depth)],
        )

    def on_errors(self, x: NDArray[np.uint8], updates: NDArray[np.bool_], deltas: Sequence[NDArray[np.int32]]) -> None:
        self._packed.append(pack(np.packbits(x, axis=1, bitorder="little"))[1])
        self._updated.append(updates)
        before: NDArray[np.int64] = np.cumsum(updates) - updates  # updates ahead of each sample
        for first in range(0, len(x), CHUNK):
            chunk = slice(first, first + CHUNK)
            begin, count = int(before[first]), int(np.count_nonzero(updates[chunk]))
            self._parts.append(self._count(x[chunk], updates[chunk], [each[begin : begin + count] for each in deltas]))

    def on_flip(self, layer: int, counters: NDArray[np.int16], selection: Selection, flipped: Flipped) -> None:
        self._changes.append(changes_of(counters, selection, flipped, self._config.word_base[layer]))

    def _count(self, x: NDArray[np.uint8], updates: NDArray[np.bool_], deltas: list[NDArray[np.int32]]) -> dict:
        """The counts of some samples, by their name and what they depend on."""
        config = self._config
        first = config.plan[0]
        patches = seen(x, config.image, first)
        blocks = {
            (index, banks): learning_blocks(delta, layer.rows, banks)
            for index, (layer, delta) in enumerate(zip(config.plan, deltas, strict=True))
            for banks in BANKS
        }
        at = {banks: np.maximum(at_positions(blocks[0, banks], first), 1) for banks in BANKS}
        counts: dict = {}
        for lanes in WIDTHS:
            words = listed(nonzero(patches, lanes), first)
            counts["listed", lanes] = words.sum(axis=(1, 2)).astype(np.int32)
            words = words[updates]
            for banks in BANKS:
                self._count_visits(counts, words, blocks, at[banks], (at[banks] == 1) | (words == 0), lanes, banks)
        learns = [
            delta.reshape(len(delta), layer.pools, layer.rows) != 0
            for layer, delta in zip(config.plan[:-1], deltas[:-1], strict=True)
        ]
        for lanes in serial.WIDTHS:
            words = nonzero(patches[updates], lanes)
            takes = serial.learning(config.plan, lanes, words, learns)
            counts["serial cycles", lanes], counts["serial visits", lanes] = takes
        return counts

    def _count_visits(
        self,
        counts: dict,
        words: NDArray[np.int16],
        blocks: dict,
        at: NDArray[np.int16],
        alone: NDArray[np.bool_],
        lanes: int,
        banks: int,
    ) -> None:
        """Add the visits and sweeps of samples whose first layer has ``words`` at each position, and ``at`` blocks to
        visit there, at least 1. At ``alone`` positions no two visits have to keep a distance."""
        plan = self._config.plan
        visits = (per_pool(words, plan[0]) * blocks[0, banks]).sum(axis=1)
        above = np.zeros(len(words), np.int64)
        sweeps = np.zeros(len(words), np.int64)
        for index, layer in enumerate(plan[1:], 1):
            found, here = self._upper[index, lanes], blocks[index, banks]
            kept, dropped = per_pool(found.kept, layer), per_pool(found.dropped, layer)
            above += (kept * here).sum(axis=1)
            takes = np.maximum(here, np.where(here > 0, self._units[lanes], 1))  # errors are added a unit a cycle
            sweeps += (kept * takes + dropped * (takes <= 1)).sum(axis=1)
        counts["visits", lanes, banks] = (visits + above).astype(np.int32)
        counts["above", lanes, banks] = above.astype(np.int32)
        counts["upper", lanes, banks] = sweeps.astype(np.int32)
        cycles = words * at
        first = cycles.sum(axis=(1, 2), dtype=np.int64)
        cycles[alone] = FAR
        for spacing in SPACINGS[lanes]:
            waits = np.maximum(spacing - cycles, 0).sum(axis=(1, 2), dtype=np.int64)
            counts["first", lanes, banks, spacing] = (first + waits).astype(np.int32)


def units(plan: tuple[Layer, ...], lanes: int) -> int:
    """Units of a word of ``lanes`` synapses above the first layer, as :attr:`popflip.hw.conv.fields.Fields.units`."""
    fields = [field(plan, layer) for layer in range(1, len(plan))]
    return lanes // gcd(lanes, *(it.planes.channels for it in fields if it.height * it.width > 1))


def learning_blocks(delta: NDArray[np.int32], rows: int, banks: int) -> NDArray[np.int16]:
    """Blocks of ``banks`` rows with a ``δ ≠ 0`` at each pool, ``[n, pools]``, of errors ``[n, neurons]``."""
    turns, pools = -(-rows // banks), delta.shape[1] // rows
    learns = np.zeros((len(delta), pools, turns * banks), bool)
    learns[..., :rows] = delta.reshape(len(delta), pools, rows) != 0
    return learns.reshape(*learns.shape[:2], turns, banks).any(axis=3).sum(axis=2, dtype=np.int16)
