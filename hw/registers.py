"""Run-time registers and status words. The hardware, the host and the protocol page are made from these two lists.

Every register and status word is 32 bits on the link. On the chip a register has the bits that its range needs.
:func:`register_values` clamps values past the range, which act like the limit.
"""

from __future__ import annotations

from popflip.golden.config import AnyConfig, Rule
from popflip.hw.common.registers import Register, StatusWord
from popflip.hw.config import ChipConfig
from popflip.hw.gft import registers as gft
from popflip.hw.lbe import registers as lbe

RULES = {Rule.GFT: gft, Rule.LBE: lbe}
LAST_SAMPLE, KEY = "last_sample", "key"
"""Registers of a chip that walks through its stored set."""


def registers(chip: ChipConfig) -> tuple[Register, ...]:
    """The registers of a chip, in the order of their numbers on the link."""
    return (
        *RULES[chip.rule].registers(chip),
        Register("rng", 1, 2**32 - 1, 1, "xorshift32 state; never 0"),
        Register("signature", 0, 2**32 - 1, 0, "CRC-32 of the flips so far; written to resume a run"),
        *(walk_registers(chip) if chip.walks else ()),
    )


def walk_registers(chip: ChipConfig) -> tuple[Register, ...]:
    """The registers that describe the stored set and its order."""
    return (
        Register(LAST_SAMPLE, 0, max(0, chip.store_samples - 1), 0, "number of the last sample of the stored set"),
        Register(KEY, 0, 2**32 - 1, 0, "word of the order's key; the last three words written count"),
    )


def register_values(chip: ChipConfig, config: AnyConfig) -> dict[str, int]:
    """Register values that make ``chip`` learn as ``config`` says. ``k`` and ``rng`` are set per batch and per run."""
    limits = {register.name: register for register in registers(chip)}
    values = RULES[chip.rule].values(config)
    return {name: min(max(value, limits[name].low), limits[name].high) for name, value in values.items()}


CYCLE_COUNTERS: tuple[StatusWord, ...] = (
    StatusWord("total", "clock cycles since reset"),
    StatusWord("forward_busy", "cycles in which the MAC array took a word"),
    StatusWord("learn_busy", "cycles in which the learning engine took a word of a row"),
    StatusWord("forward_stall", "cycles in which a sample waited and the MAC array took no word"),
    StatusWord("learn_stall", "cycles in which a sample waited and the learning engine took no word"),
    StatusWord("select", "cycles spent finding which counters are the largest"),
    StatusWord("flip", "cycles spent flipping weights and decaying counters"),
)


def status_words(chip: ChipConfig) -> tuple[StatusWord, ...]:
    """The status words of a chip, in the order they are sent."""
    return (
        StatusWord("samples", "samples trained on since reset"),
        StatusWord("batches", "batches ended since reset"),
        StatusWord("errors", "samples since reset that triggered an update"),
        StatusWord("correct", "samples trained on since reset whose class was predicted before learning"),
        StatusWord("signature", "CRC-32 of the flips since reset"),
        StatusWord("rng", "xorshift32 state"),
        *(StatusWord(f"flips{layer}", f"weights of layer {layer} changed since reset") for layer in range(chip.depth)),
        *CYCLE_COUNTERS,
    )
