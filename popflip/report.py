"""Results of a run: a JSON report for programs, a table and a plot for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from popflip.devices.base import LinkSpeed, Status
from popflip.errors import ConfigError, FileError
from popflip.experiment import Experiment
from popflip.files import whole_file
from popflip.golden.config import AnyConfig, Rule
from popflip.golden.presets import Augment
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
    """The report as a dictionary. ``signature`` and ``rng`` are 8 hexadecimal digits; counts start with the full run.

    ``history`` has one entry per step (GFT: a batch; LBE: up to 256 samples); ``verified_batches`` is how many of them
    were compared with golden, ``repairs`` how often the chip was lost and got its state back. A threshold that no value
    reaches is null. ``link`` is the speed of a board's link; the report then has :func:`bounds`.
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
        "repairs": run.repairs,
        "device": device,
        "replayed": run.replayed,
        "dataset": {
            "name": experiment.dataset,
            "train_samples": len(experiment.y_train),
            "test_samples": len(experiment.y_test),
            "thresholds": _finite(experiment.thresholds.tolist()),
            "sha256": experiment.data_sha256,
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
    """Write the report, whole or not at all. Bytes of a name that are not UTF-8 become JSON escapes."""
    text = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False)
    with whole_file(path) as file:
        file.write(text.encode(errors="backslashreplace") + b"\n")


def _finite(values: Any) -> Any:
    """Nested lists with None for each infinite number, which JSON does not have."""
    if isinstance(values, list):
        return [_finite(value) for value in values]
    return values if np.isfinite(values) else None


def rows(report: dict[str, Any]) -> list[tuple[str, str]]:
    """Names and values for the table at the end of a run."""
    lbe = report["config"]["rule"] == Rule.LBE
    table = [
        ("test accuracy", f"{report['test_accuracy']:.2%}"),
        *([] if lbe else [("batches", f"{report['batches']} of {report['config']['batch']} samples")]),
        ("samples with an update", f"{report['errors']} of {report['samples']}"),
        ("weights flipped", " + ".join(map(str, report["flips"])) + " (per layer)"),
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
        table.append(("training images", "moved by 0 or 1 pixel at random, anew in each epoch"))
    if board := report.get("board"):
        table.append(("board", summary(board)))
    if report["replayed"]:
        table.append(("training samples", "sent once, then only their numbers"))
    if report["repairs"]:
        table.append(("chip lost and repaired", f"{report['repairs']} times" if report["repairs"] > 1 else "once"))
    if report["verified_batches"]:
        each = f"steps of {LBE_STEP} samples" if lbe else "batches"
        table.append(("equal to golden", f"every bit after each of {report['verified_batches']} {each}"))
    return [*table, ("seconds of training", f"{report['wall_seconds']:.1f}")]


def busy_cycles(cycles: Mapping[str, int]) -> int:
    """Cycles in which the chip worked, rather than waited for its link."""
    forward = cycles["forward_busy"] + cycles["forward_stall"]
    learn = cycles["learn_busy"] + cycles["learn_stall"]
    return max(forward, learn) + cycles["select"] + cycles["flip"]


def bounds(link: LinkSpeed, cycles: Mapping[str, int], samples: int, replayed: bool) -> dict[str, Any]:
    """The bounds on the speed of a run of ``samples`` on a board, in samples per second.

    ``samples_per_second`` is what the run reached; ``chip_…`` what the chip reaches if it never waits for the link;
    ``link_…`` the most that the link carries, as samples or as numbers of stored ones (None: the chip has no store).
    """
    number_bytes = link.number_bytes
    return {
        "clock_hz": link.clock_hz,
        "baud": link.baud,
        "replayed": replayed,
        "bytes_per_sample": link.sample_bytes,
        "bytes_per_sample_replayed": number_bytes,
        "samples_per_second": link.clock_hz * samples / cycles["total"],
        "chip_samples_per_second": link.clock_hz * samples / busy_cycles(cycles),
        "link_samples_per_second": link.samples_per_second(link.sample_bytes),
        "link_samples_per_second_replayed": None if number_bytes is None else link.samples_per_second(number_bytes),
    }


def summary(bounds: Mapping[str, Any]) -> str:
    """:func:`bounds` in one line."""
    sent, replayed = bounds["link_samples_per_second"], bounds["link_samples_per_second_replayed"]
    chip = bounds["chip_samples_per_second"]

    def limit(link: float) -> str:
        return "link-bound" if link < chip else "chip-bound"

    reached = f"at {bounds['samples_per_second']:,.0f} samples/s"
    if bounds["replayed"]:
        return f"{limit(replayed)} {reached} with replay, without it {limit(sent)} at up to {min(sent, chip):,.0f}"
    more = "" if replayed is None else f", with replay {limit(replayed)} at up to {min(replayed, chip):,.0f}"
    return f"{limit(sent)} {reached}{more}"


def check_plotting() -> None:
    """Raise :class:`ConfigError` unless matplotlib starts; its own settings may keep it from that."""
    try:
        import matplotlib.figure  # noqa: F401
    except Exception as error:  # whatever a bad setting makes it raise
        raise ConfigError(f"plot: matplotlib does not start: {error}") from None


def plot(path: Path, history: Sequence[StepResult], config: AnyConfig, test_accuracy: float) -> None:
    """Plot accuracy, samples that triggered an update, and weights flipped, step by step, as a PNG.

    Raises :class:`FileError` if the file cannot be written or matplotlib fails.
    """
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
    errors.set_ylabel(f"updates, of {config.batch * step_batches(config)} samples")
    for layer in range(config.depth):
        flips.plot(batches, [result.flips[layer] for result in history], label=f"layer {layer}")
    flips.set_ylabel("weights flipped")
    flips.set_xlabel(batch_name(config))
    flips.legend()
    name = "-".join(map(str, config.layers))
    figure.suptitle(f"{name} {config.precision.value}, {config.rule.value}, seed {config.seed}")
    with whole_file(path) as file:
        try:
            figure.savefig(file, format="png", dpi=120)
        except OSError:
            raise
        except Exception as error:  # fonts, settings: nothing that is wrong with the run
            raise FileError(f"{path}: matplotlib cannot draw the plot: {error}") from None
