"""A loaded data set."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HASHED_ROWS = 4096
"""Samples that are hashed at a time."""


@dataclass(frozen=True)
class DataSet:
    """Training and test samples before encoding: numeric values [samples, features], and classes [samples]."""

    name: str
    train_values: NDArray
    train_classes: NDArray[np.int64]
    test_values: NDArray
    test_classes: NDArray[np.int64]
    image: tuple[int, int] | None = None  # height and width if the features are the pixels of an image
    label: str | None = None  # class column of a CSV file, as the user named it
    notes: tuple[str, ...] = ()  # what was noticed in the file, a line each, for the user

    @property
    def features(self) -> int:
        """Values per sample."""
        return self.train_values.shape[1]

    @property
    def classes(self) -> int:
        """Number of classes: the largest one plus 1."""
        return int(max(self.train_classes.max(initial=0), self.test_classes.max(initial=0))) + 1

    @property
    def sha256(self) -> str:
        """SHA-256 in hexadecimal over shapes, values and classes: training samples, then test samples, in their order.

        Equal numbers give the same hash, whatever their type in the file. The name does not count.
        """
        digest = hashlib.sha256()
        for array in (self.train_values, self.train_classes, self.test_values, self.test_classes):
            digest.update(f"{array.shape}\n".encode())
            for first in range(0, len(array), HASHED_ROWS):
                rows = _plain(array[first : first + HASHED_ROWS])
                digest.update(f"{rows.dtype.str}\n".encode())
                digest.update(rows.tobytes())
        return digest.hexdigest()


def _plain(rows: NDArray) -> NDArray:
    """``rows`` in the first of these types that holds their values exactly: uint8, int64, uint64, float64."""
    if rows.dtype.kind == "f":
        values = rows.astype("<f8")
        whole = bool((np.abs(values) < 2**53).all() and (values == np.floor(values)).all())
        if not whole:
            return values
        rows = values.astype("<i8")
    if rows.dtype == np.uint8 or (rows.size and rows.min() >= 0 and rows.max() < 256):
        return rows.astype(np.uint8)
    unsigned = rows.dtype.kind == "u" and rows.size and rows.max() >= 2**63
    return rows.astype("<u8" if unsigned else "<i8")
