"""Images for the experiments: a data set of Popflip's that holds images, or folders of image files.

``FOLDER/train/CLASS/*`` and ``FOLDER/test/CLASS/*`` (or ``val``), as torchvision's ``ImageFolder`` has them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import _experiment as lab
import numpy as np
import torch
from PIL import Image  # matplotlib, which Popflip needs, brings it
from torch import Tensor
from torch.nn.functional import cross_entropy

from popflip.data import datasets
from popflip.errors import DataError
from popflip.limits import check_memory

TEST_BATCH = 1000  # images that are measured at a time


@dataclass(frozen=True, kw_only=True)
class Recipe(lab.Recipe):
    """Training on images."""

    epochs: int  # passes over the training images


class Images(NamedTuple):
    """Images ``[n, channels, height, width]`` of numbers, and their classes ``[n]``."""

    x: Tensor
    y: Tensor


class ImageExperiment(lab.Experiment):
    """A model that tells the classes of images."""

    metric, percent = "test_accuracy", True
    dataset = "mnist"  # by default
    pixels: int | None = None  # height and width that images of a folder get; None: they have one size

    def __init__(self, recipe, device, options):
        super().__init__(recipe, device, options)
        train, test = load(options.dataset, options.data_dir, getattr(recipe, "pixels", None))
        if train.x.shape[1:] != test.x.shape[1:]:
            raise DataError(f"dataset: training and test images of {options.dataset} differ in size")
        numbers = train.x.float()
        self._mean, self._deviation = numbers.mean().item(), numbers.std().item() or 1.0
        self.title = f"{type(self).__name__} on {options.dataset}"
        self.classes = int(max(train.y.max(), test.y.max())) + 1
        self.image = tuple(train.x.shape[1:])
        self.train, self.test = (Images(each.x.to(device), each.y.to(device)) for each in (train, test))

    @classmethod
    def add_options(cls, parser):
        super().add_options(parser)
        told = f"mnist, fashion-mnist, digits, an .npz of images, or a folder with train/ and test/ ({cls.dataset})"
        parser.add_argument("--dataset", default=cls.dataset, metavar="NAME|FOLDER", help=told)

    @property
    def steps(self):
        return self.recipe.epochs * math.ceil(len(self.train.x) / self.recipe.batch)

    def batches(self, generator):
        while True:
            for part in torch.randperm(len(self.train.x), generator=generator).split(self.recipe.batch):
                part = part.to(self.device)
                yield self._scaled(self.train.x[part]), self.train.y[part]

    def measure(self, model, whole):
        """Share of the test images whose class is right, and their mean loss."""
        right, loss = (torch.zeros((), device=self.device) for _ in range(2))
        for x, y in zip(*(each.split(TEST_BATCH) for each in self.test), strict=True):
            scores = model(self._scaled(x))
            right += (scores.argmax(1) == y).sum()
            loss += cross_entropy(scores, y, reduction="sum")
        return {"test_loss": float(loss) / len(self.test.y), "test_accuracy": float(right) / len(self.test.y)}

    def _scaled(self, x: Tensor) -> Tensor:
        """Numbers of mean 0 and deviation 1, as far as the training images go."""
        return (x.float() - self._mean) / self._deviation


def load(name: str, data_dir: Path | None, pixels: int | None) -> tuple[Images, Images]:
    """Training and test images of a data set or a folder; :class:`.PopflipError` if they cannot be used."""
    if Path(name).is_dir() and datasets.built_in(name) is None:
        return read_folders(Path(name), pixels)
    data = datasets.load(name, data_dir)
    if data.image is None:
        raise DataError(f"dataset: {name} holds no images; give mnist, an .npz with x of [samples, height, width], …")
    parts = ((data.train_values, data.train_classes), (data.test_values, data.test_classes))
    train, test = (
        Images(torch.tensor(values.reshape(len(values), 1, *data.image)), torch.tensor(classes))
        for values, classes in parts
    )
    return train, test


def read_folders(folder: Path, pixels: int | None) -> tuple[Images, Images]:
    """The images of ``folder/train/`` and ``folder/test/``, or ``val/``, in colour, of ``pixels`` × ``pixels``."""
    test = next((folder / name for name in ("test", "val") if (folder / name).is_dir()), folder / "test")
    for part in (folder / "train", test):
        if not part.is_dir():
            raise DataError(f"dataset: there is no folder {part}; {folder} must hold train/CLASS/ and test/CLASS/")
    names, others = (sorted(each.name for each in part.iterdir() if each.is_dir()) for part in (folder / "train", test))
    if names != others or len(names) < 2:
        raise DataError(f"dataset: {folder}/train has classes {', '.join(names)}, {test} has {', '.join(others)}")
    return _read(folder / "train", names, pixels), _read(test, names, pixels)


def _read(folder: Path, names: list[str], pixels: int | None) -> Images:
    files = [(path, y) for y, name in enumerate(names) for path in sorted((folder / name).iterdir()) if path.is_file()]
    if not files:
        raise DataError(f"dataset: {folder} holds no images")
    check_memory(f"dataset: {len(files)} images", len(files) * 3 * (pixels or 1) ** 2)
    x = np.stack([_image(path, pixels) for path, _ in files])
    return Images(torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(), torch.tensor([y for _, y in files]))


def _image(path: Path, pixels: int | None) -> np.ndarray:
    """Bytes ``[height, width, 3]``."""
    try:
        with Image.open(path) as image:
            colours = image.convert("RGB")
            return np.asarray(colours if pixels is None else colours.resize((pixels, pixels)))
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: not an image that can be read: {error}") from None
