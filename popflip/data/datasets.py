"""Data sets by name: built in, or a user's file.

``digits`` comes with scikit-learn. ``mnist`` and ``fashion-mnist`` are downloaded once, or read from a folder;
``mnist-tiles`` is mnist with its pixels in another order. ``prototypes`` is generated from a seed. Any other name is a
``.csv`` or ``.npz`` file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from popflip.data import files
from popflip.data.base import DataSet
from popflip.data.mnist import FASHION_MNIST, mnist, tiled
from popflip.data.prototypes import Prototypes
from popflip.errors import DataError

DEFAULT_LEVELS = 4  # thresholds per value of a user's data set
DEFAULT_TEST_SPLIT = 0.2  # share of a user's data set held out for testing
SPLIT_SEED = 0  # not the run's seed, so every seed is tested on the same held-out samples


@dataclass(frozen=True)
class BuiltIn:
    """A data set that comes with the package. ``load`` takes the full name and the user's data folder."""

    summary: str
    thresholds: tuple[int, ...]  # default thresholds of a value
    load: Callable[[str, Path | None], DataSet]


def load(name: str, data_dir: Path | None = None, test_split: float | None = None, label: str | None = None) -> DataSet:
    """The data set called ``name``, or in the file ``name``.

    ``data_dir`` holds ``mnist/`` or ``fashion-mnist/``. ``test_split`` is the share of a file's samples held out for
    testing (0.2). ``label`` is the class column of a CSV file: its name, or its position. Raises :class:`DataError` if
    the data cannot be found or used.
    """
    if known := built_in(name):
        if test_split is not None:
            raise DataError(f"test_split: {name.partition(':')[0]} has a test set of its own; leave it out")
        _check_no_label(label)
        return known.load(name, data_dir)
    samples = _read(name, label=label)
    if samples.classes is None:
        raise DataError(f"{name}: has no classes (y), and training needs them")
    if (samples.classes == samples.classes[0]).all():
        raise DataError(
            f"{name}: all {len(samples.classes)} samples are of class {samples.classes[0]}; training needs two classes"
        )
    split = DEFAULT_TEST_SPLIT if test_split is None else test_split
    data = _split(name, samples.values, samples.classes, split)
    return replace(data, image=samples.image, label=label, notes=samples.notes)


def load_to_predict(
    name: str, data_dir: Path | None, features: int, label: str | None = None
) -> tuple[NDArray, NDArray[np.int64] | None]:
    """Values [samples, features] to predict, and their classes if known.

    These are the test samples of a built-in data set, or all samples of a file. Raises :class:`DataError` if they
    cannot be read, or do not have ``features`` values each.
    """
    if built_in(name) is None:
        samples = _read(name, features, label if Path(name).suffix.lower() == ".csv" else None)
        return samples.values, samples.classes
    data = load(name, data_dir)
    files.check_features(name, data.features, features)
    return data.test_values, data.test_classes


def built_in(name: str) -> BuiltIn | None:
    """The built-in data set called ``name``; None for a file."""
    return BUILT_IN.get("prototypes" if name.startswith("prototypes:") else name)


def _check_no_label(label: str | None) -> None:
    if label is not None:
        raise DataError("label: only the columns of a .csv file have names and positions; leave it out")


def _read(name: str, features: int | None = None, label: str | None = None) -> files.Samples:
    path = Path(name)
    if path.suffix.lower() not in files.SUFFIXES:
        raise DataError(f"dataset: {name!r} is not one of {', '.join(BUILT_IN)}, nor a .csv or .npz file")
    if path.suffix.lower() != ".csv":
        _check_no_label(label)
    return files.read(path, features, label)


def _split(name: str, values: NDArray, classes: NDArray[np.int64], test_split: float) -> DataSet:
    """Hold out ``round(test_split · samples)`` samples, chosen at random but always the same, for testing."""
    tests = round(test_split * len(values))
    if not 0 < tests < len(values):
        raise DataError(
            f"{name}: a test split of {test_split:g} leaves {tests} of {len(values)} samples for testing; "
            f"both parts need at least one"
        )
    order = np.random.RandomState(SPLIT_SEED).permutation(len(values))
    test, train = order[:tests], order[tests:]
    return DataSet(name, values[train], classes[train], values[test], classes[test])


def _digits() -> DataSet:
    """1437 training and 360 test samples of 64 pixels 0 … 16."""
    from sklearn.datasets import load_digits

    images, classes = load_digits(return_X_y=True)
    order = np.random.RandomState(0).permutation(len(images))
    images, classes = images[order].astype(np.uint8), classes[order].astype(np.int64)
    return DataSet("digits", images[:1437], classes[:1437], images[1437:], classes[1437:], (8, 8))


BUILT_IN = {
    "digits": BuiltIn(
        "digits: 8 × 8 handwritten digits, 1437 for training",
        (3, 6, 9, 12),
        lambda name, data_dir: _digits(),
    ),
    "mnist": BuiltIn(
        "mnist: 28 × 28 handwritten digits, 60000 for training",
        (128,),
        lambda name, data_dir: mnist(data_dir),
    ),
    "mnist-tiles": BuiltIn(
        "mnist-tiles: mnist, with pixels that are often 0 together side by side",
        (128,),
        lambda name, data_dir: tiled(mnist(data_dir), name),
    ),
    "fashion-mnist": BuiltIn(
        "fashion-mnist: 28 × 28 clothes, 60000 for training",
        (128,),
        lambda name, data_dir: mnist(data_dir, FASHION_MNIST),
    ),
    "prototypes": BuiltIn(
        f"{Prototypes()}: generated; name the parameters that differ",
        (1,),
        lambda name, data_dir: Prototypes.parse(name).make(),
    ),
}
"""The data sets that come with the package, by name."""
