"""A plugin for pytest: the tests that are likely to see a fault come first.

``TESTBENCHES=first``, for a fault in RTL: within a file, tests on a simulator come first. ``TESTBENCHES=last``, for a
fault in the golden model: they come last, after those of all files that need no simulator.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import popflip.golden
import popflip.hw


def pytest_configure(config):
    """Stop unless the tests import the sources of the tree that they lie in: others have no fault."""
    for package in (popflip.golden, popflip.hw):
        if not Path(package.__file__).resolve().is_relative_to(config.rootpath):
            raise pytest.UsageError(f"{package.__name__} comes from {package.__file__}, not from {config.rootpath}")


def pytest_collection_modifyitems(items):
    files = {path: number for number, path in enumerate(dict.fromkeys(item.path for item in items))}

    def order(item):
        file, testbench = files[item.path], "testbench" in item.fixturenames
        return (testbench, file) if os.environ.get("TESTBENCHES") == "last" else (file, not testbench)

    items.sort(key=order)
