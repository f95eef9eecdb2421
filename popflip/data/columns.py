"""Which column of a table holds the classes, which only counts lines, and whether the first line is a header."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from popflip.errors import DataError

CLASS_NAMES = frozenset({"class", "classes", "label", "labels", "target"})
"""Names that say in a header which column holds the classes, in lower case."""
INDEX_NAMES = frozenset({"", "id", "index", "row", "unnamed: 0"})
"""Names of a column that counts lines, in lower case; the empty one and the last are those of pandas."""
COUNTED = 8  # lines from which a column that counts them is worth a note, whatever its name
NUMBERED = 4  # columns from which a line 0,1,2,… is a header
MOST_CLASSES = 256  # a column of more different numbers is not taken for classes


@dataclass(frozen=True)
class Table:
    """The numbers of a CSV file."""

    path: Path
    header: tuple[str, ...]  # empty if there is none
    lines: Sequence[int]  # line number of each row
    values: NDArray[np.float64]  # [rows, columns]
    notes: tuple[str, ...] = ()

    @property
    def columns(self) -> int:
        """Number of columns."""
        return self.values.shape[1]

    def name(self, column: int) -> str:
        """Name of a column in lower case; empty if it has none."""
        return self.header[column].lower() if column < len(self.header) else ""


def is_numbered_header(row: NDArray[np.float64]) -> bool:
    """Whether a first line only numbers its columns, 0, 1, 2, …, as pandas writes it for an array."""
    return len(row) >= NUMBERED and np.array_equal(row, np.arange(len(row)))


def has_index(table: Table, label: str | None) -> bool:
    """Whether the first column counts the lines, as pandas writes it, and has the name of an index or none."""
    return bool(table.header) and table.name(0) in INDEX_NAMES and _counts(table, label)


def seems_index(table: Table, label: str | None) -> bool:
    """Whether the first column counts many lines but has no name, or one that says nothing of an index."""
    return len(table.values) >= COUNTED and not has_index(table, label) and _counts(table, label)


def _counts(table: Table, label: str | None) -> bool:
    """Whether the first column counts the lines from 0 or 1, and is neither the classes nor the only value."""
    if table.columns < 3 or (label is not None and _position(table, label) == 0):
        return False
    first = table.values[0, 0]
    return first in (0, 1) and np.array_equal(table.values[:, 0], first + np.arange(len(table.values)))


def class_column(table: Table, label: str | None, check: bool) -> int:
    """The column ``label``, or the last. With ``check``, :class:`DataError` if another one looks more like classes."""
    if label is not None:
        column = _position(table, label)
        if column is None:
            raise DataError(f"label: {table.path} has no column {label!r}; {_choices(table)}")
        return column
    last = table.columns - 1
    if check and table.name(last) not in CLASS_NAMES:
        named = [column for column in range(last) if table.name(column) in CLASS_NAMES]
        if named:
            name = table.header[named[0]]
            raise DataError(
                f"label: column {named[0] + 1} of {table.path} is called {name!r}, and classes are read from the last "
                f"one; give label {name} or {table.columns}"
            )
        if _holds_classes(table.values[:, 0]) and not _holds_classes(table.values[:, last]):
            raise DataError(
                f"label: column 1 of {table.path} looks like classes and the last one does not; give label 1 or "
                f"{table.columns}"
            )
    return last


def _position(table: Table, label: str) -> int | None:
    """Column ``label``, from 0: a name of the header, or a position from 1 or from the end; None if there is none."""
    if label in table.header:
        return table.header.index(label)
    try:
        position = int(label)
    except ValueError:
        return None
    if 1 <= position <= table.columns:
        return position - 1
    return table.columns + position if -table.columns <= position <= -1 else None


def _choices(table: Table) -> str:
    positions = f"positions are 1 to {table.columns}, or −1 from the end"
    names = " ".join(", ".join(table.header).split())[:200]  # a quoted name may have line breaks
    return f"its header has {names}; {positions}" if table.header else f"its {positions}"


def _holds_classes(column: NDArray[np.float64]) -> bool:
    """Whether the values are all of 0, 1, … up to the largest, each at least twice on average."""
    found = np.unique(column)
    return 2 <= len(found) <= min(MOST_CLASSES, len(column) // 2) and np.array_equal(found, np.arange(len(found)))
