"""Columns of a CSV file: which holds the classes, which is an index, and what is a header."""

from __future__ import annotations

import numpy as np
import pytest

from popflip.data.files import read
from popflip.errors import DataError

VALUES = [[0.5, 7.0], [1.5, 3.0], [2.5, 4.0], [3.5, 8.0], [4.5, 6.0], [5.5, 9.0], [6.5, 2.0], [7.5, 5.0]]
CLASSES = [0, 1, 2, 0, 1, 2, 0, 1]


def write(path, columns, header=()):
    lines = [",".join(map(str, row)) for row in zip(*columns, strict=True)]
    path.write_text("\n".join([*([",".join(header)] if header else []), *lines]) + "\n")
    return path


@pytest.fixture
def columns():
    first, second = ([row[place] for row in VALUES] for place in (0, 1))
    return first, second, CLASSES


@pytest.mark.parametrize(
    ("order", "header", "label"),
    [
        ((0, 1, 2), (), None),
        ((0, 1, 2), (), "-1"),
        ((0, 1, 2), ("a", "b", "c"), "c"),
        ((0, 1, 2), ("a", "b", "class"), None),
        ((2, 0, 1), (), "1"),
        ((2, 0, 1), (), "-3"),
        ((2, 0, 1), ("kind", "a", "b"), "kind"),
        ((0, 2, 1), ("a", "class", "b"), "2"),
    ],
)
def test_the_class_column_has_a_name_or_a_position(tmp_path, columns, order, header, label):
    samples = read(write(tmp_path / "d.csv", [columns[place] for place in order], header), label=label)
    assert samples.classes.tolist() == CLASSES
    assert samples.values.tolist() == VALUES
    assert samples.notes == ()


@pytest.mark.parametrize(
    ("order", "header", "label", "message"),
    [
        ((2, 0, 1), ("class", "a", "b"), None, "column 1 of {} is called 'class', and classes are read from the last "
         "one; give label class or 3"),
        ((2, 0, 1), (), None, "column 1 of {} looks like classes and the last one does not; give label 1 or 3"),
        ((0, 1, 2), ("a", "b", "c"), "d", "{} has no column 'd'; its header has a, b, c; positions are 1 to 3, or −1 "
         "from the end"),
        ((0, 1, 2), ('"a\nb"', "c", "d"), "e", "{} has no column 'e'; its header has a b, c, d; positions are 1 to 3, "
         "or −1 from the end"),
        ((0, 1, 2), (), "4", "{} has no column '4'; its positions are 1 to 3, or −1 from the end"),
        ((0, 1, 2), (), "0", "{} has no column '0'; its positions are 1 to 3, or −1 from the end"),
    ],
)  # fmt: skip
def test_a_doubtful_class_column_is_refused(tmp_path, columns, order, header, label, message):
    path = write(tmp_path / "d.csv", [columns[place] for place in order], header)
    with pytest.raises(DataError) as error:
        read(path, label=label)
    assert str(error.value) == "label: " + message.format(path)


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize(("header", "rows"), [(("", "a", "b", "class"), 5), (("id", "a", "b", "y"), 8)])
def test_an_index_column_is_left_out(tmp_path, columns, start, header, rows):
    counted = [*range(start, start + 8)]
    path = write(tmp_path / "d.csv", [column[:rows] for column in (counted, *columns)], header)
    samples = read(path)
    assert samples.values.tolist() == VALUES[:rows]
    assert samples.notes == (f"{path}: column 1 is an index that counts the lines, so it is left out",)
    assert read(path, features=2).values.tolist() == VALUES[:rows]


@pytest.mark.parametrize("header", [(), ("time", "a", "b", "class")])
def test_a_count_that_has_no_index_s_name_stays_with_a_note(tmp_path, columns, header):
    path = write(tmp_path / "d.csv", [[*range(8)], *columns], header)
    samples = read(path)
    assert samples.values[:, 0].tolist() == [*range(8)]
    assert samples.notes == (
        f"{path}: column 1 counts the lines, and is learned all the same; if it is an index, remove it",
    )


def test_a_short_count_without_a_name_and_other_starts_are_values(tmp_path, columns):
    few = read(write(tmp_path / "few.csv", [column[:7] for column in ([*range(8)], *columns)]))
    other = read(write(tmp_path / "other.csv", [[*range(2, 10)], *columns]))
    assert (few.values.shape, few.notes) == ((7, 3), ())
    assert (other.values.shape, other.notes) == ((8, 3), ())


def test_a_line_that_numbers_the_columns_is_a_header(tmp_path, columns):
    path = write(tmp_path / "d.csv", [columns[1], *columns], ("0", "1", "2", "3"))
    samples = read(path)
    assert samples.values[:, 1:].tolist() == VALUES
    assert samples.notes == (f"{path}: line 1 counts the columns from 0, so it is taken for a header",)
    three = write(tmp_path / "three.csv", columns, ("0", "1", "2"))
    assert len(read(three).values) == 9


def test_small_floats_hold_classes(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.zeros((2, 2)), y=np.array([0, 1], np.float16))
    with np.errstate(all="raise"):
        assert read(tmp_path / "d.npz").classes.tolist() == [0, 1]
