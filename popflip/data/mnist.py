"""MNIST: read from a folder or downloaded once; and MNIST with its pixels in tiles."""

from __future__ import annotations

import gzip
import hashlib
import os
import urllib.error
import urllib.request
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_data_dir
from rich.progress import Progress

from popflip.data.base import DataSet
from popflip.errors import DataError
from popflip.files import reason, whole_file

TILE = 8  # pixels of a tile

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


def mnist(data_dir: Path | None) -> DataSet:
    """60000 training and 10000 test samples of 784 pixels 0 … 255. Raises :class:`DataError` if a file is unusable."""
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


def mnist_folder(data_dir: Path | None) -> Path:
    """Folder of the four MNIST files: ``mnist/`` in ``data_dir``, in ``$POPFLIP_DATA``, or in :func:`downloads`."""
    given = data_dir or (Path(os.environ["POPFLIP_DATA"]) if os.environ.get("POPFLIP_DATA") else None)
    folder = (given or downloads()) / "mnist"
    missing = [name for name in MNIST_SHA256 if not (folder / name).is_file()]
    if missing and given:
        raise DataError(f"{folder}: {missing[0]} is not there; it must hold {', '.join(MNIST_SHA256)}")
    if missing:
        _download(missing, folder)
    return folder


def downloads() -> Path:
    """Folder of downloaded data sets."""
    return Path(user_data_dir("popflip"))


def _download(names: Sequence[str], folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder}: {reason(error)}") from None
    with Progress(transient=True) as progress:
        for name in names:
            content = _fetch(name, folder, progress)
            with whole_file(folder / name) as file:
                file.write(content)


def _fetch(name: str, folder: Path, progress: Progress) -> bytes:
    """The file ``name`` from the first mirror whose copy has the right checksum."""
    problem = ""
    for mirror in MNIST_MIRRORS:
        try:
            content = _get(mirror + name, progress)
        except (OSError, ValueError) as error:
            problem = f"{mirror}: {getattr(error, 'reason', error)}"
            continue
        if hashlib.sha256(content).hexdigest() == MNIST_SHA256[name]:
            return content
        problem = f"{mirror}: wrong checksum"
    raise DataError(
        f"mnist: {name} cannot be downloaded ({problem}); put the four files into {folder}, or give data_dir=D with "
        "D/mnist"
    )


def _get(url: str, progress: Progress) -> bytes:
    task = progress.add_task(url, total=None)
    parts = []
    try:
        with urllib.request.urlopen(url, timeout=DOWNLOAD_SECONDS) as response:
            progress.update(task, total=int(response.headers.get("Content-Length") or 0) or None)
            while part := response.read(1 << 16):
                parts.append(part)
                progress.advance(task, len(part))
    finally:
        progress.remove_task(task)
    return b"".join(parts)


def _read_idx(path: Path) -> NDArray[np.uint8]:
    """Read a gzipped IDX file of unsigned bytes: magic 0x0000_08nn, ``nn`` big-endian sizes, the bytes."""
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
