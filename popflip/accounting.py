"""Accounting: what training costs in updates, bits and energy, from counted operations (arXiv 2410.09734, §5).

::

    energy of a run = forward and backward passes (…_PASSES; the paper leaves them out)
                    + steps of AdamW, for float parameters (ADAMW)
                    + steps of GFT, for ternary and binary weights (GFT_PAPER, GFT_FLOAT, GFT_INT8, CHIP_STEP)

An energy is that of arithmetic alone, without memory and control. A comparison counts as an addition.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from popflip.golden.config import Config
from popflip.golden.errors import ConfigError
from popflip.golden.network import check_integer

PICOJOULES = {
    "7nm": {"fp32_multiply": 1.31, "fp32_add": 0.38, "int8_multiply": 0.07, "int8_add": 0.007},
    "45nm": {"fp32_multiply": 3.7, "fp32_add": 0.9, "int8_multiply": 0.2, "int8_add": 0.03},
}
"""Energy of an operation in each process. 7 nm: Jouppi et al., ISCA 2021. 45 nm: Horowitz, ISSCC 2014."""

FLOAT_BITS = 32
TERNARY_BITS = math.log2(3)
"""Bits of a ternary weight as the paper counts them, 1.58; stored, it takes :data:`STORED_BITS`."""
STORED_BITS = 2
BINARY_BITS = 1


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
GFT_PAPER = Operations(fp32_add=2.7)
"""GFT in FP32 as the paper counts it: what the energy in its Table 1 comes to. 0.13 J fits 2.61 to 2.82 additions."""
GFT_FLOAT = Operations(fp32_multiply=1, fp32_add=2)
"""``m + Δ``, the comparison with the threshold, and ``m·(1 − 2^−shift)``."""
GFT_INT8 = Operations(int8_add=3)
"""``m + Δ``, the comparison with the threshold, and ``m − (m >> shift)``."""
CHIP_STEP = Operations(int8_add=2)
"""The chip at the end of a batch: the comparison and ``m − (m >> shift)``. Votes entered one by one in the passes."""

# Of each weight for each token (or sample)
FLOAT_PASSES = Operations(fp32_multiply=3, fp32_add=3)
"""Forward, the gradient of the inputs, and that of the weights: a multiplication and an addition each."""
TERNARY_PASSES = Operations(fp32_multiply=1, fp32_add=3)
"""With float inputs: forward and the gradient of the inputs add only; a vote is a product."""
INT8_PASSES = Operations(int8_multiply=1, int8_add=3)
"""The same with inputs and gradients of 8 bits."""


@dataclass(frozen=True)
class Account:
    """A run: its parameters of each kind, steps, flips of weights, and tokens (or samples) that it saw.

    Each token uses a parameter once; a convolution's also at its other positions, ``float_reuses`` and
    ``quantised_reuses`` in all.
    """

    float_parameters: int
    ternary_weights: int
    steps: int
    flips: int = 0
    tokens: int = 0
    binary_weights: int = 0
    float_reuses: int = 0
    quantised_reuses: int = 0

    def __post_init__(self) -> None:
        for each in fields(self):
            check_integer(each.name, value := getattr(self, each.name))
            if value < 0:
                raise ConfigError(f"{each.name}: {value} is less than 0")

    @property
    def quantised_weights(self) -> int:
        """Ternary and binary weights."""
        return self.ternary_weights + self.binary_weights

    @property
    def updates(self) -> int:
        """Changes of a parameter: each float in each step, and the flips."""
        return self.float_parameters * self.steps + self.flips

    @property
    def bits(self) -> float:
        """Size of the parameters as the paper counts it, 1.58 bits for a ternary weight."""
        return self._bits(TERNARY_BITS)

    @property
    def stored_bits(self) -> int:
        """Size of the parameters in memory, 2 bits for a ternary weight."""
        return int(self._bits(STORED_BITS))

    def step_operations(self, gft: Operations = GFT_FLOAT) -> Operations:
        """Operations of all steps of AdamW and GFT."""
        return ADAMW * (self.float_parameters * self.steps) + gft * (self.quantised_weights * self.steps)

    def pass_operations(self, quantised: Operations = TERNARY_PASSES) -> Operations:
        """Operations of all forward and backward passes."""
        float_uses = self.float_parameters + self.float_reuses
        quantised_uses = self.quantised_weights + self.quantised_reuses
        return FLOAT_PASSES * (float_uses * self.tokens) + quantised * (quantised_uses * self.tokens)

    def in_floats(self) -> Account:
        """The same run with every weight a float."""
        return Account(
            self.float_parameters + self.quantised_weights,
            0,
            self.steps,
            tokens=self.tokens,
            float_reuses=self.float_reuses + self.quantised_reuses,
        )

    def _bits(self, ternary: float) -> float:
        return FLOAT_BITS * self.float_parameters + ternary * self.ternary_weights + BINARY_BITS * self.binary_weights


def chip_passes(config: Config, samples: int, errors: int) -> Operations:
    """The most operations of the chip's passes: all ``samples`` go forward, and ``errors`` of them trigger an update.

    Forward: an addition at each synapse. An update: in the last layer, errors of two rows; in every other layer, at
    most of all rows; each adds a vote at every synapse, and, but in the first layer, its weights to the errors of the
    layer below. Rows of a convolutional layer do all this at every position. The chip skips what is 0, so that it does
    less.
    """
    forward = sum(layer.positions * layer.rows * layer.synapses for layer in config.plan)
    update = 0
    for index, layer in enumerate(config.plan):
        active = min(2, layer.rows) if index == config.depth - 1 else layer.rows
        below = layer.synapses - layer.bias if index else 0
        update += layer.positions * active * (layer.synapses + below)
    return Operations(int8_add=forward * samples + update * errors)
