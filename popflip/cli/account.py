"""``popflip account``: updates, bits and energy of a run, and the tables of the paper."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from popflip.cli.display import announce, grid
from popflip.cli.options import Settings, with_settings
from popflip.cli.outputs import Outputs
from popflip.errors import ConfigError

if TYPE_CHECKING:
    from popflip.ledger import Counts, Line
    from popflip.paper import PaperTable

PREFIXES = ((0.1, 1, ""), (1e-3, 1e-3, "m"), (1e-6, 1e-6, "µ"), (1e-9, 1e-9, "n"), (0, 1e-12, "p"))
"""Least energy in each unit, the unit in joules, and its prefix."""
ENERGIES = ("steps 7nm", "45nm", "passes 7nm", "45nm")


@with_settings(("report",))
def account(
    settings: Settings,
    run: Annotated[
        Path | None, typer.Argument(metavar="RUN", help="A report (.json) or a network (.npz) of popflip train.")
    ] = None,
    paper: Annotated[
        bool, typer.Option("--paper", help="Print Tables 1 to 3 of arXiv 2410.09734 beside the formulas.")
    ] = False,
) -> None:
    """Account for a run: updates, bits, and the energy of its arithmetic at 7 and 45 nm, from counted operations.

    One line each for AdamW, GFT in FP32 as the paper counts it, GFT in INT8, and the chip, from its own counters.
    Forward and backward passes have columns of their own. Without memory and control, energies are for comparison.
    """
    from popflip.files import check_outputs_differ, check_writable
    from popflip.ledger import ledger, read
    from popflip.report import write

    if (run is None) != paper:
        raise ConfigError("give either a report or a network of popflip train, or --paper")
    paths = {"report": settings.report}
    check_writable(**paths)
    check_outputs_differ(paths, {"run": run})
    if run is None:
        content = _print_paper()
    else:
        counts = read(run)
        content = _print_run(counts, ledger(counts))
    with Outputs() as outputs:
        if settings.report is not None:
            outputs.attempt(write, settings.report, content, path=settings.report)


def _print_run(counts: Counts, lines: list[Line]) -> dict[str, Any]:
    config = counts.config
    announce(
        f"{'-'.join(map(str, config.layers))} {config.precision.value}: {counts.batches} batches, {counts.samples} "
        f"samples, {counts.errors} with an update, {sum(counts.flips)} weights flipped"
    )
    header = ("", "updates", "bits", "stored", *ENERGIES)
    grid(header, [(line.method, *_sizes(line), *_energies(line)) for line in lines])
    return {
        "run": {
            "layers": list(config.layers),
            "precision": config.precision.value,
            "batches": counts.batches,
            "samples": counts.samples,
            "errors": counts.errors,
            "flips": list(counts.flips),
        },
        "lines": [line.as_dict() for line in lines],
    }


def _print_paper() -> dict[str, Any]:
    from popflip import paper

    tables = []
    for table in paper.TABLES:
        announce(table.title)
        tables.append(_print_table(table))
        announce("")
    announce(
        f"Not reproduced: {paper.UNEXPLAINED} updates, presumably with flips that the paper does not count out. "
        f"Nearest: nanoGPT's MLP weights × steps, {billions(paper.NEAREST)}."
    )
    announce(
        f"formula: flips to expect with K0 {paper.K0:.1%} of each tensor, falling to 0. ours: one run each "
        "(docs/pytorch.md), whose flips are counted. –: not known to us."
    )
    return {"tables": tables, "not_reproduced": [paper.UNEXPLAINED]}


def _print_table(table: PaperTable) -> dict[str, Any]:
    """Two grids: what the paper prints beside the formulas and our run, and the formulas' energies."""
    from popflip import paper

    totals, energies, models = [], [], []
    for model in table.models:
        lines = paper.lines(table, model)
        published = {"result": model.result, "updates": model.updates, "energy": model.energy}
        counted = paper.counted(table, model).updates
        ours = {"result": model.ours.result, "flips": model.ours.flips, "updates": counted}
        updates, bits, stored = _sizes(lines[0])
        results = (model.result or "–", model.ours.result)
        changes = (model.updates or "–", updates, billions(counted))
        totals.append(
            (model.name, *results, *changes, model.energy or "–", joules(lines[0].steps.joules()), bits, stored)
        )
        energies += [(f"{model.name}, {line.method}", *_energies(line)) for line in lines]
        models.append(
            {"model": model.name, "paper": published, "ours": ours, "lines": [line.as_dict() for line in lines]}
        )
    columns = ("updates, paper", "formula", "ours", "energy, paper", "formula", "bits, 1.58 each", "stored, 2 each")
    grid(("", f"{table.metric}, paper", "ours", *columns), totals)
    grid(("", *ENERGIES), energies)
    return {
        "title": table.title,
        "steps": table.steps,
        "tokens": table.tokens,
        "same_size": table.same_size,
        "models": models,
    }


def _sizes(line: Line) -> tuple[str, str, str]:
    return billions(line.updates), _megabits(line.bits), _megabits(line.stored_bits)


def _energies(line: Line) -> list[str]:
    return [joules(part.joules(process)) for part in (line.steps, line.passes) for process in ("7nm", "45nm")]


def billions(count: int) -> str:
    """``count`` in billions (B), as the paper prints updates, in millions (M) or, if smaller, as it is."""
    for size, unit in ((1e9, " B"), (1e6, " M")):
        if count >= size:
            return f"{count / size:.2f}{unit}"
    return str(count)


def joules(energy: float) -> str:
    """``energy`` with two decimals, as the paper prints it, in J from 0.1 J on, else in the largest unit that fits."""
    size, prefix = next((size, prefix) for least, size, prefix in PREFIXES if energy >= least)
    return f"{energy / size:.2f} {prefix}J"


def _megabits(bits: float) -> str:
    return f"{bits / 1e6:.2f} Mbit" if bits >= 1e6 else f"{bits / 1e3:.2f} kbit"
