"""MNIST and Fashion-MNIST: read from a folder or downloaded once; and MNIST with its pixels in tiles."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from popflip.data.base import DataSet
from popflip.data.download import Source, folder_of
from popflip.errors import DataError, FileError
from popflip.files import open_input
from popflip.limits import check_memory

TILE = 8  # pixels of a tile
CLASSES = 10
MAX_RANK = 3  # sizes of an IDX file: labels have 1, images 3

MNIST = Source(
    "mnist",
    {
        "train-images-idx3-ubyte.gz": "7ff28fd295f802eefc6d40e461175dfe4b969b1842b2abc8c6dc8c20711cf79f",
        "train-labels-idx1-ubyte.gz": "81a978ae83d39ffdba0db3ce2fcaf80a8921e9629e874428996a2b03242d4b2a",
        "t10k-images-idx3-ubyte.gz": "197e111ae341b0770be9011ac5e622d0e6cd1c640b32eb0de5dc1dd26cc6e182",
        "t10k-labels-idx1-ubyte.gz": "b91679a0acfe4ba0e50a2437a903084cba1f5f92592b016a25a7dfd00455798b",
    },
    (
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
    ),
)
FASHION_MNIST = Source(
    "fashion-mnist",
    {
        "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    },
    (
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    ),
)
"""Xiao, Rasul and Vollgraf, arXiv 1708.07747: clothes in the files, the sizes and the number of classes of MNIST."""


def mnist(data_dir: Path | None, source: Source = MNIST) -> DataSet:
    """60000 training and 10000 test samples of 784 pixels 0 … 255, of MNIST or another ``source`` of such files.

    Raises :class:`DataError` if a file is unusable.
    """
    folder = folder_of(source, data_dir)
    train_images, train_labels, test_images, test_labels = (read_idx(folder / name) for name in source.sha256)
    for name, images, labels in (("train", train_images, train_labels), ("t10k", test_images, test_labels)):
        if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
            raise DataError(f"{folder}: {name} images of shape {images.shape} do not fit labels of {labels.shape}")
        if labels.max() >= CLASSES:
            sample = int(np.argmax(labels >= CLASSES))
            raise DataError(
                f"{folder}: {name} label {sample} is {labels[sample]}, expected a class 0 … {CLASSES - 1}; give other "
                "data as a .csv or .npz file"
            )
    if train_images.shape[1:] != test_images.shape[1:]:
        raise DataError(f"{folder}: training and test images differ in size")
    return DataSet(
        source.name,
        train_images.reshape(len(train_images), -1),
        train_labels.astype(np.int64),
        test_images.reshape(len(test_images), -1),
        test_labels.astype(np.int64),
        train_images.shape[1:],
    )


def tiled(data: DataSet, name: str) -> DataSet:
    """``data``, 28 × 28 images, as data set ``name`` with the pixels in the order of :func:`tiles`.

    Raises :class:`DataError` if the images have another size.
    """
    if data.image != (28, 28):
        size = " × ".join(map(str, data.image or ()))
        raise DataError(f"dataset {name}: needs images of 28 × 28 pixels, these have {size}; use data set mnist")
    order = tiles().ravel()
    return replace(
        data,
        name=name,
        train_values=data.train_values[:, order],
        test_values=data.test_values[:, order],
        image=None,
    )


def tiles() -> NDArray[np.intp]:
    """Pixels [98, 8] of the tiles of an MNIST image; each two in succession form a tile of 16 pixels.

    A chip skips input words that are all 0. A word of 16 neighbours in a row touches a stroke more often than a word of
    16 pixels that are often 0 together. ``mnist_tiles.txt`` has the tile number of each pixel; bench/tiles.py found it.
    """
    numbers = np.loadtxt(Path(__file__).with_name("mnist_tiles.txt"), np.intp)
    return np.argsort(numbers, axis=None, kind="stable").reshape(-1, TILE)


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read a gzipped IDX file of unsigned bytes: magic 0x0000_08nn, ``nn`` big-endian sizes, the bytes.

    The sizes are checked against this machine's memory before the bytes are unpacked. Raises :class:`DataError` if the
    file is damaged or holds anything else.
    """
    try:
        with open_input(path) as packed, gzip.open(packed) as file:
            shape = _idx_shape(path, file.read(4), file)
            expected = math.prod(shape)
            check_memory(f"{path}: {' × '.join(map(str, shape))} bytes", expected)
            content = file.read(expected)
            more = len(file.read(1))
    except FileError as error:
        raise DataError(str(error)) from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: not a whole gzip file: {error}") from None
    if len(content) != expected or more:
        found = "more" if more else str(len(content))
        raise DataError(f"{path}: {found} bytes of data, expected {' × '.join(map(str, shape))}")
    return np.frombuffer(content, np.uint8).reshape(shape)


def _idx_shape(path: Path, magic: bytes, file: gzip.GzipFile) -> tuple[int, ...]:
    """The sizes after the ``magic`` number of an IDX file."""
    rank = magic[3] if len(magic) == 4 else 0
    sizes = file.read(4 * rank) if 1 <= rank <= MAX_RANK else b""
    if magic[:3] != b"\x00\x00\x08" or not sizes or len(sizes) < 4 * rank:
        raise DataError(f"{path}: not an IDX file of bytes with 1 to {MAX_RANK} sizes")
    shape = struct.unpack(f">{rank}I", sizes)
    if 0 in shape:
        raise DataError(f"{path}: holds no data: its sizes are {' × '.join(map(str, shape))}")
    return shape
