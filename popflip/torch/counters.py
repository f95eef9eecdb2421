"""Counters: how votes enter them, what limits them, and how they fade.

Two kinds. Floats ``[R, S]`` sum all votes of a step. Whole numbers saturate after every sample, in order, as the chip's
do (docs/algorithm.md, 4 and 6).
"""

from __future__ import annotations

import torch
from torch import Tensor

_CHUNK = 128  # samples in a product
_SINGLE = 2**24  # float32 holds every whole number up to here


def accumulate(m: Tensor, delta: Tensor, a: Tensor, mmax: int | None) -> Tensor:
    """Whole counters ``[R, S]`` after ``m_oi ← sat(m_oi + δ_o·a_i)`` for each sample in order.

    ``delta`` ``[n, R]`` and ``a`` ``[n, S]`` are whole numbers. ``sat`` clips to ±mmax after every sample; ``mmax``
    None: never. Equal to :func:`popflip.golden.gft.accumulate.accumulate`.
    """
    wide = m.to(torch.int32)
    for start in range(0, len(delta), _CHUNK):
        part = delta[start : start + _CHUNK], a[start : start + _CHUNK]
        wide = wide + _product(*part) if mmax is None else _saturating(wide, *part, mmax)
    return wide.to(m.dtype)


def _saturating(m: Tensor, delta: Tensor, a: Tensor, mmax: int) -> Tensor:
    """:func:`accumulate` for a few samples: two products, and a walk over the counters where order may matter.

    Let ``change`` be the sum of a counter's votes and ``travel`` that of their magnitudes. If the counter cannot leave
    ±mmax in any order of votes, or if all votes have one sign, it ends at ``clip(m + change)``.
    """
    change, travel = _product(delta, a), _product(delta.abs(), a.abs())
    moved = m + change
    ordered = ((moved + m).abs() + travel > 2 * mmax) & (travel > change.abs())
    result = moved.clamp(-mmax, mmax)
    row, synapse = ordered.nonzero(as_tuple=True)
    if row.numel():
        walked = m[row, synapse]
        for delta_s, a_s in zip(delta, a, strict=True):
            walked = (walked + delta_s[row] * a_s[synapse]).clamp(-mmax, mmax)
        result[row, synapse] = walked
    return result


def _product(delta: Tensor, a: Tensor) -> Tensor:
    """``δᵀ·a``, exactly, int32 ``[R, S]``: floats hold every partial sum."""
    bound = len(delta) * int(delta.abs().max()) * int(a.abs().max()) if delta.numel() and a.numel() else 0
    if bound >= 2**31:
        raise OverflowError(f"votes of {len(delta)} samples may reach {bound}, which does not fit 32 bits")
    kind = torch.float32 if bound <= _SINGLE else torch.float64
    return (delta.T.to(kind) @ a.to(kind)).to(torch.int32)


def bound_(m: Tensor, w: Tensor) -> None:
    """Drop votes beyond a weight's end, in place: ``m ≤ 0`` where ``w = +1``, ``m ≥ 0`` where ``w = −1``."""
    m.masked_fill_(m * w > 0, 0)


def decay(m: Tensor, shift: int | None) -> Tensor:
    """Counters after a step: ``m − m/2^shift``, or 0 if ``shift`` is None. Whole numbers round ``m/2^shift`` down."""
    if shift is None:
        return torch.zeros_like(m)
    if m.is_floating_point():
        return m * (1 - 2.0**-shift)
    return m - (m >> min(shift, 15 if m.dtype == torch.int16 else 31))
