"""Errors of the simulated chip."""

from __future__ import annotations

from popflip.golden.errors import PopflipError


class SimulatorError(PopflipError):
    """The simulated chip cannot be built or opened. The message is one line that says why."""


class SimulationTimeout(PopflipError, TimeoutError):
    """The simulated chip falls silent before a read is complete."""
