"""Popflip: an FPGA that learns. Binary and ternary networks train on the chip with popcounts, counters and bit flips.

>>> from popflip import Classifier
>>> model = Classifier(layers=(256, 64, 10), device="sim", seed=1)
>>> model.fit(x, y).score(x_test, y_test)

``Classifier`` is a scikit-learn estimator. ``load`` reads a saved one from a file. ``open_device`` opens the golden
model, the simulated chip or a board. ``boards`` returns every known board by name. Every error is a ``PopflipError``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from popflip.classifier import Classifier, load
    from popflip.constraints import boards
    from popflip.devices.open import open_device
    from popflip.errors import PopflipError

    __version__: str

__all__ = ["Classifier", "PopflipError", "__version__", "boards", "load", "open_device"]

_HOMES = {
    "Classifier": "popflip.classifier",
    "PopflipError": "popflip.errors",
    "boards": "popflip.constraints",
    "load": "popflip.classifier",
    "open_device": "popflip.devices.open",
}
"""Module of each name. Python imports it when the name is first used, so ``import popflip`` costs nothing."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("popflip")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
