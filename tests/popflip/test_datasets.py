"""Data sets by name, and the samples held out of a user's own."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from popflip.data.base import DataSet
from popflip.data.datasets import load
from popflip.errors import DataError


def test_digits_are_split_as_published():
    from sklearn.datasets import load_digits

    images, classes = load_digits(return_X_y=True)
    order = np.random.RandomState(0).permutation(1797)
    data = load("digits")
    assert (data.features, data.classes) == (64, 10)
    assert np.array_equal(data.train_values, images[order[:1437]])
    assert np.array_equal(data.test_classes, classes[order[1437:]])


def test_a_built_in_data_set_has_a_test_set_of_its_own():
    with pytest.raises(DataError, match=r"^test_split: digits has a test set of its own; leave it out$"):
        load("digits", test_split=0.5)


def test_an_unknown_data_set_lists_the_known_ones():
    known = "digits, mnist, mnist-tiles, fashion-mnist, prototypes"
    with pytest.raises(DataError, match=rf"^dataset: 'fashion' is not one of {known}, nor a \.csv or \.npz file$"):
        load("fashion")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nothing\.csv: no such file or directory$"):
        load(str(tmp_path / "nothing.csv"))


def test_the_split_is_seeded_and_covers_every_sample(tmp_path):
    path = tmp_path / "d.npz"
    np.savez(path, x=np.arange(10).reshape(10, 1), y=np.arange(10))
    data = load(str(path), test_split=0.3)
    order = np.random.RandomState(0).permutation(10)
    assert data.test_classes.tolist() == order[:3].tolist()
    assert data.train_classes.tolist() == order[3:].tolist()
    assert data.test_values.ravel().tolist() == order[:3].tolist()


def test_a_split_without_test_samples_is_refused(tmp_path):
    path = tmp_path / "d.npz"
    np.savez(path, x=np.zeros((2, 1)), y=np.arange(2))
    with pytest.raises(DataError, match=r"a test split of 0\.2 leaves 0 of 2 samples for testing"):
        load(str(path))


# The hash of the data -------------------------------------------------------------------------------------------------

VALUES, CLASSES = np.arange(12.0).reshape(4, 3), np.array([0, 1, 1, 0])


def hashed(values: np.ndarray = VALUES, classes: np.ndarray = CLASSES, name: str = "own.csv", tests: int = 1) -> str:
    return DataSet(name, values[tests:], classes[tests:], values[:tests], classes[:tests]).sha256


def changed(array: np.ndarray, place: tuple[int, ...], value: float) -> np.ndarray:
    array = array.copy()
    array[place] = value
    return array


def test_equal_data_has_one_hash():
    parts = [("(3, 3)", range(3, 12)), ("(3,)", [1, 1, 0]), ("(1, 3)", range(3)), ("(1,)", [0])]
    content = b"".join(f"{shape}\n|u1\n".encode() + bytes(values) for shape, values in parts)
    assert hashed() == hashlib.sha256(content).hexdigest()
    for dtype in ("u1", "i2", ">i4", "<u8", "f4", ">f8"):
        assert hashed(VALUES.astype(dtype), CLASSES.astype("u1"), "other.npz") == hashed()
    assert hashed(np.asfortranarray(VALUES)) == hashed()
    large = np.array([[2**63], [1]], np.uint64)
    assert hashed(large, CLASSES[:2]) != hashed(large - 1, CLASSES[:2])


@pytest.mark.parametrize(
    ("values", "classes", "tests"),
    [
        (changed(VALUES, (3, 2), 12), CLASSES, 1),
        (changed(VALUES, (3, 2), 11.5), CLASSES, 1),
        (changed(VALUES, (0, 0), -1), CLASSES, 1),
        (VALUES, changed(CLASSES, (0,), 1), 1),
        (VALUES, changed(CLASSES, (3,), 1), 1),
        (VALUES[::-1], CLASSES, 1),
        (VALUES, CLASSES, 2),
        (VALUES[:, :2], CLASSES, 1),
        (np.vstack([VALUES, VALUES[:1]]), np.append(CLASSES, 0), 1),
    ],
)
def test_other_data_has_another_hash(values, classes, tests):
    assert hashed(values, classes, tests=tests) != hashed()


def test_every_sample_counts():
    values = np.zeros((10_000, 2), np.uint8)
    classes = np.zeros(10_000, int)
    hashes = {hashed(changed(values, (row, 1), 1), classes) for row in (1, 4096, 4097, 8192, 9999)}
    assert len(hashes) == 5
