"""Data sets: numbers and classes in, thermometer bits out.

Built in: ``digits`` (inside scikit-learn), ``mnist`` (downloaded once, or from a folder), ``mnist-tiles`` (in another
order of pixels) and ``prototypes`` (made up from a seed). A user's own: ``.csv`` with the class in the last column, or
``.npz`` with ``x`` and ``y``. Every value becomes one bit per threshold: first all values ``≥ T0``, then all
``≥ T1``, …
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import os
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_data_dir

from popflip.files import reason, whole_file
from popflip.golden.config import MAX_WIDTH
from popflip.golden.errors import ConfigError

THRESHOLDS: dict[str, tuple[int, ...]] = {
    "digits": (3, 6, 9, 12),
    "mnist": (128,),
    "mnist-tiles": (128,),
    "prototypes": (1,),
}
"""The data sets that come with the package, and the thresholds used when none are given."""

TILE = 8  # pixels of a tile of mnist-tiles

DEFAULT_LEVELS = 4  # thermometer bits a value of an own data set becomes
DEFAULT_TEST_SPLIT = 0.2  # share of an own data set held out for testing
SPLIT_SEED = 0  # of the order in which samples are held out; not the run's seed, so that all seeds are tested alike

MNIST_SHA256 = {
    "train-images-idx3-ubyte.gz": "7ff28fd295f802eefc6d40e461175dfe4b969b1842b2abc8c6dc8c20711cf79f",
    "train-labels-idx1-ubyte.gz": "81a978ae83d39ffdba0db3ce2fcaf80a8921e9629e874428996a2b03242d4b2a",
    "t10k-images-idx3-ubyte.gz": "197e111ae341b0770be9011ac5e622d0e6cd1c640b32eb0de5dc1dd26cc6e182",
    "t10k-labels-idx1-ubyte.gz": "b91679a0acfe4ba0e50a2437a903084cba1f5f92592b016a25a7dfd00455798b",
}
MNIST_MIRRORS = (
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
)
DOWNLOAD_SECONDS = 30  # without a byte, before the next mirror is tried


class DataError(ConfigError):
    """Data that cannot be used. The message says which file, where in it, and what was expected."""


@dataclass(frozen=True)
class DataSet:
    """Training and test samples as they came: values float or integer [samples, features], classes int64 [samples]."""

    name: str
    train_values: NDArray
    train_classes: NDArray[np.int64]
    test_values: NDArray
    test_classes: NDArray[np.int64]
    image: tuple[int, int] | None = None  # height and width, where the features are the pixels of an image

    @property
    def features(self) -> int:
        """Values a sample has."""
        return self.train_values.shape[1]

    @property
    def classes(self) -> int:
        """One more than the largest class."""
        return int(max(self.train_classes.max(initial=0), self.test_classes.max(initial=0))) + 1


@dataclass(frozen=True)
class Prototypes:
    """Random Prototypes (arXiv 2412.00119): ``prototypes:classes=10,bits=1000,…``, what is left out being as below.

    Every class is a random word of ``bits`` bits, its prototype; a sample is the prototype of its class with each bit
    flipped with probability ``flip``. Classes, bits, flips and the 12000 samples are, where nothing is said, those of a
    public implementation that has the paper's other data sets too. That 10000 of them are for training is assumed.
    """

    classes: int = 10
    bits: int = 1000
    flip: float = 0.44
    train: int = 10_000  # samples
    test: int = 2_000
    seed: int = 1

    @classmethod
    def parse(cls, name: str) -> Prototypes:
        """The parameters in ``name``, or an error that names the wrong one."""
        values: dict[str, Any] = {}
        kinds = {name: type(value) for name, value in asdict(cls()).items()}
        for part in filter(None, name.partition(":")[2].split(",")):
            key, _, text = (piece.strip() for piece in part.partition("="))
            if key not in kinds:
                raise DataError(f"dataset prototypes: {key!r} is not one of {', '.join(kinds)}")
            try:
                values[key] = kinds[key](text)
            except ValueError:
                raise DataError(f"dataset prototypes: {key}: {text!r} is not a {_KINDS[kinds[key]]}") from None
            low, high = _PROTOTYPE_LIMITS[key]
            if not low <= values[key] <= high:
                raise DataError(f"dataset prototypes: {key}: {text} is outside {low} … {high}")
        return cls(**values)

    def __str__(self) -> str:
        return "prototypes:" + ",".join(f"{name}={value}" for name, value in asdict(self).items())

    def make(self) -> DataSet:
        """The data set; its name holds every parameter, so that it can be made again. Classes take turns."""
        generator = np.random.Generator(np.random.PCG64(self.seed))
        prototypes = generator.random((self.classes, self.bits)) < 0.5
        classes = np.arange(self.train + self.test) % self.classes
        values = np.empty((len(classes), self.bits), np.uint8)
        for sample, label in zip(values, classes, strict=True):
            sample[:] = prototypes[label] ^ (generator.random(self.bits) < self.flip)
        train, test = slice(self.train), slice(self.train, None)
        return DataSet(str(self), values[train], classes[train], values[test], classes[test])


_KINDS = {int: "whole number", float: "number"}
_PROTOTYPE_LIMITS = {
    "classes": (2, MAX_WIDTH),
    "bits": (1, MAX_WIDTH),
    "flip": (0, 1),
    "train": (1, 10_000_000),
    "test": (1, 10_000_000),
    "seed": (0, 2**32 - 1),
}

SUMMARIES = (
    "digits: 8 × 8 handwritten digits, 1437 for training",
    "mnist: 28 × 28 handwritten digits, 60000 for training",
    "mnist-tiles: the same, with pixels that are often 0 together side by side",
    f"{Prototypes()}: made up; say what differs",
)
"""A line for each built-in data set."""


def built_in(name: str) -> str | None:
    """Which of :data:`THRESHOLDS` the data set called ``name`` is; None for a file."""
    kind = name.partition(":")[0] if name.startswith("prototypes:") else name
    return kind if kind in THRESHOLDS else None


def load(name: str, data_dir: Path | None = None, test_split: float | None = None) -> DataSet:
    """The data set called ``name``, or in the file ``name``, of which a ``test_split`` share is held out."""
    if kind := built_in(name):
        if test_split is not None:
            raise DataError(f"--test-split: {kind} has a test set of its own; leave it out")
        if kind == "prototypes":
            return Prototypes.parse(name).make()
        if kind == "mnist-tiles":
            return tiled(_mnist(data_dir), kind)
        return _digits() if kind == "digits" else _mnist(data_dir)
    values, classes, image = _load_file(Path(name), None)
    if classes is None:
        raise DataError(f"{name}: has no classes (y), and training needs them")
    data = _split(name, values, classes, DEFAULT_TEST_SPLIT if test_split is None else test_split)
    return replace(data, image=image)


def load_to_predict(name: str, data_dir: Path | None, features: int) -> tuple[NDArray, NDArray[np.int64] | None]:
    """Values of ``features`` a sample, and classes if known: a built-in data set's test samples, or all in a file."""
    if built_in(name) is None:
        return load_file(Path(name), features)
    data = load(name, data_dir)
    _check_features(name, data.features, features)
    return data.test_values, data.test_classes


def _check_features(name: object, features: int, expected: int) -> None:
    if features != expected:
        raise DataError(f"{name}: {features} values a sample, expected {expected}")


def load_file(path: Path, features: int | None = None) -> tuple[NDArray, NDArray[np.int64] | None]:
    """Values and classes of a ``.csv`` or ``.npz``. With ``features`` known, a file without classes is taken too."""
    values, classes, _ = _load_file(path, features)
    return values, classes


Content = tuple[NDArray, NDArray[np.int64] | None, tuple[int, int] | None]
"""Values [samples, features], classes if known, and the size of an image if the file says it holds images."""


def _load_file(path: Path, features: int | None) -> Content:
    if path.suffix.lower() not in (".csv", ".npz"):
        names = ", ".join(THRESHOLDS)
        raise DataError(f"dataset: {str(path)!r} is not one of {names}, nor a .csv or .npz file")
    try:
        read = _read_csv if path.suffix.lower() == ".csv" else _read_npz
        values, classes, image = read(path, features)
    except OSError as error:
        raise DataError(f"{path}: {reason(error)}") from None
    if features is not None:
        _check_features(path, values.shape[1], features)
    return values, classes, image


# Bits -----------------------------------------------------------------------------------------------------------------


def quantile_thresholds(values: NDArray, levels: int) -> NDArray[np.float64]:
    """Thresholds [levels, features] that cut each feature's values into ``levels + 1`` parts of about equal size.

    A threshold at or below a feature's smallest value would give a bit that is always 1, so it moves up to the next
    value that occurs; a feature with a single value gets thresholds nothing reaches.
    """
    shares = np.arange(1, levels + 1) / (levels + 1)
    thresholds = np.quantile(values, shares, axis=0, method="inverted_cdf").astype(np.float64)
    above = np.where(values > values.min(axis=0), values, np.inf).min(axis=0)
    return np.maximum(thresholds, above)


def thermometer(values: NDArray, thresholds: NDArray) -> NDArray[np.uint8]:
    """Bits [samples, levels × features]: all values ``≥`` the first threshold, then all ``≥`` the second, ….

    ``thresholds`` is [levels], the same for all features, or [levels, features].
    """
    return np.concatenate([values >= threshold for threshold in thresholds], axis=1).astype(np.uint8)


# Built in -------------------------------------------------------------------------------------------------------------


def _digits() -> DataSet:
    """1437 training and 360 test samples of 64 pixels 0 … 16."""
    from sklearn.datasets import load_digits

    images, classes = load_digits(return_X_y=True)
    order = np.random.RandomState(0).permutation(len(images))
    images, classes = images[order].astype(np.uint8), classes[order].astype(np.int64)
    return DataSet("digits", images[:1437], classes[:1437], images[1437:], classes[1437:], (8, 8))


def _mnist(data_dir: Path | None) -> DataSet:
    """60000 training and 10000 test samples of 784 pixels 0 … 255."""
    folder = mnist_folder(data_dir)
    train_images, train_labels, test_images, test_labels = (_read_idx(folder / name) for name in MNIST_SHA256)
    for name, images, labels in (("train", train_images, train_labels), ("t10k", test_images, test_labels)):
        if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
            raise DataError(f"{folder}: {name} images of shape {images.shape} do not fit labels of {labels.shape}")
    if train_images.shape[1:] != test_images.shape[1:]:
        raise DataError(f"{folder}: training and test images differ in size")
    return DataSet(
        "mnist",
        train_images.reshape(len(train_images), -1),
        train_labels.astype(np.int64),
        test_images.reshape(len(test_images), -1),
        test_labels.astype(np.int64),
        train_images.shape[1:],
    )


def tiled(data: DataSet, name: str) -> DataSet:
    """``data``, 28 × 28 images, with their pixels tile by tile: in the order of :func:`tiles`."""
    if data.image != (28, 28):
        size = " × ".join(map(str, data.image or ()))
        raise DataError(
            f"dataset {name}: its tiles are of 28 × 28 pixels, these images have {size}; --dataset mnist takes them"
        )
    order = tiles().ravel()
    return replace(
        data,
        name=name,
        train_values=data.train_values[:, order],
        test_values=data.test_values[:, order],
        image=None,
    )


def tiles() -> NDArray[np.intp]:
    """Pixels [98, 8] of the tiles of an MNIST image, the two tiles of 16 pixels one after the other.

    A chip skips words of inputs without a one. A word of 16 pixels of a row touches a stroke more often than one of 16
    that are often 0 together. ``mnist_tiles.txt`` has the number of its tile for each pixel; bench/tiles.py found it.
    """
    numbers = np.loadtxt(Path(__file__).with_name("mnist_tiles.txt"), np.intp)
    return np.argsort(numbers, axis=None, kind="stable").reshape(-1, TILE)


def mnist_folder(data_dir: Path | None) -> Path:
    """Where the four MNIST files are: in ``data_dir`` or ``$POPFLIP_DATA``, under ``mnist``; else downloaded once."""
    given = data_dir or (Path(os.environ["POPFLIP_DATA"]) if os.environ.get("POPFLIP_DATA") else None)
    folder = (given or downloads()) / "mnist"
    missing = [name for name in MNIST_SHA256 if not (folder / name).is_file()]
    if missing and given:
        raise DataError(f"{folder}: {missing[0]} is not there; it must hold {', '.join(MNIST_SHA256)}")
    if missing:
        _download(missing, folder)
    return folder


def downloads() -> Path:
    """Where data sets are downloaded to."""
    return Path(user_data_dir("popflip"))


def _download(names: Sequence[str], folder: Path) -> None:
    from rich.progress import Progress

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder}: {reason(error)}") from None
    with Progress(transient=True) as progress:
        for name in names:
            content = _fetch(name, folder, progress)
            with whole_file(folder / name) as file:
                file.write(content)


def _fetch(name: str, folder: Path, progress) -> bytes:
    """The content of a file with the right checksum, from the first mirror that has it."""
    problem = ""
    for mirror in MNIST_MIRRORS:
        task = progress.add_task(f"{mirror}{name}", total=None)
        parts = []
        try:
            with urllib.request.urlopen(mirror + name, timeout=DOWNLOAD_SECONDS) as response:
                progress.update(task, total=int(response.headers.get("Content-Length") or 0) or None)
                while part := response.read(1 << 16):
                    parts.append(part)
                    progress.advance(task, len(part))
        except (OSError, ValueError) as error:
            problem = f"{mirror}: {getattr(error, 'reason', error)}"
            continue
        finally:
            progress.remove_task(task)
        content = b"".join(parts)
        if hashlib.sha256(content).hexdigest() == MNIST_SHA256[name]:
            return content
        problem = f"{mirror}: wrong checksum"
    raise DataError(
        f"mnist: {name} cannot be downloaded ({problem}); put the four files into {folder}, "
        f"or pass --data-dir D with D/mnist"
    )


def _read_idx(path: Path) -> NDArray[np.uint8]:
    """A gzipped IDX file of unsigned bytes: magic 0x0000_08nn, ``nn`` big-endian sizes, the bytes."""
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: not a whole gzip file: {error}") from None
    rank = content[3] if len(content) > 3 else 0
    header = 4 + 4 * rank
    if content[:3] != b"\x00\x00\x08" or len(content) < header:
        raise DataError(f"{path}: not an IDX file of bytes")
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", rank, 4))
    if len(content) - header != np.prod(shape, dtype=np.int64):
        raise DataError(f"{path}: {len(content) - header} bytes of data, expected {' × '.join(map(str, shape))}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


# A user's own ---------------------------------------------------------------------------------------------------------


def _split(name: str, values: NDArray, classes: NDArray[np.int64], test_split: float) -> DataSet:
    """The first ``round(test_split · samples)`` in a random but fixed order are for testing, the rest for training."""
    tests = round(test_split * len(values))
    if not 0 < tests < len(values):
        raise DataError(
            f"{name}: a test split of {test_split:g} leaves {tests} of {len(values)} samples for testing; "
            f"both parts need at least one"
        )
    order = np.random.RandomState(SPLIT_SEED).permutation(len(values))
    test, train = order[:tests], order[tests:]
    return DataSet(name, values[train], classes[train], values[test], classes[test])


def _read_csv(path: Path, features: int | None) -> Content:
    """Numbers separated by commas, a sample a line; a first line in which nothing is a number is a header."""
    rows: list[NDArray[np.float64]] = []
    lines: list[int] = []  # where in the file each row stands
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            header_allowed = True
            for cells in reader:
                if not any(map(str.strip, cells)):
                    continue
                header = header_allowed and all(_number(cell) is None for cell in cells)
                header_allowed = False
                if header:
                    continue
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
        return table, None, None
    if columns < 2:
        raise DataError(f"{path}: one column; expected values and, in the last column, the class")
    classes = _classes(table[:, -1], lambda index: f"{path}: line {lines[index]}, column {columns}")
    return table[:, :-1], classes, None


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _numbers(cells: Sequence[str], where: str) -> NDArray[np.float64]:
    """A line's cells as finite numbers, or an error that names the column."""
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


def _read_npz(path: Path, features: int | None) -> Content:
    """``x`` [samples, …], flattened to [samples, features], and ``y`` [samples] of classes; images if x has 3 axes."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in ("x", "y") if name in archive}
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, KeyError, AttributeError, TypeError):
        raise DataError(f"{path}: not an .npz file of plain arrays (pickled objects are never loaded)") from None
    values, classes = arrays.get("x"), arrays.get("y")
    if values is None or (classes is None and features is None):
        raise DataError(
            f"{path}: must hold arrays x (values) and y (classes); {'x' if values is None else 'y'} is missing"
        )
    if values.ndim < 2 or 0 in values.shape:
        raise DataError(f"{path}: x has shape {values.shape}, expected [samples, values]")
    if values.dtype.kind not in "buif":
        raise DataError(f"{path}: x is of type {values.dtype}, expected numbers")
    image = values.shape[1:] if values.ndim == 3 else None
    values = values.reshape(len(values), -1)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        sample, feature = np.argwhere(~np.isfinite(values))[0]
        raise DataError(f"{path}: x[{sample}], value {feature}: {values[sample, feature]} is not a finite number")
    if classes is None:
        return values, None, image
    if classes.shape != values.shape[:1]:
        raise DataError(f"{path}: y has shape {classes.shape}, expected ({len(values)},), one class for each row of x")
    if classes.dtype.kind not in "buif":
        raise DataError(f"{path}: y is of type {classes.dtype}, expected whole numbers")
    return values, _classes(classes, lambda index: f"{path}: y[{index}]"), image


def _classes(column: NDArray, where) -> NDArray[np.int64]:
    """``column`` as classes, or an error that says ``where(index)`` the first bad one is."""
    bad = ~((column >= 0) & (column < MAX_WIDTH) & (column == np.floor(column)))
    if bad.any():
        index = int(np.flatnonzero(bad)[0])
        shown = f"{column[index]:.15g}"
        raise DataError(f"{where(index)}: {shown} is not a class (a whole number from 0 to {MAX_WIDTH - 1})")
    return column.astype(np.int64)
