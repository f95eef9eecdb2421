"""Votes: what a layer hands its optimiser instead of a gradient (arXiv 2410.09734, eq 10), exact or in few bits.

For ``g``, the gradient of the loss by the layer's sums, and its inputs ``x``, the votes are ``Δ = −Σ g·x`` over all
tokens: a positive vote asks for a larger weight. Both factors may be quantised first, each over the mean magnitude of
its own tensor.
"""

from __future__ import annotations

from enum import StrEnum

import torch
from torch import Tensor


class Votes(StrEnum):
    """Values of the two factors of a vote.

    ``float``: as they are. ``int8``: eighths of the mean magnitude, rounded, −127 … 127. ``int4``: whole mean
    magnitudes, rounded, −7 … 7. ``sign``: signs, and that of ``g`` only where it is above its mean magnitude.
    """

    FLOAT = "float"
    INT8 = "int8"
    INT4 = "int4"
    SIGN = "sign"


# Plain text: torch.compile traces no enumerations.
_FLOAT, _SIGN = Votes.FLOAT.value, Votes.SIGN.value
_STEPS = {Votes.INT8.value: (8, 127), Votes.INT4.value: (1, 7)}
"""Steps for a mean magnitude, and the largest number of steps."""


def factors(g: Tensor, x: Tensor, kind: str) -> tuple[Tensor, Tensor]:
    """The factors ``δ`` ``[tokens, R]`` and ``a`` ``[tokens, S]`` of the votes ``Σ δ·a``, from ``g`` ``[…, R]`` and
    ``x`` ``[…, S]``. ``kind`` is one of :class:`Votes`. Quantised factors are whole numbers in float32; those of
    ``float`` keep their type.
    """
    delta, a = -g.reshape(-1, g.shape[-1]), x.reshape(-1, x.shape[-1])
    if kind == _FLOAT:
        return delta, a
    delta, a = delta.float(), a.float()
    if kind == _SIGN:
        return delta.sign() * (delta.abs() > delta.abs().mean()), a.sign()
    return _quantised(delta, *_STEPS[kind]), _quantised(a, *_STEPS[kind])


def total(g: Tensor, x: Tensor, kind: str) -> Tensor:
    """The votes ``Δ`` of all tokens, float32 ``[R, S]``."""
    delta, a = factors(g, x, kind)
    return (delta.T @ a).float()


def _quantised(values: Tensor, steps: int, most: int) -> Tensor:
    mean = values.abs().mean().clamp_min(torch.finfo(values.dtype).tiny)
    return (values / mean * steps).round().clamp(-most, most)
