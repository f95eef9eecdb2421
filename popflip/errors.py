"""Popflip's errors: one family. Catch :class:`PopflipError` to catch them all.

Every message is one line: what is wrong, where, and what to do. A message about a parameter starts with its name and a
colon.
"""

from __future__ import annotations

from popflip.golden.errors import ConfigError, PopflipError

__all__ = [
    "BuildError",
    "ChipLost",
    "ConfigError",
    "DataError",
    "DeviceError",
    "Difference",
    "FileError",
    "Interrupted",
    "LinkError",
    "OnnxMissing",
    "PopflipError",
    "TorchMissing",
]


class FileError(PopflipError):
    """A file that cannot be read or written. The message says which and why."""


class DataError(ConfigError):
    """Data that cannot be used. The message says which file, where in it, and what was expected."""


class BuildError(PopflipError):
    """A bitstream that cannot be built. The message says at which step, why, and what may help."""


class DeviceError(PopflipError):
    """A device that cannot be opened or used. The message says which, why and what to do."""


class LinkError(DeviceError):
    """The link does not work, or the chip refused a request. The message says which and why."""


class ChipLost(LinkError):
    """The chip no longer holds the state of this run: it restarted, another program used it, or its counts are wrong.

    ``Device.reopen`` and ``Device.load`` repair it. The message says what the host saw.
    """


class Difference(PopflipError):
    """A device and the golden model differ. The message names the first place."""


class Interrupted(PopflipError):
    """The user stopped the run. The message says how far it came."""


class TorchMissing(PopflipError, ImportError):
    """PyTorch, which :mod:`popflip.torch` needs, is not installed or too old. The message says how to install it."""


class OnnxMissing(PopflipError, ImportError):
    """The package onnx, which :mod:`popflip.qonnx` needs, is not installed. The message says how to install it."""
