"""Samples from a file: ``.csv`` with the class in the last column, or ``.npz`` with arrays ``x`` and ``y``."""

from __future__ import annotations

import csv
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from popflip.errors import DataError
from popflip.files import reason
from popflip.golden.config import MAX_WIDTH

SUFFIXES = (".csv", ".npz")


class Samples(NamedTuple):
    """The content of a file."""

    values: NDArray  # [samples, features]
    classes: NDArray[np.int64] | None  # [samples], if the file has them
    image: tuple[int, int] | None  # height and width, if the file has images


def read(path: Path, features: int | None = None) -> Samples:
    """Read a ``.csv`` or ``.npz`` file.

    With ``features``, each sample must have that many values, and the classes may be missing. Raises
    :class:`DataError` that names the first faulty place.
    """
    try:
        samples = (_read_csv if path.suffix.lower() == ".csv" else _read_npz)(path, features)
    except OSError as error:
        raise DataError(f"{path}: {reason(error)}") from None
    if features is not None:
        check_features(path, samples.values.shape[1], features)
    return samples


def check_features(name: object, features: int, expected: int) -> None:
    """Raise :class:`DataError` if samples have the wrong number of values."""
    if features != expected:
        raise DataError(f"{name}: {features} values a sample, expected {expected}")


def _read_csv(path: Path, features: int | None) -> Samples:
    """Comma-separated numbers, a sample per line. A first line without any number is a header."""
    rows: list[NDArray[np.float64]] = []
    lines: list[int] = []  # line number of each row
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            for cells in _without_header(reader):
                row = _numbers(cells, f"{path}: line {reader.line_num}")
                if rows and len(row) != len(rows[0]):
                    raise DataError(f"{path}: line {reader.line_num}: {len(row)} columns, expected {len(rows[0])}")
                rows.append(row)
                lines.append(reader.line_num)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a text file of comma-separated values: {error}") from None
    if not rows:
        raise DataError(f"{path}: holds no samples")
    table = np.stack(rows)
    columns = table.shape[1]
    if columns == features:
        return Samples(table, None, None)
    if columns < 2:
        raise DataError(f"{path}: one column; expected values and, in the last column, the class")
    classes = _classes(table[:, -1], lambda index: f"{path}: line {lines[index]}, column {columns}")
    return Samples(table[:, :-1], classes, None)


def _without_header(lines: Iterable[list[str]]) -> Iterator[list[str]]:
    """The lines that are not empty, without the header."""
    first = True
    for cells in lines:
        if any(map(str.strip, cells)):
            if not first or any(_number(cell) is not None for cell in cells):
                yield cells
            first = False


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _numbers(cells: Sequence[str], where: str) -> NDArray[np.float64]:
    """The cells of a line as finite numbers. Raises :class:`DataError` that names the first faulty column."""
    try:
        row = np.array(list(map(float, cells)))
        if np.isfinite(row).all():
            return row
    except ValueError:
        pass
    for column, cell in enumerate(cells, 1):
        value = _number(cell)
        if value is None or not np.isfinite(value):
            kind = "a number" if value is None else "a finite number"
            raise DataError(f"{where}, column {column}: {cell.strip()!r} is not {kind}")
    raise AssertionError("a line of finite numbers was refused")


def _read_npz(path: Path, features: int | None) -> Samples:
    """``x`` [samples, …], flattened to [samples, features], and ``y`` [samples]. ``x`` of three axes holds images."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in ("x", "y") if name in archive}
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, KeyError, AttributeError, TypeError):
        raise DataError(f"{path}: not an .npz file of plain arrays (pickled objects are never loaded)") from None
    missing = [name for name in ("x", "y") if name not in arrays and (name == "x" or features is None)]
    if missing:
        raise DataError(f"{path}: must hold arrays x (values) and y (classes); {missing[0]} is missing")
    values, image = _values_of(path, arrays["x"])
    classes = _classes_of(path, arrays["y"], len(values)) if "y" in arrays else None
    return Samples(values, classes, image)


def _values_of(path: Path, x: NDArray) -> tuple[NDArray, tuple[int, int] | None]:
    """Values [samples, features] of an archive's ``x``, and the size of its images."""
    if x.ndim < 2 or 0 in x.shape:
        raise DataError(f"{path}: x has shape {x.shape}, expected [samples, values]")
    if x.dtype.kind not in "buif":
        raise DataError(f"{path}: x is of type {x.dtype}, expected numbers")
    values = x.reshape(len(x), -1)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        sample, feature = np.argwhere(~np.isfinite(values))[0]
        raise DataError(f"{path}: x[{sample}], value {feature}: {values[sample, feature]} is not a finite number")
    return values, x.shape[1:] if x.ndim == 3 else None


def _classes_of(path: Path, y: NDArray, samples: int) -> NDArray[np.int64]:
    """Classes of an archive's ``y``."""
    if y.shape != (samples,):
        raise DataError(f"{path}: y has shape {y.shape}, expected ({samples},), one class for each row of x")
    if y.dtype.kind not in "buif":
        raise DataError(f"{path}: y is of type {y.dtype}, expected whole numbers")
    return _classes(y, lambda index: f"{path}: y[{index}]")


def _classes(column: NDArray, where: Callable[[int], str]) -> NDArray[np.int64]:
    """``column`` [samples] as classes. Raises :class:`DataError`, after ``where(index)``, for the first bad one."""
    bad = ~((column >= 0) & (column < MAX_WIDTH) & (column == np.floor(column)))
    if bad.any():
        index = int(np.flatnonzero(bad)[0])
        shown = f"{column[index]:.15g}"
        raise DataError(f"{where(index)}: {shown} is not a class (a whole number from 0 to {MAX_WIDTH - 1})")
    return column.astype(np.int64)
