"""The status words of a chip: extended beyond 32 bits, and compared with what the host sent."""

from __future__ import annotations

import struct

from popflip.golden.config import Rule
from popflip.hw.config import ChipConfig
from popflip.hw.registers import status_words

WRAP = 2**32
VALUES = ("signature", "rng")
"""Words that are values, not counts."""


class Counts:
    """What ``chip`` has counted since its reset.

    ``samples`` and ``batches`` are known exactly, because the host sends them. The other counts are right if they are
    read at least once per 2**32 counts.
    """

    def __init__(self, chip: ChipConfig):
        self._sample_is_batch = chip.rule == Rule.LBE
        self._weights = [rows * synapses for rows, synapses in zip(chip.rows, chip.synapses, strict=True)]
        self._format = struct.Struct(f"<{len(status_words(chip))}I")
        self._words = {word.name: 0 for word in status_words(chip)}
        self._totals = dict(self._words)
        self._sent = {"samples": 0, "batches": 0}

    def clear(self) -> None:
        """Follow a reset of the chip."""
        self._words = dict.fromkeys(self._words, 0)
        self._totals = dict(self._words)
        self._sent = dict.fromkeys(self._sent, 0)

    def begin(self, answer: bytes) -> None:
        """Continue from the ``answer`` of a chip whose history is unknown."""
        self._words = self._unpack(answer)
        self._totals = dict(self._words)
        self._sent = {name: self._words[name] for name in self._sent}

    def trained(self, samples: int) -> None:
        """The host sent ``samples`` training samples."""
        self._sent["samples"] += samples
        self._sent["batches"] += samples * self._sample_is_batch

    def batch_ended(self) -> None:
        """The host ended a batch."""
        self._sent["batches"] += 1

    def update(self, answer: bytes) -> dict[str, int]:
        """Take the ``answer`` to STATUS, and return the extended words by name.

        Raises :class:`ValueError`, which says why, if it cannot be that of a chip that did what the host sent.
        """
        words = self._unpack(answer)
        grown = {name: (words[name] - self._words[name]) % WRAP for name in words}
        for name, count in self._sent.items():
            if words[name] != count % WRAP:
                raise ValueError(f"it counts {words[name]} {name}, the host sent {count % WRAP}")
        for name, most in self._most(grown["samples"], grown["batches"]).items():
            if grown[name] > most:
                raise ValueError(f"its count of {name} went from {self._words[name]} to {words[name]}")
        if not words["rng"]:
            raise ValueError("its random state is 0")
        for name in words:
            self._totals[name] += grown[name]
        self._words = words
        return self._totals | self._sent | {name: words[name] for name in VALUES}

    def _most(self, samples: int, batches: int) -> dict[str, int]:
        """The most that counts can grow while ``samples`` are trained and ``batches`` end."""
        flips = {f"flips{layer}": batches * weights for layer, weights in enumerate(self._weights)}
        return {"errors": samples, "correct": samples, **flips}

    def _unpack(self, answer: bytes) -> dict[str, int]:
        return dict(zip(self._words, self._format.unpack(answer), strict=True))
