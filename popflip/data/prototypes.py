"""Random prototypes: a data set generated from a seed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from popflip.data.base import DataSet
from popflip.errors import DataError
from popflip.golden.config import MAX_WIDTH
from popflip.limits import check_memory

_KINDS = {int: "whole number", float: "number"}
_PROTOTYPE_LIMITS = {
    "classes": (2, MAX_WIDTH),
    "bits": (1, MAX_WIDTH),
    "flip": (0, 1),
    "train": (1, 10_000_000),
    "test": (1, 10_000_000),
    "seed": (0, 2**32 - 1),
}


@dataclass(frozen=True)
class Prototypes:
    """Random Prototypes (arXiv 2412.00119), named ``prototypes:classes=10,bits=1000,…``.

    Each class has a random word of ``bits`` bits, its prototype. A sample is the prototype of its class with each bit
    flipped with probability ``flip``. The default classes, bits, flip and 12000 samples are those of a public
    implementation that also has the paper's other data sets; the split into 10000 and 2000 is an assumption.
    """

    classes: int = 10
    bits: int = 1000
    flip: float = 0.44
    train: int = 10_000  # samples
    test: int = 2_000
    seed: int = 1

    @classmethod
    def parse(cls, name: str) -> Prototypes:
        """The parameters in ``name``. Raises :class:`DataError` that names a wrong one."""
        values: dict[str, Any] = {}
        kinds = {name: type(value) for name, value in asdict(cls()).items()}
        for part in filter(None, name.partition(":")[2].split(",")):
            key, _, text = (piece.strip() for piece in part.partition("="))
            if key not in kinds:
                raise DataError(f"dataset prototypes: {key!r} is not one of {', '.join(kinds)}")
            try:
                values[key] = kinds[key](text)
            except ValueError:
                raise DataError(f"dataset prototypes: {key}: {text!r} is not a {_KINDS[kinds[key]]}") from None
            low, high = _PROTOTYPE_LIMITS[key]
            if not low <= values[key] <= high:
                raise DataError(f"dataset prototypes: {key}: {text} is outside {low} … {high}")
        return cls(**values)

    def __str__(self) -> str:
        return "prototypes:" + ",".join(f"{name}={value}" for name, value in asdict(self).items())

    def make(self) -> DataSet:
        """Generate the data set. Classes take turns; the name holds every parameter, to generate the set again.

        Raises :class:`ConfigError` if it does not fit this machine's memory.
        """
        samples = self.train + self.test
        check_memory(f"dataset: {samples} samples of {self.bits} bits", (samples + 9 * self.classes) * self.bits)
        generator = np.random.Generator(np.random.PCG64(self.seed))
        prototypes = generator.random((self.classes, self.bits)) < 0.5
        classes = np.arange(self.train + self.test) % self.classes
        values = np.empty((len(classes), self.bits), np.uint8)
        for sample, label in zip(values, classes, strict=True):
            sample[:] = prototypes[label] ^ (generator.random(self.bits) < self.flip)
        train, test = slice(self.train), slice(self.train, None)
        return DataSet(str(self), values[train], classes[train], values[test], classes[test])
