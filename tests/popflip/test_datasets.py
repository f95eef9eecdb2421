"""Data sets by name, and the samples held out of a user's own."""

from __future__ import annotations

import numpy as np
import pytest

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
    known = "digits, mnist, mnist-tiles, prototypes"
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
    np.savez(path, x=np.zeros((2, 1)), y=np.zeros(2))
    with pytest.raises(DataError, match=r"a test split of 0\.2 leaves 0 of 2 samples for testing"):
        load(str(path))
