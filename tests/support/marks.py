"""Marks on some of a test's parameters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def with_long(names: Iterable[str], *long: str) -> list[Any]:
    """``names`` as parameters of a test; those in ``long`` take a minute or so and run only by ``make long``."""
    names = list(names)
    assert set(long) <= set(names), "these parameters do not exist"
    return [pytest.param(name, marks=pytest.mark.long) if name in long else name for name in names]
