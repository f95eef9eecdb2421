"""A layer word by word, as the end of a batch goes through it: what streams between its stages carry."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from popflip.golden.config import WORD, Config, Precision
from popflip.hw.config import ChipConfig

Word = dict[str, Any]


def config_of(chip: ChipConfig, **learning: Any) -> Config:
    """A configuration that ``chip`` runs, with ``learning`` parameters."""
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
    """Weights and counters ``[R, S]``; counters of about ``spread``: small for many ties, large for many at ±mmax."""
    shape = chip.rows[layer], chip.synapses[layer]
    values = (-1, 1) if chip.precision == Precision.BINARY else (-1, 0, 1)
    m = np.clip(np.rint(rng.normal(0, spread, shape)), -chip.mmax, chip.mmax)
    return rng.choice(np.array(values, np.int8), shape), m.astype(np.int16)


def positions(chip: ChipConfig, layer: int) -> list[dict[str, int]]:
    """Where the words of a layer lie (:func:`popflip.hw.scan.position_layout`), in scan order."""
    rows, words, banks = chip.rows[layer], chip.words[layer], chip.array_rows
    pieces = max(1, WORD // chip.array_synapses)
    return [
        {
            "weight_address": chip.weight_base[layer] + row // banks * words + word,
            "weight_bank": row % banks,
            "counter_address": chip.counter_base[layer] + word * chip.counter_rows[layer] + row // chip.learn_rows,
            "counter_bank": row % chip.learn_rows,
            "piece": word % pieces,
            "last_of_mask": int(word % pieces == pieces - 1 or word == words - 1),
            "last_of_row": int(word == words - 1),
            "last": int(word == words - 1 and row == rows - 1),
        }
        for row in range(rows)
        for word in range(words)
    ]


def lanes(chip: ChipConfig, values: NDArray[Any]) -> list[list[int]]:
    """``values`` ``[R, S]`` in words of N, in scan order, pads 0."""
    count = -(-values.shape[1] // chip.array_synapses)
    padded = np.zeros((len(values), count * chip.array_synapses), np.int64)
    padded[:, : values.shape[1]] = values
    return padded.reshape(-1, chip.array_synapses).tolist()


def encoded(chip: ChipConfig, w: NDArray[np.int8]) -> NDArray[np.integer]:
    """Weights as the bits of :func:`popflip.hw.weights.weight_word`."""
    return (w > 0).astype(np.int8) if chip.precision == Precision.BINARY else w & 3


def layer_words(chip: ChipConfig, layer: int, w: NDArray[np.int8], m: NDArray[np.int16]) -> list[Word]:
    """The words of a layer (:func:`popflip.hw.scan.word_layout`), in scan order."""
    return [
        {"position": position, "weights": weights, "counters": counters}
        for position, weights, counters in zip(
            positions(chip, layer), lanes(chip, encoded(chip, w)), lanes(chip, m), strict=True
        )
    ]


def difference(chip: ChipConfig, layer: int, got: list[Any], expected: list[Any]) -> str | None:
    """The first of a layer's words that is not as expected; None if all are."""
    if len(got) != len(expected):
        return f"layer {layer}: {len(got)} words, expected {len(expected)}"
    for index, (mine, theirs) in enumerate(zip(got, expected, strict=True)):
        if mine != theirs:
            row, word = divmod(index, chip.words[layer])
            return f"layer {layer}, row {row}, word {word}: {mine}, expected {theirs}"
    return None
