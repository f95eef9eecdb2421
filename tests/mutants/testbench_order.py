"""A plugin for pytest: the tests that are likely to see a fault come first.

``TESTBENCHES=first``, for a fault in RTL: within a file, tests on a simulator come first. ``TESTBENCHES=last``, for a
fault in the golden model: they come last, after those of all files that need no simulator.
"""

from __future__ import annotations

import os


def pytest_collection_modifyitems(items):
    files = {path: number for number, path in enumerate(dict.fromkeys(item.path for item in items))}

    def order(item):
        file, testbench = files[item.path], "testbench" in item.fixturenames
        return (testbench, file) if os.environ.get("TESTBENCHES") == "last" else (file, not testbench)

    items.sort(key=order)
