"""Geometries that fit a board, and which of them learn fastest. Rule GFT."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from popflip.constraints.base import Board
from popflip.errors import ConfigError
from popflip.estimation.conv import work as conv
from popflip.estimation.conv.work import ConvWork
from popflip.estimation.estimate import Estimate, estimate, shortage, uses
from popflip.estimation.workload import BANKS, WIDTHS, Work
from popflip.hw.config import ChipConfig

SAMPLED_BATCHES = 12
"""Batches, spread over the run, on which geometries are compared."""
MOST_ROWS = 128
SHOWN = 6  # geometries printed
ENOUGH = 1.02
"""A larger geometry must be faster than a smaller one by this factor."""


def better(board: Board, clock_hz: float, chip: ChipConfig, work: Work | ConvWork) -> list[Estimate]:
    """Estimates of the geometries of ``chip`` that fit the board, fastest first, each the fastest of its size."""
    part = work.part(SAMPLED_BATCHES)
    found = [
        estimate(board, clock_hz, candidate, part)
        for candidate in _geometries(chip)
        if not shortage(uses(board, candidate))
    ]
    frontier: list[Estimate] = []
    for candidate in sorted(found, key=lambda each: (each.cells, each.cycles_per_sample)):
        if not frontier or candidate.cycles_per_sample * ENOUGH < frontier[-1].cycles_per_sample:
            frontier.append(candidate)
    return frontier[::-1]


def _geometries(chip: ChipConfig) -> Iterator[ChipConfig]:
    rows = [1 << bit for bit in range(MOST_ROWS.bit_length()) if 1 << bit < 2 * max(chip.rows)]
    without = replace(chip, store_samples=0, walks=False, sdram="")
    counted = (conv.WIDTHS, conv.BANKS) if chip.convolves else (WIDTHS, BANKS)
    for array_rows, synapses, banks in product(rows, *counted):
        if synapses < 2 * max(chip.synapses):
            try:
                yield replace(without, array_rows=array_rows, array_synapses=synapses, learn_rows=banks)
            except ConfigError:  # impossible: more banks than rows, or a compact chip that is too large
                continue


def fastest(found: list[Estimate], board: Board) -> ChipConfig:
    """The fastest chip that :func:`better` found. Raises :class:`ConfigError` if it found none."""
    if not found:
        raise ConfigError(f"layers: no geometry of this network fits {board.summary}; use fewer or smaller layers")
    return found[0].chip


def ranking(found: list[Estimate]) -> list[str]:
    """A headline, and a line for each of the fastest geometries."""
    lines = [f"Geometries that fit, each the fastest of its size, at {found[0].clock_hz / 1e6:g} MHz:"] if found else []
    for each in found[:SHOWN]:
        chip = each.chip
        lines.append(
            f"  rows {chip.array_rows}, synapses {chip.array_synapses}, learn_rows {chip.learn_rows}: "
            f"{each.cycles_per_sample:.0f} cycles a sample, {each.samples_per_second:,.0f} samples/s, "
            + ", ".join(f"{use.used} {use.name}" for use in each.uses)
        )
    return lines
