"""Samples from files, and the place that an error names."""

from __future__ import annotations

import numpy as np
import pytest

from popflip.data.files import read
from popflip.errors import DataError


@pytest.mark.parametrize("header", ["", "a,b,class\n", "\ufeffa,b,class\r\n", "\n"])
def test_csv_with_and_without_a_header(tmp_path, header):
    path = tmp_path / "d.csv"
    path.write_text(header + "1,2.5,0\n\n-3,4e1,2\n", encoding="utf-8")
    values, classes, *_ = read(path)
    assert values.tolist() == [[1.0, 2.5], [-3.0, 40.0]]
    assert classes.tolist() == [0, 2]


def test_csv_may_lack_classes_if_the_features_are_known(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text("1,2\n3,4\n")
    values, classes, *_ = read(path, features=2)
    assert values.tolist() == [[1, 2], [3, 4]]
    assert classes is None
    assert read(path, features=1).classes.tolist() == [2, 4]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b,c\n1,2,0\n3,x,1\n", "line 3, column 2: 'x' is not a number"),
        ("1,2,0\n3,,1\n", "line 2, column 2: '' is not a number"),
        ("1,2,0\n\n\n3,nan,1\n", "line 4, column 2: 'nan' is not a finite number"),
        ("1,2,0\n-inf,2,1\n", "line 2, column 1: '-inf' is not a finite number"),
        ("1,2,zero\n", "line 1, column 3: 'zero' is not a number"),
        ("a,b,c\nd,e,f\n", "line 2, column 1: 'd' is not a number"),
        ("1,2,0\n3,4\n", "line 2: 2 columns, expected 3"),
        ("1,2,0\n3,4,-1\n", "line 2, column 3: -1 is not a class (a whole number from 0 to 65534)"),
        ("1,2,0.5\n", "line 1, column 3: 0.5 is not a class (a whole number from 0 to 65534)"),
        ("1,2,65535\n", "line 1, column 3: 65535 is not a class (a whole number from 0 to 65534)"),
        ("", "holds no samples"),
        ("a,b,c\n", "holds no samples"),
        ("1\n2\n", "one column; expected values and, in the last column, the class"),
    ],
)
def test_csv_errors_name_the_place(tmp_path, text, message):
    path = tmp_path / "d.csv"
    path.write_text(text)
    with pytest.raises(DataError) as error:
        read(path)
    assert str(error.value) in (f"{path}: {message}", f"{path}: {message}")


def test_csv_must_be_text(tmp_path):
    path = tmp_path / "d.csv"
    path.write_bytes(b"\xff\x00\x01")
    with pytest.raises(DataError, match=r"not a text file of comma-separated values"):
        read(path)


def test_npz_flattens_samples(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.arange(12).reshape(3, 2, 2), y=np.array([0, 1, 0], np.uint8))
    values, classes, *_ = read(tmp_path / "d.npz")
    assert values.tolist() == np.arange(12).reshape(3, 4).tolist()
    assert classes.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((2, 2))}, "must hold arrays x (values) and y (classes); y is missing"),
        ({"y": np.zeros(2)}, "must hold arrays x (values) and y (classes); x is missing"),
        ({"x": np.zeros(2), "y": np.zeros(2)}, "x has shape (2,), expected [samples, values]"),
        ({"x": np.zeros((0, 2)), "y": np.zeros(0)}, "x has shape (0, 2), expected [samples, values]"),
        ({"x": np.array([["a"]]), "y": np.zeros(1)}, "x is of type <U1, expected numbers"),
        ({"x": np.array([[1, 2], [3, np.nan]]), "y": [0, 1]}, "x[1], value 1: nan is not a finite number"),
        ({"x": np.zeros((2, 2)), "y": np.zeros(3)}, "y has shape (3,), expected (2,), one class for each row of x"),
        ({"x": np.zeros((2, 2)), "y": np.array(["a", "b"])}, "y is of type <U1, expected whole numbers"),
        ({"x": np.zeros((2, 2)), "y": [0, -1]}, "y[1]: -1 is not a class (a whole number from 0 to 65534)"),
        ({"x": np.zeros((2, 2)), "y": [0, np.nan]}, "y[1]: nan is not a class (a whole number from 0 to 65534)"),
        (
            {"x": np.array([[None, {}]]), "y": [0]},
            "not an .npz file of plain arrays: array x is of type |O, expected numbers or text",
        ),
    ],
)
def test_npz_errors_name_the_place(tmp_path, arrays, message):
    np.savez(tmp_path / "d.npz", **arrays)
    with pytest.raises(DataError) as error:
        read(tmp_path / "d.npz")
    assert str(error.value) == f"{tmp_path / 'd.npz'}: {message}"


def test_a_damaged_npz_is_refused(tmp_path):
    (tmp_path / "d.npz").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(DataError, match=r"not an \.npz file of plain arrays"):
        read(tmp_path / "d.npz")
