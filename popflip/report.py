"""What a run came to: a JSON report for programs, a table and a plot for people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from popflip.devices.base import Status
from popflip.experiment import Experiment
from popflip.files import whole_file
from popflip.golden.config import AnyConfig, Augment, Rule
from popflip.replay import LinkSpeed, bounds, summary
from popflip.training import LBE_STEP, Run, StepResult, batch_name, step_batches


def build(
    experiment: Experiment,
    device: str,
    run: Run,
    status: Status,
    state_sha256: str,
    test_accuracy: float,
    link: LinkSpeed | None = None,
) -> dict[str, Any]:
    """The report. ``signature`` and ``rng`` are 8 hexadecimal digits; counts are since the run's beginning.

    ``history`` has an entry a step, of which ``verified_batches`` were compared with golden: a step is a batch, or, as
    under LBE a batch is one sample, up to 256 of them. ``link``: a board's, for what bounds the run.
    """
    config = experiment.config
    report = {
        "test_accuracy": test_accuracy,
        "state_sha256": state_sha256,
        "signature": f"{status.signature:08x}",
        "rng": f"{status.rng:08x}",
        "flips": list(status.flips),
        "errors": status.errors,
        "batches": status.batches,
        "samples": status.samples,
        "wall_seconds": run.seconds,
        "verified_batches": run.verified,
        "device": device,
        "replayed": run.replayed,
        "dataset": {
            "name": experiment.dataset,
            "train_samples": len(experiment.y_train),
            "test_samples": len(experiment.y_test),
            "thresholds": experiment.thresholds.tolist(),
            "test_split": experiment.test_split,
            "augment": experiment.augment,
        },
        "config": asdict(config) | {"precision": config.precision.value, "batch": config.batch},
        "history": [asdict(result) for result in run.history],
    }
    if run.cycles is not None:
        report["cycles"] = run.cycles
        report["cycles_per_sample"] = run.cycles["total"] / run.samples
        if link is not None:
            report["board"] = bounds(link, run.cycles, run.samples, run.replayed)
    return report


def write(path: Path, report: dict[str, Any]) -> None:
    """Write the report, whole or not at all."""
    with whole_file(path) as file:
        file.write(json.dumps(report, indent=1, ensure_ascii=False).encode() + b"\n")


def rows(report: dict[str, Any]) -> list[tuple[str, str]]:
    """Names and values of the table shown at the end of a run."""
    lbe = report["config"]["rule"] == Rule.LBE
    table = [
        ("test accuracy", f"{report['test_accuracy']:.2%}"),
        *([] if lbe else [("batches", f"{report['batches']} of {report['config']['batch']} samples")]),
        ("samples that taught", f"{report['errors']} of {report['samples']}"),
        ("weights flipped", " + ".join(map(str, report["flips"])) + " (a layer)"),
        ("signature", report["signature"]),
        ("random state", report["rng"]),
        ("state SHA-256", report["state_sha256"]),
    ]
    if cycles := report.get("cycles"):
        table.append(("cycles a sample", f"{report['cycles_per_sample']:.1f}"))
        table += [
            (f"  {name.replace('_', ' ')}", f"{count} ({count / cycles['total']:.1%})")
            for name, count in cycles.items()
            if name != "total"
        ]
        table.insert(-len(cycles), ("cycles", str(cycles["total"])))
    if report["dataset"]["augment"] == Augment.SHIFT:
        table.append(("training images", "moved by 0 or 1 pixel at random, anew each epoch"))
    if board := report.get("board"):
        table.append(("board", summary(board)))
    if report["replayed"]:
        table.append(("training samples", "sent once, then their numbers"))
    if report["verified_batches"]:
        each = f"steps of {LBE_STEP} samples" if lbe else "batches"
        table.append(("equal to golden", f"every bit after each of {report['verified_batches']} {each}"))
    return [*table, ("seconds of training", f"{report['wall_seconds']:.1f}")]


def plot(path: Path, history: Sequence[StepResult], config: AnyConfig, test_accuracy: float) -> None:
    """Accuracy, samples that taught and weights flipped, step by step, as a PNG."""
    from matplotlib.figure import Figure

    batches = [result.batch for result in history]
    figure = Figure(figsize=(8, 8), layout="constrained")
    accuracy, errors, flips = figure.subplots(3, sharex=True)
    accuracy.plot(batches, [100 * result.accuracy for result in history], label="training, before learning")
    accuracy.axhline(
        100 * test_accuracy, color="tab:green", linestyle="--", label=f"test, at the end: {test_accuracy:.2%}"
    )
    accuracy.set_ylabel("accuracy (%)")
    accuracy.legend(loc="lower right")
    errors.plot(batches, [result.errors for result in history], color="tab:red")
    errors.set_ylabel(f"samples that taught, of {config.batch * step_batches(config)}")
    for layer in range(config.depth):
        flips.plot(batches, [result.flips[layer] for result in history], label=f"layer {layer}")
    flips.set_ylabel("weights flipped")
    flips.set_xlabel(batch_name(config))
    flips.legend()
    name = "-".join(map(str, config.layers))
    figure.suptitle(f"{name} {config.precision.value}, {config.rule.value}, seed {config.seed}")
    with whole_file(path) as file:
        figure.savefig(file, format="png", dpi=120)
