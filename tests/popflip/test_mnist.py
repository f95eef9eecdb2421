"""MNIST and Fashion-MNIST: read, tiled, and refused where they are damaged."""

from __future__ import annotations

import gzip
import re
import struct
from pathlib import Path

import numpy as np
import pytest

from popflip import limits
from popflip.data import mnist
from popflip.data.base import DataSet
from popflip.data.datasets import load
from popflip.data.mnist import tiled, tiles
from popflip.errors import ConfigError, DataError


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


def test_mnist_is_read_from_the_folder_given(mnist_like):
    data = load("mnist", mnist_like)
    assert data.train_values.tolist() == np.arange(20).reshape(5, 4).tolist()
    assert data.train_classes.tolist() == [0, 1, 2, 1, 0]
    assert data.test_values.tolist() == np.arange(100, 112).reshape(3, 4).tolist()
    assert data.test_classes.tolist() == [2, 1, 0]


def test_pixels_of_a_tile_are_side_by_side():
    """On an image whose pixels hold their own numbers."""
    values = np.arange(2 * 784).reshape(2, 784)
    data = tiled(DataSet("images", values, np.array([0, 1]), values[:1], np.array([0]), (28, 28)), "tiles")
    order = tiles().ravel().tolist()
    assert data.train_values.tolist() == [order, [784 + pixel for pixel in order]]
    assert data.test_values.tolist() == [order]
    assert (data.name, data.image, data.train_classes.tolist()) == ("tiles", None, [0, 1])


def test_tiles_are_those_of_the_file():
    """Every pixel is in the tile whose number the file has at its place; a tile's pixels are in order."""
    found = tiles()
    assert sorted(found.ravel().tolist()) == list(range(784))
    lines = Path(mnist.__file__).with_name("mnist_tiles.txt").read_text().splitlines()
    assert len(lines) == 28
    for tile, pixels in enumerate(found.tolist()):
        assert pixels == sorted(pixels)
        assert [int(lines[pixel // 28].split()[pixel % 28]) for pixel in pixels] == [tile] * 8


def test_tiles_need_images_of_mnist_s_size(mnist_like):
    message = "^dataset mnist-tiles: needs images of 28 × 28 pixels, these have 2 × 2; use data set mnist$"
    with pytest.raises(DataError, match=message):
        load("mnist-tiles", mnist_like)


def test_mnist_is_read_from_the_environment_s_folder(mnist_like, monkeypatch):
    monkeypatch.setenv("POPFLIP_DATA", str(mnist_like))
    assert load("mnist").classes == 3


def test_fashion_mnist_has_a_folder_of_its_own(mnist_like):
    with pytest.raises(DataError, match=r"/fashion-mnist: train-images-idx3-ubyte\.gz is not there; "):
        load("fashion-mnist", mnist_like)
    (mnist_like / "mnist").rename(mnist_like / "fashion-mnist")
    data = load("fashion-mnist", mnist_like)
    assert (data.name, data.image, data.test_classes.tolist()) == ("fashion-mnist", (2, 2), [2, 1, 0])


def test_sources_name_the_files_of_one_format():
    assert list(mnist.MNIST.sha256) == list(mnist.FASHION_MNIST.sha256)
    sums = [*mnist.MNIST.sha256.values(), *mnist.FASHION_MNIST.sha256.values()]
    assert len(set(sums)) == 8 and all(re.fullmatch("[0-9a-f]{64}", each) for each in sums)


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


@pytest.mark.parametrize("label", [10, 250])
def test_labels_are_classes(mnist_like, label):
    folder = mnist_like / "mnist"
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(idx(np.array([0, label, 2])))
    with pytest.raises(DataError) as error:
        load("mnist", mnist_like)
    assert str(error.value) == (
        f"{folder}: t10k label 1 is {label}, expected a class 0 … 9; give other data as a .csv or .npz file"
    )


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (">HBBI", "holds no data: its sizes are 0"),
        (">HBB3I", "holds no data: its sizes are 0 × 28 × 28"),
        (">HBB4I", "not an IDX file of bytes with 1 to 3 sizes"),
        (">HBB", "not an IDX file of bytes with 1 to 3 sizes"),
    ],
)
def test_idx_files_hold_something(tmp_path, header, message):
    sizes = [0, 28, 28, 28][: struct.calcsize(header) // 4 - 1]
    path = tmp_path / "f.gz"
    path.write_bytes(gzip.compress(struct.pack(header, 0, 8, len(sizes), *sizes)))
    with pytest.raises(DataError) as error:
        mnist.read_idx(path)
    assert str(error.value) == f"{path}: {message}"


def test_sizes_of_idx_files_are_checked_before_memory_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "machine_memory", lambda: 1000)
    path = tmp_path / "f.gz"
    path.write_bytes(gzip.compress(b"\0\0\x08\x01\0\0\x01\xf4" + bytes(500)))
    assert mnist.read_idx(path).shape == (500,)
    path.write_bytes(gzip.compress(b"\0\0\x08\x01\0\0\x01\xf4" + bytes(10**6)))
    with pytest.raises(DataError, match=r"more bytes of data, expected 500$"):
        mnist.read_idx(path)
    path.write_bytes(gzip.compress(b"\0\0\x08\x03" + bytes([255] * 12)))
    with pytest.raises(ConfigError, match=r"f\.gz: 4294967295 × 4294967295 × 4294967295 bytes would take 7\.9e\+19 GB"):
        mnist.read_idx(path)
