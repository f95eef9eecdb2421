"""What a network would take of a board, and how fast it would learn, before anything is built. Rule GFT.

::

    run ─ golden ─▶ work ─▶ cycles ─┐
    network, P, N ─▶ resources ─────┴─▶ table, what limits, better P and N
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

from popflip.constraints import Board, Fit
from popflip.golden.config import Config, ConfigError
from popflip.hw.config import ChipConfig

from . import resources
from .cycles import Cycles, of_work
from .experiment import Experiment
from .replay import BITS_A_BYTE
from .work import BANKS, WIDTHS, Work

SAMPLED_BATCHES = 12
"""Batches, spread over the run, by which geometries are compared before the best is looked at as a whole."""
MOST_ROWS = 128
SHOWN = 6  # geometries listed
ENOUGH = 1.02
"""A geometry that is no faster than this times a smaller one is not better."""


@dataclass(frozen=True)
class Estimate:
    """A chip on a board. ``cells``, ``block_rams``, ``single_port``: used. ``work`` is the run it was counted for."""

    chip: ChipConfig
    board: Board
    clock_hz: float
    cycles: Cycles
    work: Work
    cells: int
    block_rams: int
    single_port: int

    @property
    def device(self) -> resources.Device:
        """The board's FPGA."""
        return resources.device(self.board)

    @property
    def shortage(self) -> str:
        """What there is too little of; empty if it fits."""
        there = self.device
        short = [
            f"{used} of {available} {name}"
            for used, available, name in (
                (self.cells, int(there.family.full * there.cells), there.cell_name),
                (self.block_rams, there.block_rams, "block RAMs"),
                (self.single_port, there.single_port, "single-port RAMs"),
            )
            if used > available
        ]
        return ", ".join(short)

    @property
    def per_sample(self) -> float:
        """Cycles a trained sample, all in all."""
        return self.cycles.total / self.cycles.samples

    @property
    def limit(self) -> str:
        """What keeps the chip from being faster."""
        forward, learn, ends = self.cycles.forward_busy, self.cycles.learn_busy, self.cycles.select + self.cycles.flip
        received = self.chip.sample_bytes * self.cycles.samples
        most = max(forward, learn, ends, received)
        if most == received:
            return "the byte a cycle that samples come in by"
        if most == ends:
            return "the end of batches: select and flip; a larger --batch"
        if most == learn:
            return "learn: words of counters, one a cycle of each bank; more --learn-rows or --synapses"
        return "forward: the MAC array; more --rows, or fewer --synapses where words are skipped"


def of(board: Board, fit: Fit, chip: ChipConfig, work: Work) -> Estimate:
    """The estimate of one chip."""
    return Estimate(
        chip=chip,
        board=board,
        clock_hz=fit.clock_hz,
        cycles=of_work(chip, work),
        work=work,
        cells=resources.cells(chip, resources.device(board).family),
        block_rams=resources.block_rams(chip, board.buffer, resources.device(board).family),
        single_port=resources.single_port(chip),
    )


def better(board: Board, fit: Fit, chip: ChipConfig, work: Work) -> list[Estimate]:
    """Geometries that fit the board, fastest first, by a part of the run; of those equally fast the smaller one."""
    part = work.part(SAMPLED_BATCHES)
    device = resources.device(board)
    family = device.family
    found = []
    for candidate in _geometries(chip):
        if resources.cells(candidate, family) > family.full * device.cells:
            continue
        if resources.block_rams(candidate, board.buffer, family) > device.block_rams:
            continue
        found.append(of(board, fit, candidate, part))
    frontier: list[Estimate] = []
    for estimate in sorted(found, key=lambda estimate: (estimate.cells, estimate.per_sample)):
        if not frontier or estimate.per_sample * ENOUGH < frontier[-1].per_sample:
            frontier.append(estimate)
    return frontier[::-1]


def _geometries(chip: ChipConfig) -> Iterator[ChipConfig]:
    rows = [1 << bit for bit in range(MOST_ROWS.bit_length()) if 1 << bit < 2 * max(chip.rows)]
    for array_rows, synapses, banks in product(rows, WIDTHS, BANKS):
        if banks <= min(array_rows, synapses) and synapses < 2 * max(chip.synapses):
            yield replace(chip, array_rows=array_rows, array_synapses=synapses, learn_rows=banks, store_samples=0)


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
            f"{estimate.cells} {estimate.device.cell_name}, {estimate.block_rams} block RAMs"
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
    chip, cycles, device = estimate.chip, estimate.cycles, estimate.device
    share = 100 / cycles.total
    parts = ("forward_busy", "learn_busy", "select", "flip")
    samples = estimate.clock_hz / estimate.per_sample
    link = estimate.board.baud / BITS_A_BYTE / chip.sample_bytes
    inference = estimate.clock_hz / max(chip.sample_bytes, cycles.forward_busy / cycles.samples)
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
        (device.cell_name, f"{estimate.cells} of {device.cells}"),
        ("block RAMs", f"{estimate.block_rams} of {device.block_rams}"),
    ]
    if estimate.single_port:
        table.append(("single-port RAMs", f"{estimate.single_port} of {device.single_port}"))
    if estimate.shortage:
        table.append(("does not fit", f"needs {estimate.shortage}"))
    return table
