"""A layer word by word, as the end of a batch goes through it: what streams between its stages carry."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from popflip.golden.config import WORD, Config, LbeConfig, Precision, Rule
from popflip.golden.memory.weights import signs
from popflip.hw.config import ChipConfig

Word = dict[str, Any]


def config_of(chip: ChipConfig, **learning: Any) -> Any:
    """A configuration that ``chip`` runs, by its rule, with ``learning`` parameters."""
    if chip.rule == Rule.LBE:
        each = {"group": (1,) * chip.depth, "margin": (0,) * chip.depth}
        return LbeConfig(chip.layers, chip.classes, mmax=chip.mmax, **(each | learning))
    return Config(
        chip.layers,
        chip.precision,
        k0=(1,) * chip.depth,
        window=(0,) * (chip.depth - 1),
        mmax=chip.mmax,
        **learning,
    )


def random_layer(
    chip: ChipConfig, layer: int, spread: float, rng: np.random.Generator
) -> tuple[NDArray[np.int8], NDArray[np.int16]]:
    """Weights and counters ``[R, S]``; counters of about ``spread``: small for many ties, large for many at ±mmax.

    LBE's weights are the counters' signs.
    """
    shape = chip.rows[layer], chip.synapses[layer]
    if chip.rule == Rule.LBE:
        m = np.clip(np.rint(rng.normal(-0.5, spread, shape)), -chip.mmax - 1, chip.mmax).astype(np.int16)
        return signs(m >= 0), m
    values = (-1, 1) if chip.precision == Precision.BINARY else (-1, 0, 1)
    m = np.clip(np.rint(rng.normal(0, spread, shape)), -chip.mmax, chip.mmax)
    return rng.choice(np.array(values, np.int8), shape), m.astype(np.int16)


def positions(chip: ChipConfig, layer: int, single: int | None = None) -> list[dict[str, int]]:
    """Where the words of a layer, or of its row ``single``, lie, in scan order (``position_layout``)."""
    rows, words = chip.rows[layer], chip.words[layer]
    pieces = max(1, WORD // chip.array_synapses)
    return [
        {
            "weight_address": chip.weight_map.address(layer, row, word),
            "weight_bank": chip.weight_map.bank(row),
            "counter_address": chip.counter_map.address(layer, row, word),
            "counter_bank": chip.counter_map.bank(row),
            "piece": word % pieces,
            "last_of_mask": int(word % pieces == pieces - 1 or word == words - 1),
            "last_of_row": int(word == words - 1),
            "last": int(word == words - 1 and row in (rows - 1, single)),
        }
        for row in (range(rows) if single is None else [single])
        for word in range(words)
    ]


def lanes(chip: ChipConfig, values: NDArray[Any]) -> list[list[int]]:
    """``values`` ``[R, S]`` in words of N, in scan order, pads 0."""
    count = -(-values.shape[1] // chip.array_synapses)
    padded = np.zeros((len(values), count * chip.array_synapses), np.int64)
    padded[:, : values.shape[1]] = values
    return padded.reshape(-1, chip.array_synapses).tolist()


def encoded(chip: ChipConfig, w: NDArray[np.int8]) -> NDArray[np.integer]:
    """Weights as the bits of :func:`popflip.hw.memory.weights.weight_word`."""
    return (w > 0).astype(np.int8) if chip.precision == Precision.BINARY else w & 3


def layer_words(chip: ChipConfig, layer: int, w: NDArray[np.int8], m: NDArray[np.int16]) -> list[Word]:
    """The words of a layer, in scan order: where they lie and what they hold (``word_layout`` of GFT)."""
    return [
        {"position": position, "weights": weights, "counters": counters}
        for position, weights, counters in zip(
            positions(chip, layer), lanes(chip, encoded(chip, w)), lanes(chip, m), strict=True
        )
    ]


def difference(
    chip: ChipConfig, layer: int, got: list[Any], expected: list[Any], single: int | None = None
) -> str | None:
    """The first of the words of a layer, or of its row ``single``, that is not as expected; None if all are."""
    if len(got) != len(expected):
        return f"layer {layer}: {len(got)} words, expected {len(expected)}"
    for index, (mine, theirs) in enumerate(zip(got, expected, strict=True)):
        if mine != theirs:
            row, word = divmod(index, chip.words[layer])
            row += single or 0
            return f"layer {layer}, row {row}, word {word}: {mine}, expected {theirs}"
    return None
