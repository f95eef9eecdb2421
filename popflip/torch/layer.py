"""A linear layer whose weights are −1, 0 and +1, or −1 and +1, and learn by votes.

::

    x ──▶ y = scale · x·Wᵀ ──▶ rest of the model
              ▲     │ backward: gradient g of y, inputs x
              │     ├──▶ scale · g·W, the gradient of x
         GFT ◀┴── Port ◀── votes −Σ g·x

A weight is an int8 parameter without a gradient, so AdamW, gradient clipping and mixed precision pass it by. Its votes
go through the layer's :class:`Port`, which the optimiser empties.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, pad

from popflip.errors import ConfigError
from popflip.golden.network import Precision, check_integer, check_within, member
from popflip.torch.votes import factors, total

Bias = bool | Literal["synapse"]
SYNAPSE: Literal["synapse"] = "synapse"


class Port:
    """Where a layer leaves its votes for the optimiser that owns its weights ``[R, S]``.

    ``binary`` : whether the weights are −1 and +1 only.
    ``kind`` : the votes that the optimiser wants; None while there is no optimiser, and nothing is counted.
    ``leaf`` : a tensor of the weights' shape and no storage of its own, whose gradient becomes the sum of the votes.
    ``samples`` : factors ``δ`` ``[n, R]`` and ``a`` ``[n, S]`` of each backward pass, if the optimiser counts in
    integers (``integer``): its counters may saturate at every sample, so a sum is not enough.
    """

    def __init__(self, weight: Tensor, binary: bool):
        self.binary = binary
        self.kind: str | None = None
        self.integer = False
        self.samples: list[tuple[Tensor, Tensor]] = []
        self.leaf: Tensor
        self.place(weight)

    def place(self, weight: Tensor) -> None:
        """Follow ``weight`` to its device. Votes that were not taken are lost."""
        self.leaf = torch.zeros((), device=weight.device).expand(weight.shape).requires_grad_()
        self.samples = []

    def connect(self, kind: str, integer: bool) -> None:
        """Count votes of this ``kind`` from now on."""
        self.kind, self.integer = kind, integer
        self.clear()

    def clear(self) -> None:
        """Drop the votes that were not taken."""
        self.leaf.grad = None
        self.samples = []

    def take_sum(self) -> Tensor | None:
        """The sum of the votes since the last call, float32 ``[R, S]``; None if there was no backward pass."""
        votes, self.leaf.grad = self.leaf.grad, None
        return votes

    def take_samples(self) -> list[tuple[Tensor, Tensor]]:
        """The factors of all votes since the last call, in the order of the backward passes."""
        samples, self.samples = self.samples, []
        return samples


class GFTLinear(nn.Module):
    """``y = scale · x·Wᵀ + b``, with ``W`` of −1, 0 and +1 (ternary) or −1 and +1 (binary), in place of ``nn.Linear``.

    Inputs are ``[…, in_features]``, outputs ``[…, out_features]``, of the inputs' type or that of ``torch.autocast``.

    Parameters:
        precision: ``"ternary"`` or ``"binary"``.
        bias: True, a float vector that AdamW learns, as that of ``nn.Linear``; False, none; ``"synapse"``, one more
            weight for each row, the last, whose input is 1: the chip's bias.
        scale: factor of the sums. By default ``√(2/in_features)``, binary ``√(1/in_features)``, which keeps the
            variance of the inputs. The last layer of a residual branch does better with less, times ``1/√(2·blocks)``.

    ``weight`` is an int8 parameter ``[out_features, in_features]``, one column wider with ``bias="synapse"``. It starts
    at random, ternary half zeros. :class:`.GFT` trains it. Until an optimiser takes it, backward passes count no votes.

    Raises :class:`ConfigError` for a parameter that cannot be used, and for a weight that belongs to another layer.
    """

    weight: nn.Parameter
    bias: nn.Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        precision: str = Precision.TERNARY,
        bias: Bias = True,
        scale: float | None = None,
        *,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        for name, value in (("in_features", in_features), ("out_features", out_features)):
            check_integer(name, value)
            check_within(name, value, 1, 2**31 - 1)
        if isinstance(precision, bool):
            raise ConfigError(f"precision: {precision} is not one of {', '.join(Precision)}; write bias={precision}")
        self.in_features, self.out_features = in_features, out_features
        self.precision = member("precision", Precision, precision)
        if not (isinstance(bias, bool) or bias == SYNAPSE):
            raise ConfigError(f"bias: {bias!r} is not True, False or {SYNAPSE!r}")
        self.bias_synapse = bias == SYNAPSE
        self.scale = default_scale(in_features, self.precision) if scale is None else _checked_scale(scale)
        shape = (out_features, in_features + self.bias_synapse)
        self.weight = nn.Parameter(torch.empty(shape, dtype=torch.int8, device=device), requires_grad=False)
        vector = bias is True
        self.bias = nn.Parameter(torch.empty(out_features, device=device, dtype=dtype)) if vector else None
        self.reset_parameters()
        self._attach()

    def reset_parameters(self) -> None:
        """Draw new weights from PyTorch's generator, ternary ones 0 with probability ½; a float bias becomes 0."""
        with torch.no_grad():
            sign = torch.randint_like(self.weight, 2) * 2 - 1
            self.weight.copy_(sign * torch.randint_like(sign, 2) if self.precision == Precision.TERNARY else sign)
            if self.bias is not None:
                self.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] != self.in_features:
            raise ConfigError(f"x: its last dimension is {x.shape[-1]}, expected {self.in_features} (in_features)")
        port = self.port
        if port.integer:
            y = _integer_linear(x, self.weight, port, self.scale)
        else:
            device = x.device.type
            if device != "meta" and torch.is_autocast_enabled(device):
                x = x.to(torch.get_autocast_dtype(device))
            leaf = None if port.kind is None else port.leaf
            y = _Linear.apply(x, self.weight, leaf, self.scale, port.kind)
        return y if self.bias is None else y + self.bias.to(y.dtype)

    def extra_repr(self) -> str:
        bias = SYNAPSE if self.bias_synapse else self.bias is not None
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, precision={self.precision}, "
            f"bias={bias}, scale={self.scale:.4g}"
        )

    # The weight and its port ------------------------------------------------------------------------------------------

    def _attach(self) -> None:
        """Give the weight a port, and let an optimiser find it there."""
        self.port = Port(self.weight, self.precision == Precision.BINARY)
        self.weight.port = self.port  # type: ignore[attr-defined]

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "weight" and "weight" in self._parameters and value is not self._parameters["weight"]:
            self._check_weight(value)
            super().__setattr__(name, value)
            self._attach()
        else:
            super().__setattr__(name, value)

    def _check_weight(self, value: Any) -> None:
        """Refuse a weight that is shared with another layer, or that is none of this layer."""
        if hasattr(value, "port"):
            raise ConfigError("weight: it belongs to another GFTLinear, and ternary weights cannot be tied; copy it")
        if not isinstance(value, nn.Parameter) or value.dtype != torch.int8 or value.shape != self.weight.shape:
            shape = tuple(self.weight.shape)
            raise ConfigError(
                f"weight: a GFTLinear takes an int8 parameter {shape}, and cannot be tied to other layers"
            )

    def __setstate__(self, state: dict[str, Any]) -> None:
        """After a deep copy or from a pickle: a copy has no optimiser yet."""
        super().__setstate__(state)
        self._attach()

    def _apply(self, fn: Any, recurse: bool = True) -> GFTLinear:
        super()._apply(fn, recurse)
        self.weight.port = self.port  # type: ignore[attr-defined] # a new parameter may have taken the weight's place
        self.port.place(self.weight)
        return self

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *arguments: Any) -> None:
        """Refuse weights of other values, which copying to int8 would cut to 0."""
        errors = arguments[-1]
        weight = state_dict.get(f"{prefix}weight")
        if isinstance(weight, Tensor) and not weight.is_meta and not _valid(weight, self.precision):
            values = "−1 or +1" if self.precision == Precision.BINARY else "−1, 0 or +1"
            errors.append(f"{prefix}weight: holds other values than {values}; train the layer anew, or save it again")
            state_dict = {key: value for key, value in state_dict.items() if key != f"{prefix}weight"}
            state_dict[f"{prefix}weight"] = self.weight
        super()._load_from_state_dict(state_dict, prefix, *arguments)


def default_scale(in_features: int, precision: str) -> float:
    """The scale that keeps the inputs' variance: half of the ternary weights are 0."""
    return math.sqrt((1 if precision == Precision.BINARY else 2) / in_features)


def _checked_scale(scale: Any) -> float:
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not 0 < scale < math.inf:
        raise ConfigError(f"scale: {scale!r} is not a number above 0")
    return float(scale)


def _valid(weight: Tensor, precision: Precision) -> bool:
    size = weight.abs()
    return bool(((size == 1) if precision == Precision.BINARY else (size == 1) | (size == 0)).all())


# Passes ---------------------------------------------------------------------------------------------------------------


def _forward(x: Tensor, weight: Tensor, scale: float) -> Tensor:
    """``scale · x·Wᵀ``; a last column of the weight that ``x`` ``[…, K]`` has no input for is the bias."""
    width = x.shape[-1]
    w = weight.to(x.dtype)
    bias = w[:, width] if w.shape[1] > width else None
    y = linear(x, w[:, :width], bias)
    return y if scale == 1 else y * scale


def _input_gradient(g: Tensor, weight: Tensor, width: int, scale: float) -> Tensor:
    gx = g @ weight[:, :width].to(g.dtype)
    return gx if scale == 1 else gx * scale


def _inputs(x: Tensor, weight: Tensor) -> Tensor:
    """Inputs of all synapses ``[…, S]``: ``x`` ``[…, K]``, and 1 for a bias among the weights."""
    return pad(x, (0, 1), value=1.0) if weight.shape[1] > x.shape[-1] else x


class _Linear(torch.autograd.Function):
    """Votes as the gradient of ``leaf``, if there is one."""

    @staticmethod
    def forward(ctx, x, weight, leaf, scale, kind):  # type: ignore[override]
        ctx.save_for_backward(x, weight)
        ctx.scale, ctx.kind = scale, kind
        return _forward(x, weight, scale)

    @staticmethod
    def backward(ctx, g):  # type: ignore[override]
        x, weight = ctx.saved_tensors
        gx = _input_gradient(g, weight, x.shape[-1], ctx.scale) if ctx.needs_input_grad[0] else None
        votes = total(g, _inputs(x, weight), ctx.kind) if ctx.needs_input_grad[2] else None
        return gx, None, votes, None, None


class _IntegerLinear(torch.autograd.Function):
    """The factors of the votes go to ``port``, sample by sample. Always in the inputs' own type, without autocast."""

    @staticmethod
    def forward(ctx, x, weight, leaf, scale, port):  # type: ignore[override]
        ctx.save_for_backward(x, weight)
        ctx.scale, ctx.port = scale, port
        return _forward(x, weight, scale)

    @staticmethod
    def backward(ctx, g):  # type: ignore[override]
        x, weight = ctx.saved_tensors
        ctx.port.samples.append(_whole(*factors(g, _inputs(x, weight), ctx.port.kind)))
        return (
            _input_gradient(g, weight, x.shape[-1], ctx.scale) if ctx.needs_input_grad[0] else None,
            None,
            None,
            None,
            None,
        )


@torch.compiler.disable
def _integer_linear(x: Tensor, weight: Tensor, port: Port, scale: float) -> Tensor:
    with torch.autocast(x.device.type, enabled=False):
        return _IntegerLinear.apply(x, weight, port.leaf, scale, port)


def _whole(delta: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
    """Both factors as int32; :class:`ConfigError` if they are no whole numbers."""
    for name, values in (("gradients", delta), ("inputs", a)):
        if not bool((values == values.round()).all()):
            raise ConfigError(
                f"votes: the {name} of a layer are not whole numbers; use votes='int8', 'int4' or 'sign', or train a "
                "network of GFTLinear(scale=1) and Sign with MarginLoss"
            )
    return delta.to(torch.int32), a.to(torch.int32)
