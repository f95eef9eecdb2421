"""Results of a run: a JSON report for programs, a table and a plot for people."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from popflip.devices.base import LinkSpeed, Status
from popflip.errors import ConfigError, FileError
from popflip.experiment import Experiment
from popflip.files import whole_file
from popflip.golden.config import AnyConfig, Rule
from popflip.golden.presets import Augment
from popflip.history import Run, StepResult
from popflip.kernels import kernel_layers, picture
from popflip.scores import Scores, never_predicted, score
from popflip.steps import LBE_STEP, batch_name, step_batches

PLOT_SUFFIXES = (".png", ".svg", ".pdf")
"""Endings of a plot's file, which name its format."""
NUMBERED_CLASSES = 20  # classes up to which the plotted confusion matrix shows its numbers


def build(
    experiment: Experiment,
    device: str,
    run: Run,
    status: Status,
    state_sha256: str,
    test_accuracy: float,
    link: LinkSpeed | None = None,
    predictions: NDArray[np.integer] | None = None,
) -> dict[str, Any]:
    """The report as a dictionary. ``signature`` and ``rng`` are 8 hexadecimal digits; counts start with the full run.

    ``history`` has one entry per step (GFT: a batch; LBE: up to 256 samples); ``verified_batches`` is how many of them
    were compared with golden, ``repairs`` how often the chip was lost and got its state back. With ``predictions`` of
    the test samples, the report has :func:`by_class`. ``link`` is the speed of a board's link; the report then has
    :func:`bounds`.
    """
    config = experiment.config
    report = {
        "test_accuracy": test_accuracy,
        **({} if predictions is None else by_class(score(predictions, experiment.y_test, config.classes))),
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
            "thresholds": experiment.thresholds.tolist(),
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


def by_class(scores: Scores) -> dict[str, Any]:
    """What the report says about each class.

    ``recall`` [classes], null for a class without test samples; ``confusion`` [class][predicted class], null if there
    are too many classes.
    """
    return {
        "balanced_accuracy": scores.balanced_accuracy,
        "recall": scores.recall,
        "never_predicted": scores.never_predicted,
        "confusion": None if scores.confusion is None else scores.confusion.tolist(),
    }


def write(path: Path, report: dict[str, Any]) -> None:
    """Write the report as JSON, whole or not at all.

    JSON has no infinity, as thresholds of a constant value have: it is written as null. Bytes of a file name that are
    no UTF-8 are written as escapes.
    """
    text = json.dumps(_finite(report), indent=1, ensure_ascii=False, allow_nan=False)
    with whole_file(path) as file:
        file.write(text.encode("utf-8", "backslashreplace") + b"\n")


def _finite(value: Any) -> Any:
    """``value`` with None for every number that is not finite."""
    if isinstance(value, Mapping):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def rows(report: dict[str, Any]) -> list[tuple[str, str]]:
    """Names and values for the table at the end of a run."""
    lbe = report["config"]["rule"] == Rule.LBE
    table = [
        ("test accuracy", f"{report['test_accuracy']:.2%}"),
        *_class_rows(report),
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
        table.append(("training samples", "sent once, then taken from the store"))
    if report["repairs"]:
        table.append(("chip lost and repaired", f"{report['repairs']} times" if report["repairs"] > 1 else "once"))
    if report["verified_batches"]:
        each = f"steps of {LBE_STEP} samples" if lbe else "batches"
        table.append(("equal to golden", f"every bit after each of {report['verified_batches']} {each}"))
    return [*table, ("seconds of training", f"{report['wall_seconds']:.1f}")]


def _class_rows(report: dict[str, Any]) -> list[tuple[str, str]]:
    if "recall" not in report:
        return []
    tested = sum(share is not None for share in report["recall"])
    table = [("balanced accuracy", f"{report['balanced_accuracy']:.2%} (mean recall of {tested} classes)")]
    if never := report["never_predicted"]:
        table.append(("never predicted", never_predicted(never)))
    return table


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


# Plot -----------------------------------------------------------------------------------------------------------------


def check_plot(path: Path | None) -> None:
    """Raise :class:`ConfigError` unless a plot can be drawn into the file ``path`` after the run."""
    if path is None:
        return
    _plot_format(path)
    try:
        import matplotlib.figure  # noqa: F401
    except Exception as error:  # whatever a bad setting, in the environment or in a file, makes it raise
        raise ConfigError(
            f"plot: matplotlib does not start: {error}; correct its settings, such as MPLBACKEND"
        ) from None


def _plot_format(path: Path) -> str:
    """The format that the suffix of ``path`` names; PNG for a device or a pipe, which has no suffix."""
    if path.suffix.lower() in PLOT_SUFFIXES:
        return path.suffix[1:].lower()
    if path.exists() and not path.is_file():
        return "png"
    raise ConfigError(f"plot: {path} does not end in {', '.join(PLOT_SUFFIXES)}, which say the format")


def plot(
    path: Path,
    history: Sequence[StepResult],
    config: AnyConfig,
    test_accuracy: float,
    scores: Scores | None = None,
    weights: Sequence[NDArray[np.int8]] | None = None,
) -> None:
    """Plot accuracy, samples that triggered an update, and weights flipped, step by step; with ``scores``, each class;
    with ``weights``, those of each layer ``[R, S]``, the kernels of convolutional layers.

    The suffix of ``path`` says the format: one of :data:`PLOT_SUFFIXES`. Raises :class:`FileError` if the file cannot
    be written or matplotlib fails.
    """
    from matplotlib.figure import Figure

    check_plot(path)
    kernels = [] if weights is None else kernel_layers(config.plan)
    columns = 1 + (scores is not None) + bool(kernels)
    figure = Figure(figsize=(2 + 6 * columns, 8), layout="constrained")
    grid = figure.add_gridspec(3, columns)
    _plot_steps(figure, grid, history, config, test_accuracy)
    if scores is not None:
        _plot_classes(figure, grid, scores)
    if weights is not None and kernels:
        _plot_kernels(figure, grid[:, -1].subgridspec(len(kernels), 1), kernels, weights, config)
    name = "-".join(map(str, config.layers))
    figure.suptitle(f"{name} {config.precision.value}, {config.rule.value}, seed {config.seed}")
    with whole_file(path) as file:
        try:
            figure.savefig(file, format=_plot_format(path), dpi=120)
        except OSError:
            raise
        except Exception as error:  # fonts, settings: nothing that is wrong with the run
            raise FileError(f"{path}: matplotlib cannot draw the plot: {error}") from None


def _plot_steps(figure: Any, grid: Any, history: Sequence[StepResult], config: AnyConfig, test_accuracy: float) -> None:
    """Three plots below one another, over the batches of the run."""
    batches = [result.batch for result in history]
    accuracy = figure.add_subplot(grid[0, 0])
    errors, flips = (figure.add_subplot(grid[row, 0], sharex=accuracy) for row in (1, 2))
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


def _plot_kernels(
    figure: Any, grid: Any, layers: Sequence[int], weights: Sequence[NDArray[np.int8]], config: AnyConfig
) -> None:
    """The kernels of each of ``layers``, below one another."""
    for place, index in enumerate(layers):
        layer = config.plan[index]
        axes = figure.add_subplot(grid[place, 0])
        axes.imshow(picture(weights[index], layer), cmap="bwr", vmin=-1, vmax=1, interpolation="nearest")
        across = f", {layer.inputs.channels} channels across" if layer.inputs.channels > 1 else ""
        axes.set_title(f"layer {index}, {config.layers[index + 1]}{across}: red +1, blue −1, white 0", fontsize=9)
        axes.set_facecolor("lightgrey")
        axes.set_xticks([])
        axes.set_yticks([])


def _plot_classes(figure: Any, grid: Any, scores: Scores) -> None:
    """Recall of each class, and the confusion matrix if there is one."""
    recall = figure.add_subplot(grid[0 if scores.confusion is not None else slice(None), 1])
    recall.bar(range(len(scores.recall)), [100 * (share or 0) for share in scores.recall], color="tab:green")
    recall.axhline(
        100 * scores.balanced_accuracy, color="black", linestyle="--", label=f"mean: {scores.balanced_accuracy:.2%}"
    )
    recall.set_ylabel("recall in the test (%)")
    recall.set_xlabel("class")
    recall.set_ylim(0, 100)
    recall.legend(loc="lower right")
    if scores.confusion is None:
        return
    matrix = figure.add_subplot(grid[1:, 1])
    matrix.imshow(scores.confusion, cmap="Greens", aspect="auto")
    matrix.set_xlabel("predicted class")
    matrix.set_ylabel("class")
    if len(scores.confusion) <= NUMBERED_CLASSES:
        half = scores.confusion.max() / 2
        for (row, column), count in np.ndenumerate(scores.confusion):
            color = "white" if count > half else "black"
            matrix.text(column, row, str(count), ha="center", va="center", color=color, fontsize=8)
