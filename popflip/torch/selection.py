"""Select: exactly the ``k`` weights of a tensor with the largest counters (arXiv 2410.09734, eq 11), on any device."""

from __future__ import annotations

import torch
from torch import Tensor


def select(m: Tensor, w: Tensor, k: int) -> Tensor:
    """The ``k`` candidates with the largest ``|m|``, ties in scan order; all of them if at most ``k``: bool ``[R, S]``.

    A weight is a candidate if it can move by ``s = sgn(m)``: ``s ≠ 0`` and ``s ≠ w``. ``m`` are the counters, floats or
    whole numbers, ``w`` the weights, both ``[R, S]``. Nothing is sorted, and the device is not waited for. The result
    is that of :func:`popflip.golden.gft.select.select`.
    """
    sign = m.sign()
    candidates = (sign != 0) & (sign != w)
    if k < 1:
        return torch.zeros_like(candidates)
    size = torch.where(candidates, m.abs(), torch.zeros_like(m)).flatten()
    least = _largest(size, min(k, size.numel()))
    above = size > least
    ties = (size == least) & (least > 0)
    room = k - above.sum()
    return (above | (ties & (ties.cumsum(0, dtype=torch.int32) <= room))).view_as(m)


def _largest(values: Tensor, k: int) -> Tensor:
    """The ``k``-th largest of ``values`` ``[n]``, a scalar. ``topk`` is the faster one for a small share of them."""
    if k <= values.numel() // 64:
        return values.topk(k, sorted=False).values.min()
    return values.kthvalue(values.numel() - k + 1).values
