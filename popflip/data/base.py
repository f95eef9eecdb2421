"""A loaded data set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class DataSet:
    """Training and test samples before encoding: numeric values [samples, features], and classes [samples]."""

    name: str
    train_values: NDArray
    train_classes: NDArray[np.int64]
    test_values: NDArray
    test_classes: NDArray[np.int64]
    image: tuple[int, int] | None = None  # height and width if the features are the pixels of an image

    @property
    def features(self) -> int:
        """Values per sample."""
        return self.train_values.shape[1]

    @property
    def classes(self) -> int:
        """Number of classes: the largest one plus 1."""
        return int(max(self.train_classes.max(initial=0), self.test_classes.max(initial=0))) + 1
