"""Random prototypes: the generated data, and refused parameters."""

from __future__ import annotations

import numpy as np
import pytest

from popflip.data.datasets import BUILT_IN, load
from popflip.data.prototypes import Prototypes
from popflip.errors import DataError


def test_prototypes_are_random_and_reproducible():
    name = "prototypes:classes=4,bits=2000,flip=0.25,train=40,test=8,seed=3"
    data = load(name)
    assert data.name == name
    assert (data.train_values.shape, data.test_values.shape, data.classes) == ((40, 2000), (8, 2000), 4)
    assert data.train_classes.tolist() == [0, 1, 2, 3] * 10
    assert data.test_classes.tolist() == [0, 1, 2, 3] * 2
    majority = np.array([data.train_values[label::4].sum(axis=0) >= 6 for label in range(4)])
    flipped = data.test_values != majority[data.test_classes]
    assert (flipped.mean(axis=1) > 0.2).all() and (flipped.mean(axis=1) < 0.35).all()
    assert (data.test_values != majority[(data.test_classes + 1) % 4]).mean() > 0.45
    assert np.array_equal(load(data.name).train_values, data.train_values)
    assert not np.array_equal(load(name.replace("seed=3", "seed=4")).train_values, data.train_values)


def test_without_flips_every_sample_is_its_prototype():
    data = load("prototypes:bits=64,flip=0,train=20,test=10")
    assert data.train_values.tolist() == [*data.test_values.tolist(), *data.test_values.tolist()]
    flipped = load("prototypes:bits=64,flip=1,train=20,test=10")
    assert np.array_equal(flipped.train_values, 1 - data.train_values)


def test_default_prototypes_are_the_paper_s():
    name = "prototypes:classes=10,bits=1000,flip=0.44,train=10000,test=2000,seed=1"
    assert str(Prototypes.parse("prototypes")) == name
    assert str(Prototypes.parse("prototypes:")) == name
    assert str(Prototypes.parse(name)) == name
    assert str(Prototypes.parse("prototypes: flip = 0.4 ,seed=2")) == name.replace("0.44", "0.4").replace("d=1", "d=2")
    assert name in BUILT_IN["prototypes"].summary


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("classes", "classes: '' is not a whole number"),
        ("classes=1", "classes: 1 is outside 2 … 65535"),
        ("bits=0", "bits: 0 is outside 1 … 65535"),
        ("flip=nan", "flip: nan is outside 0 … 1"),
        ("flip=half", "flip: 'half' is not a number"),
        ("train=1.5", "train: '1.5' is not a whole number"),
        ("test=0", "test: 0 is outside 1 … 10000000"),
        ("seed=-1", "seed: -1 is outside 0 … 4294967295"),
        ("noise=1", "'noise' is not one of classes, bits, flip, train, test, seed"),
    ],
)
def test_wrong_parameters_of_prototypes_are_named(name, message):
    with pytest.raises(DataError) as error:
        load(f"prototypes:{name}")
    assert str(error.value) == f"dataset prototypes: {message}"


def test_prototypes_have_a_test_set_of_their_own():
    with pytest.raises(DataError, match=r"^test_split: prototypes has a test set of its own; leave it out$"):
        load("prototypes:bits=5", test_split=0.5)
