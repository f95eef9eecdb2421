"""Account for a model of PyTorch: how many parameters of each kind it has, and what its optimiser flipped."""

from __future__ import annotations

from typing import Any

from torch import nn

from popflip.accounting import Account
from popflip.torch.conversion import split
from popflip.torch.optimiser import GFT


def account(model: nn.Module, optimiser: GFT | None, steps: int, tokens: int = 0) -> Account:
    """The :class:`.Account` of a run of ``model``: ``steps`` of the optimisers on ``tokens`` (or samples) in all.

    ``optimiser`` is that of the ternary and binary weights; None if there are none. Floats count if they need
    gradients.
    """
    weights: list[Any]  # each has a port
    weights, rest = split(model)
    return Account(
        float_parameters=sum(parameter.numel() for parameter in rest if parameter.requires_grad),
        ternary_weights=sum(weight.numel() for weight in weights if not weight.port.binary),
        steps=steps,
        flips=0 if optimiser is None else sum(optimiser.flips),
        tokens=tokens,
        binary_weights=sum(weight.numel() for weight in weights if weight.port.binary),
    )
