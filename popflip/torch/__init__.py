"""Layers of binary and ternary weights inside a PyTorch model, trained by GFT beside AdamW (arXiv 2410.09734, §4.3).

>>> from popflip.torch import GFT, convert, split
>>> convert(model, "blocks.*.mlp.*")
>>> weights, rest = split(model)
>>> optimisers = GFT(weights, steps=2000, shift=8), torch.optim.AdamW(rest)

``GFTLinear`` replaces ``torch.nn.Linear``. ``GFT`` flips its weights. ``Sign`` and ``MarginLoss`` are the chip's
activation and loss; with them and ``GFT(integer=True)`` PyTorch trains as the chip does, bit for bit. docs/pytorch.md
shows how to use all of it.

Needs PyTorch, which nothing else of Popflip imports. Without it, importing this package raises :class:`TorchMissing`.
"""

from __future__ import annotations

import re
from importlib import import_module
from typing import TYPE_CHECKING, Any

from popflip.errors import TorchMissing

if TYPE_CHECKING:
    from popflip.torch.accounting import account
    from popflip.torch.chip import chip_network, chip_optimiser, chip_state, export, load
    from popflip.torch.conversion import convert, split
    from popflip.torch.layer import GFTLinear
    from popflip.torch.network import MarginLoss, Sign
    from popflip.torch.optimiser import GFT

__all__ = [
    "GFT",
    "GFTLinear",
    "MarginLoss",
    "Sign",
    "account",
    "chip_network",
    "chip_optimiser",
    "chip_state",
    "convert",
    "export",
    "load",
    "split",
]

_HOMES = {
    "GFT": "popflip.torch.optimiser",
    "GFTLinear": "popflip.torch.layer",
    "MarginLoss": "popflip.torch.network",
    "Sign": "popflip.torch.network",
    "account": "popflip.torch.accounting",
    "chip_network": "popflip.torch.chip",
    "chip_optimiser": "popflip.torch.chip",
    "chip_state": "popflip.torch.chip",
    "convert": "popflip.torch.conversion",
    "export": "popflip.torch.chip",
    "load": "popflip.torch.chip",
    "split": "popflip.torch.conversion",
}
"""Module of each name. No module has the name of a function, which it would replace once imported."""

_OLDEST = (2, 4)
_INSTALL = "pip install 'popflip[torch]'"


def _check() -> None:
    """Raise :class:`TorchMissing` unless PyTorch is there and new enough."""
    needed = f"popflip.torch needs PyTorch {_OLDEST[0]}.{_OLDEST[1]} or newer"
    try:
        version = str(import_module("torch").__version__)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise TorchMissing(f"{needed}, which is not installed: {_INSTALL}") from None
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < _OLDEST:
        raise TorchMissing(f"{needed}, but {version} is installed: {_INSTALL}")


_check()


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
