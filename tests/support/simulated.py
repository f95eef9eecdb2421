"""What tests of simulated chips need of the machine."""

from __future__ import annotations

import pytest

from popflip.sim.cxxrtl.compile import compiler
from popflip.sim.errors import SimulatorError


def need_compiler() -> None:
    """Skip the test where no C++ compiler can build a simulated chip."""
    try:
        compiler()
    except SimulatorError as missing:
        pytest.skip(str(missing))
