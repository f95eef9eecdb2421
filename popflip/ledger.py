"""The ledger of a run: its updates, bits and energy as AdamW, GFT and the chip account for the same steps.

::

    report (JSON) or network (.npz) ─▶ read ─▶ Counts ─▶ ledger ─▶ one Line for each way to train the network
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from popflip import checkpoint as checkpoints
from popflip.accounting import (
    CHIP_STEP,
    GFT_INT8,
    GFT_PAPER,
    INT8_PASSES,
    PICOJOULES,
    TERNARY_PASSES,
    Account,
    Operations,
    chip_passes,
)
from popflip.errors import ConfigError, FileError
from popflip.files import open_input, read_input
from popflip.golden.config import AnyConfig, Config, Precision, Rule
from popflip.golden.network import check_integer, check_length, check_within

MAX_REPORT = 2**28
"""Bytes of the longest report: that of a run of a million batches."""
MAX_COUNT = 2**63 - 1
ZIP = b"PK"
"""First bytes of a saved network."""


@dataclass(frozen=True)
class Counts:
    """What a chip, or the golden model, counted since its reset; ``flips`` in each layer of ``config``."""

    config: Config
    samples: int
    batches: int
    errors: int  # samples that triggered an update
    flips: tuple[int, ...]

    def __post_init__(self) -> None:
        for name in ("samples", "batches", "errors"):
            _check_count(name, getattr(self, name))
        check_length("flips", self.flips, self.config.depth, "layer")
        for index, flips in enumerate(self.flips):
            _check_count(f"flips[{index}]", flips)
        if self.errors > self.samples:
            raise ConfigError(f"errors: {self.errors} samples with an update are more than all {self.samples}")
        if not self.batches:
            raise ConfigError("batches: 0, nothing was trained")

    @property
    def account(self) -> Account:
        """The run, all of whose weights are ternary or binary."""
        config = self.config
        weights = sum(layer.rows * layer.synapses for layer in config.plan)
        uses = sum(layer.positions * layer.rows * layer.synapses for layer in config.plan)
        binary = config.precision == Precision.BINARY
        return Account(
            float_parameters=0,
            ternary_weights=0 if binary else weights,
            steps=self.batches,
            flips=sum(self.flips),
            tokens=self.samples,
            binary_weights=weights if binary else 0,
            quantised_reuses=uses - weights,
        )


@dataclass(frozen=True)
class Line:
    """A way to train a network: updates, size in bits (the paper's and as stored), and operations."""

    method: str
    updates: int
    bits: float
    stored_bits: int
    steps: Operations
    passes: Operations

    def as_dict(self) -> dict[str, Any]:
        """For JSON: operations by name, and joules in each process."""
        parts = {"steps": self.steps, "passes": self.passes}
        return {
            "method": self.method,
            "updates": self.updates,
            "bits": self.bits,
            "stored_bits": self.stored_bits,
            **{
                name: {"operations": asdict(part), "joules": {process: part.joules(process) for process in PICOJOULES}}
                for name, part in parts.items()
            },
        }


def lines(run: Account) -> list[Line]:
    """AdamW with every weight a float; then, if there are ternary or binary weights, GFT as the paper counts it, with
    real sums and float passes, and GFT in INT8. Parameters that are floats learn by AdamW in all of them.
    """
    floats = run.in_floats()
    found = [_line("AdamW, FP32", floats, floats.step_operations(), floats.pass_operations())]
    if run.quantised_weights:
        paper = run.step_operations(GFT_PAPER), run.pass_operations(TERNARY_PASSES)
        int8 = run.step_operations(GFT_INT8), run.pass_operations(INT8_PASSES)
        found += [_line("GFT, FP32 as in the paper", run, *paper), _line("GFT, INT8", run, *int8)]
    return found


def ledger(counts: Counts) -> list[Line]:
    """The :func:`lines` of a run, which follow from its batches and samples, and the chip's, from its own counters."""
    run, config = counts.account, counts.config
    chip = run.step_operations(CHIP_STEP), chip_passes(config, counts.samples, counts.errors)
    return [*lines(run), _line("chip, its own counters", run, *chip)]


def _line(method: str, run: Account, steps: Operations, passes: Operations) -> Line:
    return Line(method, run.updates, run.bits, run.stored_bits, steps, passes)


# Reading --------------------------------------------------------------------------------------------------------------


def read(path: Path) -> Counts:
    """The counts in ``path``, a report or a network that ``popflip train`` wrote.

    Raises :class:`FileError` if the file holds anything else, and :class:`ConfigError` for a run of rule lbe or without
    a batch.
    """
    with open_input(path) as file:
        is_network = file.read(len(ZIP)) == ZIP
    if is_network:
        saved = checkpoints.load(path)
        status = saved.status
        return _counts(path, saved.config, status.samples, status.batches, status.errors, status.flips)
    report = _json(path)
    try:
        config = _config(report["config"])
        counts = [report[name] for name in ("samples", "batches", "errors", "flips")]
    except (KeyError, TypeError, ValueError):
        raise FileError(f"{path}: not a report or a network of popflip train") from None
    return _counts(path, config, *counts)


def _counts(path: Path, config: AnyConfig, samples: Any, batches: Any, errors: Any, flips: Any) -> Counts:
    if not isinstance(config, Config):
        raise ConfigError(f"{path}: its rule is {config.rule}; accounts are of rule {Rule.GFT}")
    if not isinstance(flips, Sequence):
        raise FileError(f"{path}: flips: {flips!r} is not a list of counts")
    try:
        return Counts(config, samples, batches, errors, tuple(flips))
    except ConfigError as error:
        raise FileError(f"{path}: {error}") from None


def _config(values: dict[str, Any]) -> Any:
    """The configuration in a report. :class:`ValueError` or :class:`TypeError` if it is none."""
    if values["rule"] == Rule.LBE:
        return _Other(Rule.LBE)
    names = {each.name for each in fields(Config)}
    try:
        return Config(**{name: value for name, value in values.items() if name in names})
    except ConfigError as error:
        raise ValueError(str(error)) from None


@dataclass(frozen=True)
class _Other:
    """A configuration of another rule, of which only that is of interest."""

    rule: Rule


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(read_input(path, MAX_REPORT, "a report"))
    except (ValueError, RecursionError):
        raise FileError(f"{path}: neither a network saved by popflip train nor JSON") from None
    if not isinstance(value, dict):
        raise FileError(f"{path}: not a report or a network of popflip train")
    return value


def _check_count(name: str, value: object) -> None:
    check_integer(name, value)
    assert isinstance(value, int)
    check_within(name, value, 0, MAX_COUNT)
