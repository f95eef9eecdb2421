"""Comparison with the golden model: bit for bit, and the first difference by its place."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from popflip.devices.base import Device, Status
from popflip.errors import Difference
from popflip.golden.memory.weights import first_difference

COUNTS = tuple(field.name for field in fields(Status) if field.name != "cycles")
"""Fields of :class:`Status` that must be equal on every device."""
HEXADECIMAL = ("signature", "rng")


def compare(device: Device, golden: Device, status: Status, unit: str = "batch") -> None:
    """Raise :class:`Difference` unless ``device`` equals ``golden`` in every weight, counter and count.

    ``status`` is the device's, read before its state: reading the state takes cycles. ``unit`` is what the message
    calls a batch (:func:`popflip.steps.batch_name`).
    """
    expected = golden.status()
    where = f"{unit} {expected.batches}"
    place = first_difference(device.state(), golden.state())
    if place is not None:
        raise Difference(f"{where}: {place}")
    for name in COUNTS:
        mine, theirs = getattr(status, name), getattr(expected, name)
        if mine != theirs:
            if name in HEXADECIMAL:
                mine, theirs = f"{mine:08x}", f"{theirs:08x}"
            raise Difference(f"{where}: {name} is {mine}, golden has {theirs}; weights and counters are equal")


def same_predictions(predictions: NDArray[np.integer], golden: NDArray[np.integer]) -> None:
    """Raise :class:`Difference` unless both predict the same classes ``[samples]``."""
    different = np.flatnonzero(predictions != golden)
    if different.size:
        sample = int(different[0])
        raise Difference(f"test sample {sample}: predicted {predictions[sample]}, golden predicts {golden[sample]}")
