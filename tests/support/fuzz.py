"""Fuzzers: tests that the suite runs with few inputs, and ``make fuzz`` with ``POPFLIP_FUZZ`` of them.

``make fuzz`` runs each of them twice: on inputs that hypothesis makes up, and on inputs that coverage guides
(``tests/fuzz/guided.py``). A fuzzer therefore takes no fixtures; :func:`folder` is for its files.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

INPUTS = int(os.environ.get("POPFLIP_FUZZ", "60"))

FUZZERS: dict[str, Callable[..., None]] = {}
"""The fuzzers of all modules that are imported, by the names of their tests."""


def fuzz(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test of hypothesis as a fuzzer. Its inputs are the same in every run of the suite."""
    sized = settings(
        max_examples=INPUTS,
        deadline=None,
        database=None,
        derandomize=INPUTS < 1000,
        suppress_health_check=[*HealthCheck],
    )
    FUZZERS[test.__name__] = fuzzer = pytest.mark.fuzz(sized(test))
    return fuzzer


def folder() -> Path:
    """A folder for the files of this program's fuzzers; removed at its end."""
    return Path(_folder().name)


@cache
def _folder() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="popflip-fuzz-")


def damaged(valid: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Valid content with bytes replaced, inserted or removed."""
    change = st.tuples(st.integers(0, 2**16), st.integers(0, 3), st.binary(max_size=4))
    return st.tuples(valid, st.lists(change, max_size=4)).map(lambda drawn: damage(*drawn))


def damage(content: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    """``content`` after ``changes``: at a place, so many bytes removed, and these inserted."""
    for place, removed, inserted in changes:
        place %= len(content) + 1
        content = content[:place] + inserted + content[place + removed :]
    return content
