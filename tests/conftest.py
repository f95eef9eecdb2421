"""Fixtures shared by the tests."""

from collections.abc import Callable

import pytest

from popflip.sim.bench.runner import run_testbench
from popflip.sim.bench.simulators import SimulatorMissing


@pytest.fixture
def testbench() -> Callable[..., None]:
    """:func:`popflip.sim.bench.runner.run_testbench`; the test is skipped if no simulator is installed."""

    def run(*arguments, **options) -> None:
        try:
            run_testbench(*arguments, **options)
        except SimulatorMissing as missing:
            pytest.skip(str(missing))

    return run
