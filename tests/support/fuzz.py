"""Fuzzers: tests that the suite runs with few inputs, and ``make fuzz`` with ``POPFLIP_FUZZ`` of them."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings

INPUTS = int(os.environ.get("POPFLIP_FUZZ", "60"))


def fuzz(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test of hypothesis as a fuzzer. Its inputs are the same in every run of the suite."""
    sized = settings(
        max_examples=INPUTS,
        deadline=None,
        database=None,
        derandomize=INPUTS < 1000,
        suppress_health_check=[*HealthCheck],
    )
    return pytest.mark.fuzz(sized(test))
