"""Shared by the hypothesis tests: the effort of a search, and arrays of a network's values."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from hypothesis.strategies import SearchStrategy

from popflip.golden.config import Precision

search = settings(max_examples=60, deadline=None, derandomize=True)
"""Decorator of a searching test. Derandomised: the same examples every time."""

precisions = st.sampled_from(Precision)
mmaxes = st.sampled_from((1, 2, 7, 127, 32_767))
widths = st.sampled_from((1, 2, 3, 5, 31, 32, 33, 40, 63, 64))


def weight_arrays(precision: Precision, shape: tuple[int, ...]) -> SearchStrategy[Any]:
    """int8 weights of ``shape``."""
    return arrays(np.int8, shape, elements=st.sampled_from((-1, 1) if precision == Precision.BINARY else (-1, 0, 1)))


def counter_arrays(mmax: int, shape: tuple[int, ...]) -> SearchStrategy[Any]:
    """int16 counters of ``shape``, many of them saturated or nearly so."""
    near = st.sampled_from([v for v in (-mmax, 1 - mmax, -1, 0, 1, mmax - 1, mmax) if abs(v) <= mmax])
    return arrays(np.int16, shape, elements=st.one_of(near, st.integers(-mmax, mmax)), fill=st.nothing())


def bit_arrays(shape: tuple[int, ...]) -> SearchStrategy[Any]:
    """uint8 0 and 1 of ``shape``."""
    return arrays(np.uint8, shape, elements=st.integers(0, 1))
