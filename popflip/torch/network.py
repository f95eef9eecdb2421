"""The chip's activation and loss as PyTorch modules: an all-ternary network of them learns as the chip does.

::

    bits ─▶ GFTLinear(bias="synapse", scale=1) ─▶ Sign ─▶ GFTLinear(bias="synapse", scale=1) ─▶ MarginLoss
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from popflip.errors import ConfigError


class Sign(nn.Module):
    """The chip's hidden activation (docs/algorithm.md, 1 and 3): +1 where the input is above 0, else −1.

    A gradient passes, clipped to ±dclip, only where ``|input| ≤ window``. ``window`` and ``dclip`` are in units of the
    inputs and of their gradients; infinite ones limit nothing. Raises :class:`ConfigError` if one is negative or NaN.
    """

    def __init__(self, window: float = 1.0, dclip: float = math.inf):
        super().__init__()
        self.window, self.dclip = _positive("window", window), _positive("dclip", dclip)

    def forward(self, v: Tensor) -> Tensor:
        return _Sign.apply(v, self.window, self.dclip)

    def extra_repr(self) -> str:
        return f"window={self.window:g}, dclip={self.dclip:g}"


class MarginLoss(nn.Module):
    """The hinge loss of Crammer and Singer, ``Σ max(0, margin + 1 − (v_t − v_j))`` over the samples, a scalar.

    ``v`` ``[n, C]`` are the scores, ``t`` ``[n]`` the true classes, and the rival ``j`` the class other than ``t`` with
    the largest score, the lowest on ties. For whole scores its gradient is the chip's error: −1 for ``v_t`` and +1 for
    ``v_j`` while ``v_t − v_j ≤ margin``, else 0 (docs/algorithm.md, 2).
    """

    def __init__(self, margin: float):
        super().__init__()
        if isinstance(margin, bool) or not isinstance(margin, int | float) or not math.isfinite(margin):
            raise ConfigError(f"margin: {margin!r} is not a finite number")
        self.margin = margin

    def forward(self, v: Tensor, t: Tensor) -> Tensor:
        true = t.unsqueeze(1)
        rival = v.detach().scatter(1, true, -math.inf).argmax(1, keepdim=True)
        return relu(self.margin + 1 - (v.gather(1, true) - v.gather(1, rival))).sum()

    def extra_repr(self) -> str:
        return f"margin={self.margin:g}"


class _Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx, v, window, dclip):  # type: ignore[override]
        ctx.save_for_backward(v.abs() <= window)
        ctx.dclip = dclip
        return torch.where(v > 0, 1.0, -1.0).to(v.dtype)

    @staticmethod
    def backward(ctx, g):  # type: ignore[override]
        (in_window,) = ctx.saved_tensors
        return g.clamp(-ctx.dclip, ctx.dclip) * in_window, None, None


def _positive(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise ConfigError(f"{name}: {value!r} is not a number of 0 or more")
    return value
