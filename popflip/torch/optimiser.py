"""GFT, the optimiser of binary and ternary weights: votes collect in counters, and the fullest counters flip a weight.

::

    Port ─ votes ─▶ m ← m + Δ ─▶ select the k largest that can move ─▶ flip each with probability p, m ← 0
                    ▲                                                    │ all others
                    └──────────────── m ← m − m/2^shift ◀────────────────┘

With ``integer=True`` every step is the chip's, bit for bit: counters, select, random masks and flips of
:mod:`popflip.golden.gft`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from popflip.errors import ConfigError
from popflip.golden.common.mask import bernoulli_words, lanes, words
from popflip.golden.common.prng import Xorshift32, first_state
from popflip.golden.common.signature import FlipSignature
from popflip.golden.network import MAX_COUNTER, MAX_INTEGER, WORD, check_integer, check_within, member
from popflip.torch.counters import accumulate, bound_, decay
from popflip.torch.layer import Port
from popflip.torch.selection import select
from popflip.torch.votes import Votes


class GFT(torch.optim.Optimizer):
    """Gradient-free training (arXiv 2410.09734, §4) of the weights of :class:`.GFTLinear` layers.

    Use it beside the optimiser of the other parameters (:func:`popflip.torch.split` sorts them), one :meth:`step` of
    each for every batch. Every parameter but ``integer`` and ``seed`` may differ between groups, as usual in PyTorch.

    Parameters:
        params: the layers' ``weight`` s, in the order of the layers.
        k0: weights of each tensor selected in the first step: below 1 a share, else a count.
        steps: length of the schedule: step ``n`` selects ``⌈k0·(steps − n)/steps⌉``, none once it is over.
        flip_prob: probability that a selected weight flips. ``integer``: a multiple of 1/256.
        shift: counters lose ``m/2^shift`` each step; None: all of it. Longer memory (8) does better in hybrid networks.
        mmax: counters saturate at ±mmax; None: never.
        votes: ``"float"``, ``"int8"``, ``"int4"`` or ``"sign"`` (:class:`.Votes`).
        integer: whole counters, which saturate after every sample, and the chip's random masks. With ``votes="float"``
            gradients and inputs must be whole numbers.
        bounded: drop votes beyond a weight's end, so that a weight of +1 collects none that ask for more.
        seed: seed of the masks; for ``integer`` only. Other masks come from PyTorch's generator.

    Raises :class:`ConfigError` for a parameter that cannot be used.
    """

    def __init__(
        self,
        params: Iterable[Any],
        k0: float = 0.001,
        steps: int = 2000,
        flip_prob: float = 0.5,
        shift: int | None = 4,
        mmax: int | None = None,
        votes: str = Votes.FLOAT,
        *,
        integer: bool = False,
        bounded: bool = False,
        seed: int = 1,
    ):
        check_integer("seed", seed)
        check_within("seed", seed, 0, 2**32 - 1)
        options = {"k0": k0, "steps": steps, "flip_prob": flip_prob, "shift": shift, "mmax": mmax, "votes": votes}
        super().__init__(params, options | {"integer": integer, "bounded": bounded})
        self.param_groups[0] |= {"rng": first_state(seed), "signature": 0}

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add weights with their own parameters: ``{"params": weights, "k0": 26, …}``."""
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        group["step"] = 0
        group["votes"] = str(
            member("votes", Votes, group["votes"])
        )  # plain text: a state_dict loads without this class
        _check(group)
        if group["integer"] != self.param_groups[0]["integer"]:
            raise ConfigError("integer: differs between groups; the chip's masks come from one generator")
        for weight in group["params"]:
            if not isinstance(getattr(weight, "port", None), Port):
                shape = tuple(weight.shape)
                raise ConfigError(
                    f"params: a parameter of shape {shape} is not the weight of a GFTLinear; give it to another "
                    "optimiser (popflip.torch.split sorts them)"
                )
            weight.port.connect(group["votes"], group["integer"])

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue with the counters, the schedule and the parameters of a saved optimiser."""
        super().load_state_dict(state_dict)
        for group in self.param_groups:
            for weight in group["params"]:
                weight.port.connect(group["votes"], group["integer"])

    # Learning ---------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Take the votes since the last step, flip weights, let counters fade. Returns the loss of ``closure``, if any.

        A vote counts once: :meth:`zero_grad` is needed only to drop votes.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        word_base = 0
        for group in self.param_groups:
            for weight in group["params"]:
                k = selected(group["k0"], weight.numel(), group["step"], group["steps"])
                self._vote(group, weight)
                flipped = self._choose(group, weight, k)
                if group["integer"]:
                    word_base += self._sign(weight, flipped, word_base)
                self._flip(group, weight, flipped)
            group["step"] += 1
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the votes since the last step."""
        super().zero_grad(set_to_none)
        for weight in self._weights():
            weight.port.clear()

    def reset(self, seed: int) -> None:
        """The chip's initial state of ``seed``: random weights, counters 0, no step done.

        As golden's initial state of the same layers; the masks continue from there.
        """
        prng = Xorshift32(first_state(seed))
        for group in self.param_groups:
            group["step"] = 0
            for weight in group["params"]:
                weight.data.copy_(torch.from_numpy(_initial(prng, weight)))
                self.counters(weight).zero_()
                self.state[weight]["flips"].zero_()
                weight.port.clear()
        self.param_groups[0] |= {"rng": prng.state, "signature": 0}

    # What was learned -------------------------------------------------------------------------------------------------

    def counters(self, weight: Tensor) -> Tensor:
        """The counters of ``weight``, ``[R, S]``: float32, or int16 (int32 without ``mmax``) if whole numbers."""
        state = self.state[weight]
        if "m" not in state:
            group = next(group for group in self.param_groups if any(each is weight for each in group["params"]))
            whole = torch.int32 if group["mmax"] is None else torch.int16
            state["m"] = torch.zeros(
                weight.shape, dtype=whole if group["integer"] else torch.float32, device=weight.device
            )
            state["flips"] = torch.zeros((), dtype=torch.int64, device=weight.device)
        return state["m"]

    @property
    def flips(self) -> list[int]:
        """Weights changed so far, for each tensor. Waits for the device."""
        return [int(self.state[weight]["flips"]) if self.state[weight] else 0 for weight in self._weights()]

    @property
    def signature(self) -> int:
        """CRC-32 of all flips so far, the chip's; ``integer`` only."""
        return self.param_groups[0]["signature"]

    @property
    def rng(self) -> int:
        """State of the chip's random generator; ``integer`` only."""
        return self.param_groups[0]["rng"]

    # One tensor -------------------------------------------------------------------------------------------------------

    def _vote(self, group: dict[str, Any], weight: Tensor) -> None:
        """Add the votes to the counters."""
        m, mmax = self.counters(weight), group["mmax"]
        if group["integer"]:
            for delta, a in weight.port.take_samples():
                m.copy_(accumulate(m, delta, a, mmax))
        else:
            votes = weight.port.take_sum()
            if votes is not None:
                m += votes
            if mmax is not None:
                m.clamp_(-mmax, mmax)
        if group["bounded"]:
            bound_(m, weight)

    def _choose(self, group: dict[str, Any], weight: Tensor, k: int) -> Tensor:
        """The weights that flip, bool ``[R, S]``: each one selected with the group's probability."""
        chosen = select(self.counters(weight), weight, k)
        if group["integer"]:
            return chosen & self._masks(group, weight)
        return chosen & torch.empty_like(chosen).bernoulli_(group["flip_prob"]) if k else chosen

    def _masks(self, group: dict[str, Any], weight: Tensor) -> Tensor:
        """The chip's random masks: one for each word of 32 weights, in scan order."""
        first, (rows, synapses) = self.param_groups[0], weight.shape
        prng, row_words = Xorshift32(first["rng"]), -(-synapses // WORD)
        masks = bernoulli_words(prng, round(256 * group["flip_prob"]), rows * row_words).reshape(rows, row_words)
        first["rng"] = prng.state
        return torch.from_numpy(lanes(masks, synapses)).to(weight.device)

    def _sign(self, weight: Tensor, flipped: Tensor, word_base: int) -> int:
        """Add the flips to the signature. Returns the words of this tensor."""
        changed = words(flipped.cpu().numpy()).reshape(-1)
        index = np.flatnonzero(changed)
        signature = FlipSignature(self.signature)
        signature.update(np.stack([word_base + index, changed[index]], axis=1).astype(np.uint32))
        self.param_groups[0]["signature"] = signature.crc
        return changed.size

    def _flip(self, group: dict[str, Any], weight: Tensor, flipped: Tensor) -> None:
        """Move the flipped weights by their counters' signs and clear those counters; all others fade."""
        m = self.counters(weight)
        step = m.sign().to(torch.int8)
        moved = step if weight.port.binary else weight + step
        weight.copy_(torch.where(flipped, moved, weight))
        m.copy_(decay(m, group["shift"]).masked_fill_(flipped, 0))
        self.state[weight]["flips"] += flipped.sum()

    def _weights(self) -> Iterator[Any]:
        return (weight for group in self.param_groups for weight in group["params"])


def selected(k0: float, weights: int, step: int, steps: int) -> int:
    """Weights to select in ``step``, counted from 0: ``⌈K0·(steps − step)/steps⌉``, of ``K0 = k0`` or that share of
    all ``weights``, at least 1.
    """
    first = max(1, round(k0 * weights)) if k0 < 1 else int(k0)
    return -(-first * max(0, steps - step) // steps)


def _initial(prng: Xorshift32, weight: Any) -> np.ndarray:
    """Random weights as golden's: sign bits ``p`` and, if ternary, ``z`` of each word in scan order."""
    rows, synapses = weight.shape
    ternary = not weight.port.binary
    row_words = -(-synapses // WORD)
    draws = prng.draws(rows * row_words * (1 + ternary)).reshape(rows, row_words, 1 + ternary)
    w = np.where(lanes(draws[..., 0], synapses), np.int8(1), np.int8(-1))
    return w * lanes(draws[..., 1], synapses) if ternary else w


def _check(group: dict[str, Any]) -> None:
    """:class:`ConfigError` if a parameter of a group cannot be used."""
    _check_k0(group["k0"])
    check_integer("steps", group["steps"])
    check_within("steps", group["steps"], 1, MAX_INTEGER)
    if group["shift"] is not None:
        check_integer("shift", group["shift"])
        check_within("shift", group["shift"], 0, 31)
    mmax, integer, probability = group["mmax"], group["integer"], group["flip_prob"]
    for name in ("integer", "bounded"):
        if not isinstance(group[name], bool):
            raise ConfigError(f"{name}: {group[name]!r} is not True or False")
    if mmax is not None and (isinstance(mmax, bool) or not isinstance(mmax, int | float) or not mmax > 0):
        raise ConfigError(f"mmax: {mmax!r} is not a number above 0")
    if mmax is not None and integer:
        check_integer("mmax", mmax)
        check_within("mmax", int(mmax), 1, MAX_COUNTER)
    if isinstance(probability, bool) or not isinstance(probability, int | float) or not 0 < probability <= 1:
        raise ConfigError(f"flip_prob: {probability!r} is not above 0 and at most 1")
    if integer and 256 * probability != round(256 * probability):
        raise ConfigError(f"flip_prob: {probability!r} is not a multiple of 1/256, which the chip's masks need")


def _check_k0(k0: Any) -> None:
    if isinstance(k0, bool) or not isinstance(k0, int | float) or not 0 < k0 < math.inf:
        raise ConfigError(f"k0: {k0!r} is not a share between 0 and 1 or a count of 1 or more")
    if k0 >= 1 and k0 != int(k0):
        raise ConfigError(f"k0: {k0!r} is not a whole number; below 1 it is a share")
    if k0 >= 1:
        check_within("k0", int(k0), 1, MAX_INTEGER)
