"""The figures of Tables 1 to 3 of arXiv 2410.09734, what the formulas of :mod:`popflip.accounting` give for
the same networks, and what our own runs of them came to.

The paper prints results, updates and energy, without the numbers of parameters and steps behind them; those here
reproduce what it prints. Missing are the parameters and steps of its vision transformer, so that Table 3 has the sizes
of ours, and :data:`UNEXPLAINED`.
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
class Ours:
    """A run of the same network by a script in ``examples/`` (docs/pytorch.md): its result and what it counted."""

    result: str
    floats: int
    ternary: int
    flips: int


@dataclass(frozen=True)
class Model:
    """A row of a table: a network, and what the paper prints of it (None: nothing that we know of).

    ``ternary`` are the weights of each ternary tensor.
    """

    name: str
    floats: int
    ternary: tuple[int, ...]
    ours: Ours
    result: str | None = None
    updates: str | None = None
    energy: str | None = None


@dataclass(frozen=True)
class PaperTable:
    """A table: ``models`` trained for ``steps`` on ``tokens`` in all. Without ``same_size``, the paper's models have
    other sizes, and its figures cannot be compared with the formulas.
    """

    title: str
    metric: str
    steps: int
    tokens: int
    models: tuple[Model, ...]
    same_size: bool = True


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
        Model(
            "full precision",
            _ENDS + sum(_MIDDLE) + _BIASES,
            (),
            Ours("98.56 %", 53_583_872, 0, 0),
            "98.33 %",
            "125.96 B",
            "1.84 J",
        ),
        Model("hybrid", _ENDS + _BIASES, _MIDDLE, Ours("98.45 %", 3_252_224, 50_331_648, 29_584_424), "97.15 %"),
        Model(
            "full ternary",
            0,
            (784 * _WIDTH, *_MIDDLE, _WIDTH * 10, _BIASES),
            Ours("98.43 %", 0, 53_583_872, 31_492_111),
            "94.46 %",
            energy="0.13 J",
        ),
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
        Model(
            "full precision",
            _REST + sum(_ATTENTION) + sum(_MLP),
            (),
            Ours("1.451", 10_745_088, 0, 0),
            "1.06",
            "21.6 B",
            "0.32 J",
        ),
        Model("hybrid 1", _REST + sum(_ATTENTION), _MLP, Ours("1.496", 3_667_200, 7_077_888, 3_547_484), "1.61"),
        Model("hybrid 2", _REST, (*_ATTENTION, *_MLP), Ours("1.615", 128_256, 10_616_832, 5_323_305), "3.01"),
    ),
)
_VIT_WIDTH, _VIT_BLOCKS = 64, 4
_VIT_MLP = (4 * _VIT_WIDTH**2,) * 2 * _VIT_BLOCKS
_VIT_REST = (
    49 * _VIT_WIDTH
    + _VIT_WIDTH  # tokens, of 7 × 7 pixels
    + 16 * _VIT_WIDTH  # places
    + _VIT_BLOCKS * (4 * _VIT_WIDTH**2 + 2 * _VIT_WIDTH)  # Q, K, V, O; norms
    + 2 * _VIT_WIDTH
    + 10 * (_VIT_WIDTH + 1)
)
VIT = PaperTable(
    "Table 3: a vision transformer, of unknown size in the paper; ours: 4 blocks, 64 wide, Fashion-MNIST, 5 epochs",
    "accuracy",
    5 * -(-60_000 // 128),
    5 * 60_000,
    (
        Model("full precision", _VIT_REST + sum(_VIT_MLP), (), Ours("87.96 %", 202_122, 0, 0), energy="1.8 J"),
        Model("hybrid", _VIT_REST, _VIT_MLP, Ours("88.37 %", 71_050, 131_072, 79_522)),
    ),
    same_size=False,
)
TABLES = (MNIST, NANOGPT, VIT)

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


def counted(table: PaperTable, model: Model) -> Account:
    """Our own run of ``model``, with the flips that its script counted."""
    ours = model.ours
    return Account(ours.floats, ours.ternary, table.steps, flips=ours.flips, tokens=table.tokens)


def lines(table: PaperTable, model: Model) -> list[Line]:
    """What the formulas give: AdamW's line, or, with ternary weights, GFT's as the paper counts it and in INT8."""
    found = ledger.lines(account(table, model))
    return found[1:] or found
