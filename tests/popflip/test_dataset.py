"""Data sets: what is read, what is refused and where the refusal points, and how values become bits."""

from __future__ import annotations

import gzip
import hashlib
import os
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from popflip.data import datasets as dataset
from popflip.data.datasets import (
    SUMMARIES,
    DataError,
    DataSet,
    Prototypes,
    load,
    load_file,
    quantile_thresholds,
    thermometer,
    tiled,
    tiles,
)


def idx(array: np.ndarray) -> bytes:
    """A gzipped IDX file, written from the format's definition."""
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return gzip.compress(header + array.astype(np.uint8).tobytes(), mtime=0)


@pytest.fixture
def mnist_like(tmp_path: Path) -> Path:
    """A folder with a tiny ``mnist/`` in it: 5 training and 3 test images of 2 × 2."""
    folder = tmp_path / "mnist"
    folder.mkdir()
    arrays = {
        "train-images-idx3-ubyte.gz": np.arange(20).reshape(5, 2, 2),
        "train-labels-idx1-ubyte.gz": np.array([0, 1, 2, 1, 0]),
        "t10k-images-idx3-ubyte.gz": np.arange(100, 112).reshape(3, 2, 2),
        "t10k-labels-idx1-ubyte.gz": np.array([2, 1, 0]),
    }
    for name, array in arrays.items():
        (folder / name).write_bytes(idx(array))
    return tmp_path


# Bits -----------------------------------------------------------------------------------------------------------------


def test_thermometer_is_threshold_major():
    values = np.array([[0, 5], [3, 4]])
    assert thermometer(values, np.array([3, 5])).tolist() == [[0, 1, 0, 1], [1, 1, 0, 0]]


def test_thermometer_takes_thresholds_of_each_feature():
    values = np.array([[0.0, 50.0], [1.0, 40.0]])
    assert thermometer(values, np.array([[0.5, 45.0]])).tolist() == [[0, 1], [1, 0]]


def test_quantile_thresholds_cut_into_equal_parts():
    values = np.array([[value] for value in range(1, 10)])
    thresholds = quantile_thresholds(values, 2)
    assert thresholds.tolist() == [[3.0], [6.0]]
    assert thermometer(values, thresholds).sum(axis=0).tolist() == [7, 4]


def test_quantile_thresholds_give_no_bit_that_is_always_one():
    values = np.array([[0, 7], [0, 7], [0, 7], [4, 7]])
    bits = thermometer(values, quantile_thresholds(values, 2))
    assert bits.tolist() == [[0, 0, 0, 0]] * 3 + [[1, 0, 1, 0]]


# Built in -------------------------------------------------------------------------------------------------------------


def test_digits_are_split_as_published():
    from sklearn.datasets import load_digits

    images, classes = load_digits(return_X_y=True)
    order = np.random.RandomState(0).permutation(1797)
    data = load("digits")
    assert (data.features, data.classes) == (64, 10)
    assert np.array_equal(data.train_values, images[order[:1437]])
    assert np.array_equal(data.test_classes, classes[order[1437:]])


def test_prototypes_are_flipped_at_random_and_come_again():
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


def test_prototypes_left_out_are_the_paper_s():
    name = "prototypes:classes=10,bits=1000,flip=0.44,train=10000,test=2000,seed=1"
    assert str(Prototypes.parse("prototypes")) == name
    assert str(Prototypes.parse("prototypes:")) == name
    assert str(Prototypes.parse(name)) == name
    assert str(Prototypes.parse("prototypes: flip = 0.4 ,seed=2")) == name.replace("0.44", "0.4").replace("d=1", "d=2")
    assert name in str(SUMMARIES)


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
    with pytest.raises(DataError, match=r"^--test-split: prototypes has a test set of its own; leave it out$"):
        load("prototypes:bits=5", test_split=0.5)


def test_mnist_is_read_from_the_folder_given(mnist_like):
    data = load("mnist", mnist_like)
    assert data.train_values.tolist() == np.arange(20).reshape(5, 4).tolist()
    assert data.train_classes.tolist() == [0, 1, 2, 1, 0]
    assert data.test_values.tolist() == np.arange(100, 112).reshape(3, 4).tolist()
    assert data.test_classes.tolist() == [2, 1, 0]


def test_pixels_of_a_tile_are_side_by_side():
    """The order that makes tiles out of an image, on one whose pixels are their own numbers."""
    values = np.arange(2 * 784).reshape(2, 784)
    data = tiled(DataSet("images", values, np.array([0, 1]), values[:1], np.array([0]), (28, 28)), "tiles")
    order = tiles().ravel().tolist()
    assert data.train_values.tolist() == [order, [784 + pixel for pixel in order]]
    assert data.test_values.tolist() == [order]
    assert (data.name, data.image, data.train_classes.tolist()) == ("tiles", None, [0, 1])


def test_tiles_are_those_of_the_file():
    """Every pixel is in one tile, the one whose number the file has in its place, and a tile's pixels are in order."""
    found = tiles()
    assert sorted(found.ravel().tolist()) == list(range(784))
    lines = Path(dataset.__file__).with_name("mnist_tiles.txt").read_text().splitlines()
    assert len(lines) == 28
    for tile, pixels in enumerate(found.tolist()):
        assert pixels == sorted(pixels)
        assert [int(lines[pixel // 28].split()[pixel % 28]) for pixel in pixels] == [tile] * 8


def test_tiles_are_of_images_of_mnist_s_size(mnist_like):
    message = (
        "^dataset mnist-tiles: its tiles are of 28 × 28 pixels, these images have 2 × 2; --dataset mnist takes them$"
    )
    with pytest.raises(DataError, match=message):
        load("mnist-tiles", mnist_like)


def test_mnist_is_read_from_the_environment_s_folder(mnist_like, monkeypatch):
    monkeypatch.setenv("POPFLIP_DATA", str(mnist_like))
    assert load("mnist").classes == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not gzip", "not a whole gzip file"),
        (gzip.compress(b"\0\0\x08\x01\0\0\0\x05abc", mtime=0), "3 bytes of data, expected 5"),
        (gzip.compress(b"\0\0\x0d\x01\0\0\0\x01a", mtime=0), "not an IDX file of bytes"),
        (gzip.compress(b"\0", mtime=0), "not an IDX file of bytes"),
        (idx(np.array([0, 1]))[:-9], "not a whole gzip file"),
        (idx(np.array([0, 1])), "images of shape (5, 2, 2) do not fit labels of (2,)"),
    ],
)
def test_damaged_mnist_is_refused(mnist_like, content, message):
    (mnist_like / "mnist" / "train-labels-idx1-ubyte.gz").write_bytes(content)
    with pytest.raises(DataError) as error:
        load("mnist", mnist_like)
    assert message in str(error.value)


def test_missing_mnist_names_the_file(tmp_path):
    with pytest.raises(DataError) as error:
        load("mnist", tmp_path)
    assert str(error.value).startswith(f"{tmp_path / 'mnist'}: train-images-idx3-ubyte.gz is not there; ")


def test_mnist_is_downloaded_once_from_the_first_mirror_that_is_right(mnist_like, tmp_path, monkeypatch):
    files = {path.name: path.read_bytes() for path in (mnist_like / "mnist").iterdir()}
    broken, wrong, right = (tmp_path / name for name in ("broken", "wrong", "right"))
    for mirror in (wrong, right):
        mirror.mkdir()
        for name, content in files.items():
            (mirror / name).write_bytes(content if mirror == right else content + b"!")
    home = tmp_path / "home"
    monkeypatch.delenv("POPFLIP_DATA", raising=False)
    monkeypatch.setattr(dataset, "downloads", lambda: home)
    monkeypatch.setattr(
        dataset, "MNIST_SHA256", {n: hashlib.sha256(files[n]).hexdigest() for n in dataset.MNIST_SHA256}
    )
    monkeypatch.setattr(dataset, "MNIST_MIRRORS", tuple(f"{mirror.as_uri()}/" for mirror in (broken, wrong, right)))
    assert load("mnist").classes == 3
    assert sorted(os.listdir(home / "mnist")) == sorted(files)
    monkeypatch.setattr(urllib.request, "urlopen", None)
    assert load("mnist").classes == 3


def test_a_download_with_a_wrong_checksum_leaves_nothing(mnist_like, tmp_path, monkeypatch):
    home = tmp_path / "home"
    monkeypatch.delenv("POPFLIP_DATA", raising=False)
    monkeypatch.setattr(dataset, "downloads", lambda: home)
    monkeypatch.setattr(dataset, "MNIST_MIRRORS", (f"{(mnist_like / 'mnist').as_uri()}/",))
    with pytest.raises(DataError) as error:
        load("mnist")
    assert "wrong checksum" in str(error.value)
    assert os.listdir(home / "mnist") == []


def test_a_built_in_data_set_has_a_test_set_of_its_own():
    with pytest.raises(DataError, match=r"^--test-split: digits has a test set of its own; leave it out$"):
        load("digits", test_split=0.5)


# A user's own ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["", "a,b,class\n", "\ufeffa,b,class\r\n", "\n"])
def test_csv_with_and_without_a_header(tmp_path, header):
    path = tmp_path / "d.csv"
    path.write_text(header + "1,2.5,0\n\n-3,4e1,2\n", encoding="utf-8")
    values, classes = load_file(path)
    assert values.tolist() == [[1.0, 2.5], [-3.0, 40.0]]
    assert classes.tolist() == [0, 2]


def test_csv_without_classes_is_taken_when_its_features_are_known(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text("1,2\n3,4\n")
    values, classes = load_file(path, features=2)
    assert values.tolist() == [[1, 2], [3, 4]]
    assert classes is None
    assert load_file(path, features=1)[1].tolist() == [2, 4]


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
        load_file(path)
    assert str(error.value) in (f"{path}: {message}", f"{path}: {message}")


def test_csv_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "d.csv"
    path.write_bytes(b"\xff\x00\x01")
    with pytest.raises(DataError, match=r"not a text file of comma-separated values"):
        load_file(path)


def test_npz_flattens_samples(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.arange(12).reshape(3, 2, 2), y=np.array([0, 1, 0], np.uint8))
    values, classes = load_file(tmp_path / "d.npz")
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
            "not an .npz file of plain arrays (pickled objects are never loaded)",
        ),
    ],
)
def test_npz_errors_name_the_place(tmp_path, arrays, message):
    np.savez(tmp_path / "d.npz", **arrays)
    with pytest.raises(DataError) as error:
        load_file(tmp_path / "d.npz")
    assert str(error.value) == f"{tmp_path / 'd.npz'}: {message}"


def test_npz_that_is_none_is_refused(tmp_path):
    (tmp_path / "d.npz").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(DataError, match=r"not an \.npz file of plain arrays"):
        load_file(tmp_path / "d.npz")


def test_an_unknown_data_set_lists_what_there_is():
    known = "digits, mnist, mnist-tiles, prototypes"
    with pytest.raises(DataError, match=rf"^dataset: 'fashion' is not one of {known}, nor a \.csv or \.npz file$"):
        load("fashion")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nothing\.csv: no such file or directory$"):
        load(str(tmp_path / "nothing.csv"))


def test_held_out_split_is_seeded_and_leaves_nothing_out(tmp_path):
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
