"""Accounting: what training costs in updates, bits and energy, from counted operations (arXiv 2410.09734, §5).

::

    energy of a run = forward and backward passes (:func:`passes`, which the paper leaves out)
                    + AdamW's steps of the float parameters (:data:`ADAMW`)
                    + GFT's steps of the ternary weights (:data:`GFT_FLOAT`, :data:`GFT_INT8`, :data:`GFT_PAPER`)

An energy is that of arithmetic alone, without memory and control. A comparison counts as an addition.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from popflip.golden.errors import ConfigError
from popflip.golden.network import check_integer

PICOJOULES = {
    "7nm": {"fp32_multiply": 1.31, "fp32_add": 0.38, "int8_multiply": 0.07, "int8_add": 0.007},
    "45nm": {"fp32_multiply": 3.7, "fp32_add": 0.9, "int8_multiply": 0.2, "int8_add": 0.03},
}
"""Energy of an operation in each process. 7 nm: Jouppi et al., ISCA 2021. 45 nm: Horowitz, ISSCC 2014."""

FLOAT_BITS = 32
TERNARY_BITS = math.log2(3)
"""Bits of a ternary weight as the paper counts them; stored, it takes :data:`STORED_BITS`."""
STORED_BITS = 2


@dataclass(frozen=True)
class Operations:
    """Numbers of operations. They add, and multiply by a number."""

    fp32_multiply: float = 0
    fp32_add: float = 0
    int8_multiply: float = 0
    int8_add: float = 0

    def __add__(self, other: Operations) -> Operations:
        return Operations(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))

    def __mul__(self, times: float) -> Operations:
        return Operations(*(getattr(self, each.name) * times for each in fields(self)))

    def joules(self, process: str = "7nm") -> float:
        """Energy in joules; ``process`` is a key of :data:`PICOJOULES`. :class:`ConfigError` if it is none."""
        if process not in PICOJOULES:
            raise ConfigError(f"process: {process!r} is not one of {', '.join(PICOJOULES)}")
        costs = PICOJOULES[process]
        return sum(getattr(self, each.name) * costs[each.name] for each in fields(self)) * 1e-12


# Of each parameter in each step
ADAMW = Operations(fp32_multiply=10, fp32_add=4)
"""Two moving averages, their corrections, the root's division, weight decay and the step."""
GFT_PAPER = Operations(fp32_add=2.85)
"""What the energies of the paper's Table 1 come to."""
GFT_FLOAT = Operations(fp32_multiply=1, fp32_add=2)
"""``m + Δ``, the comparison with the threshold, and ``m·(1 − 2^−shift)``."""
GFT_INT8 = Operations(int8_add=3)
"""``m + Δ``, the comparison with the threshold, and ``m − (m >> shift)``."""

# Of each weight for each token (or sample)
FLOAT_PASSES = Operations(fp32_multiply=3, fp32_add=3)
"""Forward, the gradient of the inputs, and that of the weights: a multiplication and an addition each."""
TERNARY_PASSES = Operations(fp32_multiply=1, fp32_add=3)
"""With float inputs: forward and the gradient of the inputs add only; a vote is a product."""
CHIP_PASSES = Operations(int8_add=3)
"""The chip, of which every input is 0 or ±1: at most, since samples that trigger no update stop after forward."""


@dataclass(frozen=True)
class Account:
    """A run: its parameters of each kind, steps, flips of ternary weights, and tokens (or samples) that it saw."""

    float_parameters: int
    ternary_weights: int
    steps: int
    flips: int = 0
    tokens: int = 0

    def __post_init__(self) -> None:
        for each in fields(self):
            check_integer(each.name, value := getattr(self, each.name))
            if value < 0:
                raise ConfigError(f"{each.name}: {value} is less than 0")

    @property
    def updates(self) -> int:
        """Changes of a parameter: each float in each step, and the flips."""
        return self.float_parameters * self.steps + self.flips

    @property
    def bits(self) -> float:
        """Size of the parameters as the paper counts it, 1.58 bits for a ternary weight."""
        return FLOAT_BITS * self.float_parameters + TERNARY_BITS * self.ternary_weights

    @property
    def stored_bits(self) -> int:
        """Size of the parameters in memory, 2 bits for a ternary weight."""
        return FLOAT_BITS * self.float_parameters + STORED_BITS * self.ternary_weights

    def step_operations(self, gft: Operations = GFT_FLOAT) -> Operations:
        """Operations of all steps of AdamW and GFT."""
        return ADAMW * (self.float_parameters * self.steps) + gft * (self.ternary_weights * self.steps)

    def pass_operations(self, ternary: Operations = TERNARY_PASSES) -> Operations:
        """Operations of all forward and backward passes, of linear layers that use each weight once for a token."""
        return FLOAT_PASSES * (self.float_parameters * self.tokens) + ternary * (self.ternary_weights * self.tokens)
