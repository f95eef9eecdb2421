"""What a network would take of a board, and how fast it would learn, before anything is built. Rule GFT.

::

    run ─ golden ─▶ work ─▶ cycles ─┐
    network, P, N ─▶ resources ─────┴─▶ table, what limits, better P and N
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

from popflip.constraints.base import Board, Fit
from popflip.devices.base import BITS_PER_BYTE
from popflip.estimation import resources
from popflip.estimation.cycles import Cycles, of_work, sent_bytes
from popflip.estimation.workload import BANKS, WIDTHS, Work
from popflip.experiment import Experiment
from popflip.golden.config import Config
from popflip.golden.errors import ConfigError
from popflip.hw.config import ChipConfig

SAMPLED_BATCHES = 12
"""Batches, spread over the run, by which geometries are compared before the best is looked at as a whole."""
MOST_ROWS = 128
SHOWN = 6  # geometries listed
ENOUGH = 1.02
"""A geometry that is no faster than this times a smaller one is not better."""


@dataclass(frozen=True)
class Use:
    """So many of ``available`` on the FPGA are ``used``; with more than ``most`` place and route does not end."""

    name: str
    used: int
    available: int
    most: int


@dataclass(frozen=True)
class Estimate:
    """A chip on a board. ``work`` is the run it was counted for."""

    chip: ChipConfig
    board: Board
    clock_hz: float
    cycles: Cycles
    work: Work

    @property
    def uses(self) -> list[Use]:
        """What it takes of the board's FPGA."""
        return uses(self.board, self.chip)

    @property
    def cells(self) -> int:
        """Logic cells or LUTs."""
        return self.uses[0].used

    @property
    def per_sample(self) -> float:
        """Cycles a trained sample, all in all."""
        return self.cycles.total / self.cycles.samples

    @property
    def sample_bytes(self) -> float:
        """Bytes of a training sample that is sent, the mean."""
        return float(sent_bytes(self.chip, self.work.packed).mean())

    @property
    def limit(self) -> str:
        """What keeps the chip from being faster."""
        forward, learn, ends = self.cycles.forward_busy, self.cycles.learn_busy, self.cycles.select + self.cycles.flip
        received = self.sample_bytes * self.cycles.samples
        most = max(forward, learn, ends, received)
        if most == received:
            return "the byte a cycle that samples come in by"
        if most == ends:
            return "the end of batches: select and flip; a larger --batch"
        if most == learn:
            return "learn: words of counters, one a cycle of each bank; more --learn-rows or --synapses"
        return "forward: the MAC array; more --rows, or fewer --synapses where words are skipped"


def uses(board: Board, chip: ChipConfig) -> list[Use]:
    """What ``chip`` takes of what the board's FPGA has: logic first, and what both have none of left out."""
    device = resources.device(board)
    family = device.family
    found = [
        Use(device.cell_name, resources.cells(chip, family), device.cells, int(family.full * device.cells)),
        Use("block RAMs", resources.block_rams(chip, board.buffer, family), device.block_rams, device.block_rams),
        Use("single-port RAMs", resources.single_port(chip), device.single_port, device.single_port),
    ]
    return [use for use in found if use.used or use is not found[-1]]


def shortage(found: list[Use]) -> str:
    """What there is too little of; empty if all fits."""
    return ", ".join(f"{use.used} of {use.most} {use.name}" for use in found if use.used > use.most)


def of(board: Board, fit: Fit, chip: ChipConfig, work: Work) -> Estimate:
    """The estimate of one chip."""
    return Estimate(chip, board, fit.clock_hz, of_work(chip, work), work)


def better(board: Board, fit: Fit, chip: ChipConfig, work: Work) -> list[Estimate]:
    """Geometries that fit the board, fastest first, by a part of the run; of those equally fast the smaller one."""
    part = work.part(SAMPLED_BATCHES)
    found = [of(board, fit, candidate, part) for candidate in _geometries(chip) if not shortage(uses(board, candidate))]
    frontier: list[Estimate] = []
    for estimate in sorted(found, key=lambda estimate: (estimate.cells, estimate.per_sample)):
        if not frontier or estimate.per_sample * ENOUGH < frontier[-1].per_sample:
            frontier.append(estimate)
    return frontier[::-1]


def _geometries(chip: ChipConfig) -> Iterator[ChipConfig]:
    rows = [1 << bit for bit in range(MOST_ROWS.bit_length()) if 1 << bit < 2 * max(chip.rows)]
    for array_rows, synapses, banks in product(rows, WIDTHS, BANKS):
        if synapses < 2 * max(chip.synapses):
            try:
                yield replace(chip, array_rows=array_rows, array_synapses=synapses, learn_rows=banks, store_samples=0)
            except ConfigError:  # no such chip: more banks than rows, or a compact one that is large
                continue


def chosen(found: list[Estimate], board: Board) -> ChipConfig:
    """The fastest chip of what :func:`better` found; :class:`ConfigError` if that is nothing."""
    if not found:
        raise ConfigError(f"--auto: nothing fits {board.summary}; smaller --layers may")
    return found[0].chip


def ranking(found: list[Estimate]) -> list[str]:
    """A line for each geometry, and one that says what they are."""
    lines = [f"Geometries that fit, each the fastest of its size, at {found[0].clock_hz / 1e6:g} MHz:"] if found else []
    for estimate in found[:SHOWN]:
        chip = estimate.chip
        lines.append(
            f"  --rows {chip.array_rows} --synapses {chip.array_synapses} --learn-rows {chip.learn_rows}: "
            f"{estimate.per_sample:.0f} cycles a sample, {estimate.clock_hz / estimate.per_sample:,.0f} samples/s, "
            + ", ".join(f"{use.used} {use.name}" for use in estimate.uses)
        )
    return lines


def check(experiment: Experiment) -> None:
    """:class:`ConfigError` where there is no model."""
    if not isinstance(experiment.config, Config):
        raise ConfigError(
            "rule: lbe has no estimate; popflip build says what it takes, popflip train --device sim cycles"
        )


def rows(estimate: Estimate) -> list[tuple[str, str]]:
    """Names and values of the table shown."""
    chip, cycles = estimate.chip, estimate.cycles
    share = 100 / cycles.total
    parts = ("forward_busy", "learn_busy", "select", "flip")
    samples = estimate.clock_hz / estimate.per_sample
    link = estimate.board.baud / BITS_PER_BYTE / estimate.sample_bytes
    inference = estimate.clock_hz / max(estimate.sample_bytes, cycles.forward_busy / cycles.samples)
    table = [
        ("network", f"{'-'.join(map(str, chip.layers))} {chip.precision}"),
        ("array", f"{chip.array_rows} rows × {chip.array_synapses} synapses, {chip.learn_rows} learned at once"),
        ("samples that taught", f"{estimate.work.taught.mean():.1%} of {cycles.samples}"),
        ("cycles a sample", f"{estimate.per_sample:.1f}"),
        *(
            (
                f"  {name.replace('_', ' ')}",
                f"{getattr(cycles, name) / cycles.samples:.1f} ({share * getattr(cycles, name):.0f}%)",
            )
            for name in parts
        ),
        ("  ideal", f"{cycles.ideal:.1f}: {cycles.ideal / estimate.per_sample:.0%} of the cycles"),
        ("limit", estimate.limit),
        (f"at {estimate.clock_hz / 1e6:g} MHz", f"{samples:,.0f} trained samples/s, {inference:,.0f} inferences/s"),
        (
            f"link, {estimate.board.baud} baud",
            f"{link:,.0f} samples/s" + (": the limit, unless replayed" if link < samples else ""),
        ),
        *((use.name, f"{use.used} of {use.available}") for use in estimate.uses),
    ]
    if short := shortage(estimate.uses):
        table.append(("does not fit", f"needs {short}"))
    return table
