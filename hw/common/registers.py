"""Descriptions of registers and status words. :mod:`popflip.hw.registers` lists those of a chip."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Register:
    """A run-time register: it takes the values ``low`` … ``high`` and is ``init`` after power-up."""

    name: str
    low: int
    high: int
    init: int
    summary: str

    @property
    def signed(self) -> bool:
        """Whether the 32 bits on the link are two's complement."""
        return self.low < 0


@dataclass(frozen=True)
class StatusWord:
    """A read-only 32-bit word: its name and meaning. Counts wrap at 2**32."""

    name: str
    summary: str
