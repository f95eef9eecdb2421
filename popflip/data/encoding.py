"""Real values as thermometer bits: one bit per threshold."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def quantile_thresholds(values: NDArray, levels: int) -> NDArray[np.float64]:
    """Thresholds [levels, features] that cut each feature's values into ``levels + 1`` parts of about equal size.

    A threshold at or below a feature's smallest value would give a bit that is always 1; it moves up to the next value
    that occurs. A feature with a single value gets infinite thresholds.
    """
    shares = np.arange(1, levels + 1) / (levels + 1)
    thresholds = np.quantile(values, shares, axis=0, method="inverted_cdf").astype(np.float64)
    above = np.where(values > values.min(axis=0), values, np.inf).min(axis=0)
    return np.maximum(thresholds, above)


def thermometer(values: NDArray, thresholds: NDArray) -> NDArray[np.uint8]:
    """Thermometer bits [samples, levels × features] of ``values`` [samples, features], threshold by threshold.

    A bit is 1 where ``value ≥ threshold``. ``thresholds`` is [levels], for all features, or [levels, features].
    """
    return np.concatenate([values >= threshold for threshold in thresholds], axis=1).astype(np.uint8)
