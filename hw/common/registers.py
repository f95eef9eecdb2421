"""What a register and a status word are; :mod:`popflip.hw.registers` lists those of a chip."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Register:
    """A run-time register: its name, the values it takes (inclusive), its value after power-up, and what it does."""

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
