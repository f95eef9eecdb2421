"""Samples from a file: ``.csv`` with one column of classes, or ``.npz`` with arrays ``x`` and ``y``."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from popflip.data.columns import Table, class_column, has_index, is_numbered_header, seems_index
from popflip.errors import DataError, FileError
from popflip.files import open_input, reason
from popflip.golden.config import MAX_WIDTH
from popflip.limits import check_memory
from popflip.npz import NpzError, NpzFile

SUFFIXES = (".csv", ".npz")
SHOWN = 40  # characters of a cell that a message quotes
CHECKED_ROWS = 1024  # rows of a CSV file after which the memory that they take is checked


class Samples(NamedTuple):
    """The content of a file."""

    values: NDArray  # [samples, features]
    classes: NDArray[np.int64] | None  # [samples], if the file has them
    image: tuple[int, int] | None  # height and width, if the file has images
    notes: tuple[str, ...] = ()  # what was noticed, a line each


def read(path: Path, features: int | None = None, label: str | None = None) -> Samples:
    """Read a ``.csv`` or ``.npz`` file.

    With ``features``, each sample must have that many values, and the classes may be missing. ``label`` is the class
    column of a CSV file: a name of its header, or a position from 1, or from the end as −1; by default the last.
    Raises :class:`DataError` that names the first faulty place.
    """
    try:
        samples = _read_csv(path, features, label) if path.suffix.lower() == ".csv" else _read_npz(path, features)
    except FileError as error:
        raise DataError(str(error)) from None
    except OSError as error:
        raise DataError(f"{path}: {reason(error)}") from None
    if features is not None:
        check_features(path, samples.values.shape[1], features)
    return samples


def check_features(name: object, features: int, expected: int) -> None:
    """Raise :class:`DataError` if samples have the wrong number of values."""
    if features != expected:
        raise DataError(f"{name}: {features} values a sample, expected {expected}")


# CSV ------------------------------------------------------------------------------------------------------------------


def _read_csv(path: Path, features: int | None, label: str | None) -> Samples:
    """Comma-separated numbers, a sample per line, after a header or none."""
    table = _table(path)
    notes = list(table.notes)
    kept = np.ones(table.columns, bool)
    if has_index(table, label):
        kept[0] = False
        notes.append(f"{path}: column 1 is an index that counts the lines, so it is left out")
    elif seems_index(table, label):
        notes.append(f"{path}: column 1 counts the lines, and is learned all the same; if it is an index, remove it")
    if kept.sum() == features:
        return Samples(table.values[:, kept], None, None, tuple(notes))
    if kept.sum() < 2:
        raise DataError(f"{path}: one column; expected values and, in the last column, the class")
    column = class_column(table, label, check=features is None)
    kept[column] = False
    classes = _classes(
        table.values[:, column], lambda sample: f"{path}: line {table.lines[sample]}, column {column + 1}"
    )
    return Samples(table.values[:, kept], classes, None, tuple(notes))


def _table(path: Path) -> Table:
    """The numbers of a CSV file. Raises :class:`DataError` that names the first faulty place."""
    header: tuple[str, ...] = ()
    rows: list[NDArray[np.float64]] = []
    lines: list[int] = []
    notes: list[str] = []
    for number, cells in _lines(path):
        if not rows and not header and all(_number(cell) is None for cell in cells):
            header = tuple(cell.strip() for cell in cells)
            continue
        row = _numbers(cells, f"{path}: line {number}")
        if rows and len(row) != len(rows[0]):
            raise DataError(f"{path}: line {number}: {len(row)} columns, expected {len(rows[0])}")
        rows.append(row)
        lines.append(number)
        if len(rows) % CHECKED_ROWS == 0:  # the rows, and later the table
            check_memory(f"{path}: {len(rows)} lines of {len(row)} numbers", 2 * len(rows) * row.nbytes)
    if len(rows) > 1 and not header and is_numbered_header(rows[0]):
        notes.append(f"{path}: line {lines[0]} counts the columns from 0, so it is taken for a header")
        del rows[0], lines[0]
    if not rows:
        raise DataError(f"{path}: holds no samples")
    return Table(path, header, lines, np.stack(rows), tuple(notes))


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Number and cells of each line that is not empty."""
    with open_input(path) as file:
        check_memory(f"{path}: text of this size", os.fstat(file.fileno()).st_size)  # it may be a single line
        try:
            with io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:
                reader = csv.reader(text)
                for cells in reader:
                    if any(map(str.strip, cells)):
                        yield reader.line_num, cells
        except (UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"{path}: not a text file of comma-separated values: {error}") from None


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
            raise DataError(f"{where}, column {column}: {cell.strip()[:SHOWN]!r} is not {kind}")
    raise AssertionError("a line of finite numbers was refused")


# NPZ ------------------------------------------------------------------------------------------------------------------


def _read_npz(path: Path, features: int | None) -> Samples:
    """``x`` [samples, …], flattened to [samples, features], and ``y`` [samples]. ``x`` of three axes holds images."""
    try:
        with NpzFile(path) as archive:
            missing = [name for name in ("x", "y") if name not in archive.names and (name == "x" or features is None)]
            if missing:
                raise DataError(f"{path}: must hold arrays x (values) and y (classes); {missing[0]} is missing")
            arrays = {name: _read_array(path, archive, name) for name in ("x", "y") if name in archive.names}
    except NpzError as error:
        raise DataError(f"{path}: not an .npz file of plain arrays: {error}") from None
    values, image = _values_of(path, arrays["x"])
    classes = _classes_of(path, arrays["y"], len(values)) if "y" in arrays else None
    return Samples(values, classes, image)


def _read_array(path: Path, archive: NpzFile, name: str) -> NDArray:
    size = archive.header(name).size
    check_memory(f"{path}: array {name}", 2 * size)
    return archive.read(name, size)


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
    if column.dtype.kind == "f":
        column = column.astype(np.float64)  # smaller types cannot hold the largest class
    bad = ~((column >= 0) & (column < MAX_WIDTH) & (column == np.floor(column)))
    if bad.any():
        index = int(np.flatnonzero(bad)[0])
        shown = f"{column[index]:.15g}"
        raise DataError(f"{where(index)}: {shown} is not a class (a whole number from 0 to {MAX_WIDTH - 1})")
    return column.astype(np.int64)
