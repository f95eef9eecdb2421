"""An estimate of a chip on a board: its speed, the FPGA resources it uses, and its bottleneck. Rule GFT.

::

    run ─▶ golden model ─▶ work ─▶ cycles ─┐
    network, P, N ─▶ resources ────────────┴─▶ estimate
"""

from __future__ import annotations

from dataclasses import dataclass

from popflip.constraints.base import Board
from popflip.devices.base import BITS_PER_BYTE
from popflip.errors import ConfigError
from popflip.estimation import resources
from popflip.estimation.conv import cycles as conv
from popflip.estimation.conv.work import ConvWork
from popflip.estimation.cycles import Cycles, cycles_of, sent_bytes
from popflip.estimation.workload import Work
from popflip.golden.config import AnyConfig, Config
from popflip.hw.config import ChipConfig


@dataclass(frozen=True)
class Use:
    """How much of one FPGA resource is ``used`` and ``available``. Place and route fails with more than ``most``."""

    name: str
    used: int
    available: int
    most: int


@dataclass(frozen=True)
class Estimate:
    """A chip on a board, and its cycles for the run whose work is ``work``."""

    chip: ChipConfig
    board: Board
    clock_hz: float
    cycles: Cycles
    work: Work | ConvWork

    @property
    def uses(self) -> list[Use]:
        """FPGA resources that the chip uses, logic first."""
        return uses(self.board, self.chip)

    @property
    def cells(self) -> int:
        """Logic cells or LUTs."""
        return self.uses[0].used

    @property
    def cycles_per_sample(self) -> float:
        """Mean cycles of a training sample."""
        return self.cycles.total / self.cycles.samples

    @property
    def samples_per_second(self) -> float:
        """Training samples per second that the chip can learn, not counting its link."""
        return self.clock_hz / self.cycles_per_sample

    @property
    def sample_bytes(self) -> float:
        """Mean bytes of a training sample on the link, without framing."""
        return float(sent_bytes(self.chip, self.work.packed).mean())

    @property
    def limit(self) -> str:
        """The bottleneck, and what would help."""
        if self.chip.serial:
            return "walk: forward and learning take turns; use more rows, or a board with an ECP5"
        forward, learn, ends = self.cycles.forward_busy, self.cycles.learn_busy, self.cycles.select + self.cycles.flip
        received = self.sample_bytes * self.cycles.samples
        ingested = conv.ingest_cycles(self.chip) * self.cycles.samples if self.chip.convolves else 0
        if isinstance(self.work, ConvWork):
            learn = int(conv.learn_cycles(self.chip, self.work).sum())
        most = max(forward, learn, ends, received, ingested)
        if most == ingested:
            return "ingest: a bit of a sample and a pixel of its patches a cycle; use fewer thresholds"
        if most == received:
            return "link: samples arrive at one byte per cycle"
        if most == ends:
            return "end of batch: select and flip; use a larger batch"
        if most == learn:
            return "learn: one word of counters per cycle and bank; use more learn_rows or synapses"
        return "forward: the MAC array; use more rows, or fewer synapses where many words are all zero"


def check(config: AnyConfig) -> None:
    """Raise :class:`ConfigError` if the rule of ``config`` cannot be estimated."""
    if not isinstance(config, Config):
        raise ConfigError(
            f"rule: {config.rule} cannot be estimated; build it for its resources, simulate it for its cycles"
        )


def estimate(board: Board, clock_hz: float, chip: ChipConfig, work: Work | ConvWork) -> Estimate:
    """The estimate of ``chip`` on ``board`` at ``clock_hz``, for the run whose work is ``work``."""
    return Estimate(chip, board, clock_hz, cycles_of(chip, work), work)


def uses(board: Board, chip: ChipConfig) -> list[Use]:
    """FPGA resources used by ``chip``, logic first; single-port RAM only if used."""
    fpga = resources.fpga_of(board)
    family = fpga.family
    cells = resources.cells(chip, family) + board.link.cells
    logic = Use(fpga.cell_name, cells, fpga.cells, int(family.full * fpga.cells))
    block_rams = resources.block_rams(chip, board.buffer, family)
    found = [logic, Use("block RAMs", block_rams, fpga.block_rams, fpga.block_rams)]
    if single_port := resources.single_port(chip):
        found.append(Use("single-port RAMs", single_port, fpga.single_port, fpga.single_port))
    return found


def shortage(found: list[Use]) -> str:
    """The resources of which the chip needs more than the board has, as text; empty if it fits."""
    return ", ".join(f"{use.used} of {use.most} {use.name}" for use in found if use.used > use.most)


def rows(estimate: Estimate) -> list[tuple[str, str]]:
    """Names and values for the table of ``popflip estimate``."""
    chip, cycles = estimate.chip, estimate.cycles
    table = [
        ("network", f"{'-'.join(map(str, chip.layers))} {chip.precision}"),
        ("array", f"{chip.array_rows} rows × {chip.array_synapses} synapses, {chip.learn_rows} learned at once"),
        ("samples with an update", f"{estimate.work.updated.mean():.1%} of {cycles.samples}"),
        *_cycle_rows(estimate),
        ("limit", estimate.limit),
        *_speed_rows(estimate),
        *((use.name, f"{use.used} of {use.available}") for use in estimate.uses),
    ]
    if short := shortage(estimate.uses):
        table.append(("does not fit", f"needs {short}"))
    return table


def _cycle_rows(estimate: Estimate) -> list[tuple[str, str]]:
    cycles = estimate.cycles
    parts = {name.replace("_", " "): getattr(cycles, name) for name in ("forward_busy", "learn_busy", "select", "flip")}
    return [
        ("cycles a sample", f"{estimate.cycles_per_sample:.1f}"),
        *(
            (f"  {name}", f"{count / cycles.samples:.1f} ({100 / cycles.total * count:.0f}%)")
            for name, count in parts.items()
        ),
        ("  ideal", f"{cycles.ideal:.1f}: {cycles.ideal / estimate.cycles_per_sample:.0%} of the cycles"),
    ]


def _speed_rows(estimate: Estimate) -> list[tuple[str, str]]:
    cycles, board, samples = estimate.cycles, estimate.board, estimate.samples_per_second
    link = board.baud / BITS_PER_BYTE / estimate.sample_bytes
    inferences = estimate.clock_hz / max(estimate.sample_bytes, cycles.parts[0] / cycles.samples)
    return [
        (f"at {estimate.clock_hz / 1e6:g} MHz", f"{samples:,.0f} trained samples/s, {inferences:,.0f} inferences/s"),
        (
            f"link, {board.link.summary}",
            f"{link:,.0f} samples/s" + (": the limit, unless replayed" if link < samples else ""),
        ),
    ]
