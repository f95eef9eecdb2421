"""The digits data set from its definition: permuted, split and thermometer-coded."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

TRAIN = 1437


@cache
def digits(thresholds: tuple[int, ...]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Input bits ``[1797, 64·thresholds]`` and classes ``[1797]``; the first 1437 train, the rest test."""
    data = load_digits()
    order = np.random.RandomState(0).permutation(1797)
    bits = np.concatenate([data.data >= threshold for threshold in thresholds], axis=1)
    return bits[order].astype(np.uint8), data.target[order].astype(np.int64)


def sample_order(seed: int, epochs: int) -> NDArray[np.int64]:
    """Indices of the training samples of a run, in stream order."""
    generator = np.random.Generator(np.random.PCG64(seed))
    return np.concatenate([generator.permutation(TRAIN) for _ in range(epochs)])
