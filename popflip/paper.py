"""The figures that arXiv 2410.09734 prints in its Tables 1 to 3, and what the formulas of :mod:`popflip.accounting`
give for the same networks.

The paper prints results, updates and energy, without the numbers of parameters and steps behind them; those here
reproduce what it prints. Missing are the parameters and steps of its vision transformer (:data:`VIT`), and
:data:`UNEXPLAINED`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from popflip import ledger
from popflip.accounting import Account
from popflip.ledger import Line

K0, FLIP_PROB = 0.001, 0.5
"""Share of each tensor selected in the first step, and probability of a flip: those of :class:`popflip.torch.GFT`."""


@dataclass(frozen=True)
class Model:
    """A row of a table: a network, and what the paper prints of it (None: nothing that we know of).

    ``ternary`` are the weights of each ternary tensor.
    """

    name: str
    floats: int
    ternary: tuple[int, ...]
    result: str
    updates: str | None = None
    energy: str | None = None


@dataclass(frozen=True)
class PaperTable:
    """A table: ``models`` trained for ``steps`` on ``tokens`` in all."""

    title: str
    metric: str
    steps: int
    tokens: int
    models: tuple[Model, ...]


_WIDTH, _HIDDEN = 4096, 3
_MIDDLE = (_WIDTH**2,) * _HIDDEN
_ENDS = 784 * _WIDTH + _WIDTH * 10
_BIASES = 4 * _WIDTH + 10
MNIST_STEPS = 10 * -(-60_000 // 256)
MNIST = PaperTable(
    "Table 1: MNIST, 784-4096×4-10, 10 epochs in batches of 256; hybrid: hidden layers ternary",
    "accuracy",
    MNIST_STEPS,
    10 * 60_000,
    (
        Model("full precision", _ENDS + sum(_MIDDLE) + _BIASES, (), "98.33 %", "125.96 B", "1.84 J"),
        Model("hybrid", _ENDS + _BIASES, _MIDDLE, "97.15 %"),
        Model("full ternary", 0, (784 * _WIDTH, *_MIDDLE, _WIDTH * 10, _BIASES), "94.46 %", energy="0.13 J"),
    ),
)

_BLOCKS, _EMBEDDED = 6, 384
_ATTENTION = (_EMBEDDED**2,) * 4 * _BLOCKS
_MLP = (4 * _EMBEDDED**2,) * 2 * _BLOCKS
_REST = (
    (65 + 256) * _EMBEDDED  # embeddings of letters and of places
    + _BLOCKS * (4 * _EMBEDDED + 6 * _EMBEDDED)  # norms; biases of O and of the MLP
    + 2 * _EMBEDDED
    + 65 * (_EMBEDDED + 1)
)
NANOGPT = PaperTable(
    "Table 2: nanoGPT, 6 blocks, 384 wide, 2,000 steps of 64 × 256; hybrid 1: MLPs ternary, 2: Q, K, V, O too",
    "val loss",
    2000,
    2000 * 64 * 256,
    (
        Model("full precision", _REST + sum(_ATTENTION) + sum(_MLP), (), "1.06", "21.6 B", "0.32 J"),
        Model("hybrid 1", _REST + sum(_ATTENTION), _MLP, "1.61"),
        Model("hybrid 2", _REST, (*_ATTENTION, *_MLP), "3.01"),
    ),
)
TABLES = (MNIST, NANOGPT)

VIT = "1.8 J"
"""Energy of the full-precision vision transformer of Table 3: 119.7 to 126.5 billion updates by AdamW."""
UNEXPLAINED = "14.02 B"
"""Updates that the paper prints, and that no choice of layers of the networks above reproduces as parameters × steps.

Presumably it holds flips, whose number the paper does not give. The nearest product is that of the weights of nanoGPT's
MLPs and 2,000 steps, 14.16 B.
"""
NEAREST = sum(_MLP) * NANOGPT.steps


def flips(weights: Sequence[int], steps: int) -> int:
    """The flips to expect of a run, by GFT's schedule ``⌈K0·(steps − n)/steps⌉``, of tensors of ``weights``."""
    first = [max(1, round(K0 * count)) for count in weights]
    selected = sum(-(-k0 * (steps - step) // steps) for k0 in first for step in range(steps))
    return round(FLIP_PROB * selected)


def account(table: PaperTable, model: Model) -> Account:
    """The run of ``model``."""
    return Account(
        model.floats, sum(model.ternary), table.steps, flips=flips(model.ternary, table.steps), tokens=table.tokens
    )


def lines(table: PaperTable, model: Model) -> list[Line]:
    """What the formulas give: AdamW's line, or, with ternary weights, GFT's as the paper counts it and in INT8."""
    found = ledger.lines(account(table, model))
    return found[1:] or found
