"""Fixtures of the tests of popflip.torch. A module that imports one has it around each of its tests."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """One thread: small tensors are faster so, and the workers share the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def seeded():
    """The same random numbers in each test."""
    torch.manual_seed(7)
